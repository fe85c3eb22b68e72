r"""Which columns and types some JSON lines have.

JSON's own types in Arrow are int64, uint64, float64, bool, string, and structs and lists of these.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from .json_check import parse_record
from .lines import UTF8_BOM, split_lines

_INT64_MAX = 2**63 - 1
_TOO_LARGE = 2.0**63  # what orjson reads beyond 64 bits is a float, whatever it looks like
_STRINGS_FOR = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_decimal,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def wire_schema(schema: pa.Schema) -> pa.Schema:
    """Turns a schema into the one of JSON's own types from which its columns are cast.

    Raises:
        TypeError: a column cannot be read from JSON lines.
    """
    fields = []
    for field in schema:
        wire = wire_type(field.type, field.name)
        if pa.types.is_nested(wire) and wire != field.type:
            raise TypeError(
                f"column {field.name!r}: expected JSON's own types inside lists and structs "
                f"({wire}), got {field.type}; read it so and cast it afterwards"
            )
        fields.append(pa.field(field.name, wire))
    return pa.schema(fields)


def wire_type(data_type: pa.DataType, path: str) -> pa.DataType:
    """Turns an Arrow type into JSON's own type for it.

    >>> wire_type(pa.float32(), "x"), wire_type(pa.timestamp("us"), "x")
    (DataType(double), DataType(string))
    """
    if pa.types.is_boolean(data_type):
        return data_type
    if pa.types.is_integer(data_type):
        return pa.uint64() if data_type == pa.uint64() else pa.int64()
    if pa.types.is_floating(data_type):
        return pa.float64()
    if pa.types.is_dictionary(data_type):
        return wire_type(data_type.value_type, path)
    if any(is_type(data_type) for is_type in _STRINGS_FOR):
        return pa.string()
    if pa.types.is_struct(data_type):
        return pa.struct(
            [(field.name, wire_type(field.type, f"{path}.{field.name}")) for field in data_type]
        )
    if pa.types.is_list(data_type):
        return pa.list_(wire_type(data_type.value_type, f"{path}[]"))
    raise TypeError(f"column {path!r}: expected a type that JSON can hold, got {data_type}")


def infer_json_schema(sample: bytes) -> pa.Schema:
    r"""Turns the first lines of JSON into the schema that holds nearly all of them.

    Columns stand in the order in which they are first seen. Integers become int64 (uint64 where
    they need it, float64 beyond that), a mix of integers and floats float64, strings stay strings
    whatever they look like, objects become structs and arrays lists. Where values of one column do
    not go together, most of them say its type, and the records of the others are malformed: so is
    an integer beyond 64 bits among others. A column that is only ever null has the type null, at
    any depth; an object without members gives no column. Malformed lines are skipped.

    Args:
        sample: the first block of the source, a few MB at most.

    Raises:
        ValueError: no line holds an object with at least one member.

    >>> infer_json_schema(b'{"a":1}\n{"a":2.5,"b":{"c":[true]}}\n')
    a: double
    b: struct<c: list<item: bool>>
      child 0, c: list<item: bool>
          child 0, item: bool
    """
    lines = split_lines(sample.removeprefix(UTF8_BOM))
    shape = _Shape()
    for index in range(len(lines)):
        value = parse_record(lines[index])
        if isinstance(value, dict):
            shape.see(value)
    fields = shape.fields()
    if not fields:
        raise ValueError(
            f"expected at least one JSON object with members, got none in {len(lines)} lines"
        )
    return pa.schema(fields)


class _Shape:
    """Everything that was seen in one place of the records."""

    __slots__ = ("counts", "item", "largest", "members", "smallest")

    def __init__(self) -> None:
        self.counts: dict[type, int] = {}
        self.smallest = self.largest = 0
        self.members: dict[str, _Shape] = {}
        self.item: _Shape | None = None

    def see(self, value: Any) -> None:
        """Takes note of one value."""
        kind = type(value)
        if kind is float and abs(value) >= _TOO_LARGE:
            kind = _Huge
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind is int:
            self.smallest, self.largest = min(self.smallest, value), max(self.largest, value)
        elif kind is dict:
            for name, inner in value.items():
                member = self.members.get(name)
                if member is None:
                    member = self.members[name] = _Shape()
                member.see(inner)
        elif kind is list:
            self.item = self.item or _Shape()
            for inner in value:
                self.item.see(inner)

    def fields(self) -> list[pa.Field]:
        """Returns the columns of an object."""
        types = {name: member.data_type() for name, member in self.members.items()}
        return [pa.field(name, type_) for name, type_ in types.items() if type_ is not None]

    def data_type(self) -> pa.DataType | None:
        """Returns the type of most values; None where they are objects without members."""
        kind = self._main_kind()
        if kind is float:
            return self._number()
        if kind is dict:
            fields = self.fields()
            return pa.struct(fields) if fields else None
        if kind is list:
            item = self.item.data_type() if self.item else pa.null()
            return None if item is None else pa.list_(item)
        return {str: pa.string(), bool: pa.bool_()}.get(kind, pa.null())

    def _main_kind(self) -> type:
        """Returns the kind of most values, with float for all numbers."""
        votes: dict[type, int] = {
            kind: self.counts.get(kind, 0) for kind in (str, bool, dict, list)
        }
        votes[float] = sum(self.counts.get(kind, 0) for kind in (int, float, _Huge))
        winner = max(votes, key=votes.__getitem__)
        return winner if votes[winner] else type(None)

    def _number(self) -> pa.DataType:
        if float in self.counts or int not in self.counts:
            return pa.float64()
        if self.largest <= _INT64_MAX:
            return pa.int64()
        return pa.uint64() if self.smallest >= 0 else pa.float64()


class _Huge:
    """Stands for numbers that are integers beyond 64 bits or fractions of that size."""
