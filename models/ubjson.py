"""Reads UBJSON, the binary form of JSON that XGBoost saves its models in."""

from typing import Any

import numpy as np

# The markers of numbers: how each is laid out, big end first.
_NUMBERS = {
    b"i": ">i1",
    b"U": ">u1",
    b"I": ">i2",
    b"l": ">i4",
    b"L": ">i8",
    b"d": ">f4",
    b"D": ">f8",
}
_LENGTHS = (b"i", b"U", b"I", b"l", b"L")
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}
_MAX_DEPTH = 100


def parse_ubjson(data: bytes) -> Any:
    r"""Turns UBJSON into dictionaries, lists, text and numbers; typed arrays become numpy's.

    Nothing in the data is taken on trust: a length beyond its end is an error, not an allocation.

    Raises:
        ValueError: the data is cut short, damaged or nested too deep.

    >>> parse_ubjson(b"{U\x01a[U\x07TSU\x02hi]}")
    {'a': [7, True, 'hi']}
    """
    reader = _Reader(data)
    value = reader.value(reader.take(1), 0)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes follow the end of the document")
    return value


class _Reader:
    """A position in the data, and what can be read from there."""

    def __init__(self, data: bytes):
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next bytes, exactly so many."""
        found = self._data[self.at : self.at + count]
        if count < 0 or len(found) != count:
            raise ValueError(f"the data ends at byte {len(self._data)}, {count} bytes are missing")
        self.at += count
        return found

    def value(self, marker: bytes, depth: int) -> Any:
        """What follows a marker."""
        if depth > _MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")
        if marker in _NUMBERS:
            return self._numbers(marker, 1)[0].item()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == b"S":
            return self._text()
        if marker == b"[":
            return self._array(depth)
        if marker == b"{":
            return self._object(depth)
        raise ValueError(f"byte {self.at - 1} holds {marker!r}, which marks no value")

    def _numbers(self, marker: bytes, count: int) -> np.ndarray:
        dtype = np.dtype(_NUMBERS[marker])
        return np.frombuffer(self.take(dtype.itemsize * count), dtype)

    def _length(self) -> int:
        marker = self.take(1)
        if marker not in _LENGTHS:
            raise ValueError(f"byte {self.at - 1} holds {marker!r}, expected a length")
        return int(self._numbers(marker, 1)[0])

    def _text(self) -> str:
        return self.take(self._length()).decode()

    def _array(self, depth: int) -> Any:
        marker = self.take(1)
        if marker == b"$":
            kind, hash_ = self.take(1), self.take(1)
            if kind not in _NUMBERS or hash_ != b"#":
                raise ValueError(f"byte {self.at - 2} starts no typed array of numbers")
            return self._numbers(kind, self._length())
        if marker == b"#":
            return [self.value(self.take(1), depth + 1) for _ in range(self._length())]
        values = []
        while marker != b"]":
            values.append(self.value(marker, depth + 1))
            marker = self.take(1)
        return values

    def _object(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while (marker := self.take(1)) != b"}":
            self.at -= len(marker)
            name = self._text()
            values[name] = self.value(self.take(1), depth + 1)
        return values
