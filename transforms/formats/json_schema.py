r"""Which columns and types some JSON lines have.

JSON's own types in Arrow are int64, uint64, float64, bool, string, and structs and lists of these.
"""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from .lines import UTF8_BOM, split_lines

_INT64_MAX = 2**63 - 1
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
        return pa.struct([(field.name, wire_type(field.type, f"{path}.{field.name}")) for field in data_type])
    if pa.types.is_list(data_type):
        return pa.list_(wire_type(data_type.value_type, f"{path}[]"))
    raise TypeError(f"column {path!r}: expected a type that JSON can hold, got {data_type}")


def infer_json_schema(sample: bytes) -> pa.Schema:
    r"""Turns the first lines of JSON into the schema that holds all of them.

    Columns stand in the order in which they are first seen. Integers become int64 (uint64 where
    they need it, float64 beyond that), a mix of integers and floats float64, strings stay strings
    whatever they look like, objects become structs and arrays lists. A column that is only ever
    null, and one that mixes types that do not go together, become strings: in the first case any
    later string fits, in the second the records of the other type are malformed. Malformed lines,
    and a last line without a line end unless it parses, are skipped.

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
        try:
            value = orjson.loads(lines[index])
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            shape.see(value)
    if not shape.members:
        raise ValueError(f"expected at least one JSON object with members, got none in {len(lines)} lines")
    return pa.schema([(name, member.data_type()) for name, member in shape.members.items()])


class _Shape:
    """Everything that was seen in one place of the records."""

    __slots__ = ("classes", "item", "largest", "members", "smallest")

    def __init__(self) -> None:
        self.classes: set[type] = set()
        self.smallest = self.largest = 0
        self.members: dict[str, _Shape] = {}
        self.item: _Shape | None = None

    def see(self, value: Any) -> None:
        """Takes note of one value."""
        kind = type(value)
        self.classes.add(kind)
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

    def data_type(self) -> pa.DataType:
        """Returns the type that holds everything that was seen."""
        classes = self.classes - {type(None)}
        if classes == {bool}:
            return pa.bool_()
        if classes == {int}:
            return self._integer()
        if classes and classes <= {int, float}:
            return pa.float64()
        if classes == {dict} and self.members:
            return pa.struct([(name, member.data_type()) for name, member in self.members.items()])
        if classes == {list} and self.item is not None:
            return pa.list_(self.item.data_type())
        return pa.string()

    def _integer(self) -> pa.DataType:
        if self.largest <= _INT64_MAX:
            return pa.int64()
        return pa.uint64() if self.smallest >= 0 else pa.float64()
