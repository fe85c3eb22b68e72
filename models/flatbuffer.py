"""Reads the few parts of a FlatBuffers document that describe a CatBoost model."""

import struct
from dataclasses import dataclass

_OFFSET = 4  # bytes of an offset to a table, a vector or a string; also of a vector's length
_SLOT = 2  # bytes of an entry in a table's list of fields


@dataclass(frozen=True)
class Table:
    """A table at a position of a document; its fields are told apart by their number.

    Nothing in the document is taken on trust: an offset or a length beyond its end is a
    ValueError. A field that the document leaves out is None, or an empty list.
    """

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> "Table":
        """The document's outermost table."""
        return cls(data, _unpack("<I", data, 0))

    def _field(self, number: int) -> int | None:
        """Where a field's value starts."""
        fields = self.at - _unpack("<i", self.data, self.at)
        slot = 2 * _SLOT + _SLOT * number  # behind the sizes of the list and of the table
        if slot + _SLOT > _unpack("<H", self.data, fields):
            return None
        offset = _unpack("<H", self.data, fields + slot)
        return self.at + offset if offset else None

    def _target(self, number: int) -> int | None:
        """What a field that is an offset points to."""
        at = self._field(number)
        return None if at is None else at + _unpack("<I", self.data, at)

    def table(self, number: int) -> "Table | None":
        """A field that is a table."""
        at = self._target(number)
        return None if at is None else Table(self.data, at)

    def text(self, number: int) -> str | None:
        """A field that is a string."""
        at = self._target(number)
        return None if at is None else _text(self.data, at)

    def integer(self, number: int, default: int) -> int:
        """A field that is a 32-bit integer."""
        at = self._field(number)
        return default if at is None else _unpack("<i", self.data, at)

    def integers(self, number: int) -> tuple[int, ...]:
        """A field that is a vector of 32-bit integers."""
        start = self._target(number)
        if start is None:
            return ()
        length = _unpack("<I", self.data, start)
        stop = start + _OFFSET * (length + 1)
        if stop > len(self.data):
            raise ValueError(f"a vector of {length} items is longer than the document")
        return struct.unpack_from(f"<{length}i", self.data, start + _OFFSET)

    def tables(self, number: int) -> "list[Table]":
        """A field that is a vector of tables."""
        return [Table(self.data, at) for at in self._targets(number)]

    def texts(self, number: int) -> list[str]:
        """A field that is a vector of strings."""
        return [_text(self.data, at) for at in self._targets(number)]

    def length(self, number: int) -> int:
        """How many items a field that is a vector has."""
        at = self._target(number)
        return 0 if at is None else _unpack("<I", self.data, at)

    def _targets(self, number: int) -> list[int]:
        start = self._target(number)
        if start is None:
            return []
        length = _unpack("<I", self.data, start)
        if length > len(self.data) // _OFFSET:
            raise ValueError(f"a vector of {length} items is longer than the document")
        places = [start + _OFFSET * (index + 1) for index in range(length)]
        return [place + _unpack("<I", self.data, place) for place in places]


def _unpack(layout: str, data: bytes, at: int) -> int:
    if at < 0 or at + struct.calcsize(layout) > len(data):
        raise ValueError(f"byte {at} lies outside the document of {len(data)} bytes")
    return int(struct.unpack_from(layout, data, at)[0])


def _text(data: bytes, at: int) -> str:
    length = _unpack("<I", data, at)
    text = data[at + _OFFSET : at + _OFFSET + length]
    if len(text) != length:
        raise ValueError(f"a text of {length} bytes at byte {at} is longer than the document")
    return text.decode()
