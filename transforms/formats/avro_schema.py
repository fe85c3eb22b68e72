"""Turns Avro schemas into Arrow schemas and back.

| Avro | Arrow |
|---|---|
| boolean, int, long, float, double | bool, int32, int64, float32, float64 |
| string, enum, uuid | string |
| bytes, fixed | binary, fixed-size binary |
| decimal | decimal128, beyond 38 digits decimal256 |
| date, time-millis, time-micros | date32, time32[ms], time64[us] |
| timestamp-millis, -micros | timestamp[ms, UTC], timestamp[us, UTC] |
| local-timestamp-millis, -micros | timestamp[ms], timestamp[us] |
| array, map, record | list, map with string keys, struct |
| null | null |
| union of null and one type | that type, nullable |
| any other union | refused: no column can hold two types |
"""

import re
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DECIMAL128: Final = 38
_PRIMITIVES: Final[dict[str, pa.DataType]] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL: Final[dict[tuple[str, str], pa.DataType]] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
}


def to_arrow_schema(schema: Any) -> pa.Schema:
    """Turns the Avro schema of a file, a record as parsed from JSON, into an Arrow schema.

    Raises:
        TypeError: no record, a union that no column can hold, or a record that contains itself.

    >>> fields = [{"name": "x", "type": ["null", "double"]}, {"name": "n", "type": "long"}]
    >>> to_arrow_schema({"type": "record", "name": "Row", "fields": fields})
    x: double
    n: int64 not null
    """
    if not isinstance(schema, dict) or schema.get("type") not in ("record", "error"):
        raise TypeError(f"an Avro file of rows must hold records, not {_label(schema)}")
    return pa.schema(list(_ArrowTypes().record(schema, "")))


class _ArrowTypes:
    """Resolves one schema; remembers its named types, which may be used again by name."""

    def __init__(self) -> None:
        self._named: dict[str, pa.DataType | None] = {}

    def record(self, schema: dict[str, Any], path: str) -> pa.StructType:
        name = schema.get("name", "")
        namespace = schema.get("namespace", "")
        self._named[name] = None  # until it is complete: whoever asks for it contains itself
        fields = [self._field(field, path) for field in schema["fields"]]
        return self._remember(name, namespace, pa.struct(fields))

    def _field(self, field: dict[str, Any], path: str) -> pa.Field:
        name = field["name"]
        kind, nullable = self._unwrap(field["type"], f"{path}.{name}" if path else name)
        return pa.field(name, kind, nullable)

    def _unwrap(self, schema: Any, path: str) -> tuple[pa.DataType, bool]:
        if not isinstance(schema, list):
            kind = self._type(schema, path)
            return kind, kind == pa.null()
        branches = [branch for branch in schema if branch != "null"]
        if len(branches) > 1:
            found = ", ".join(map(_label, branches))
            raise TypeError(
                f"Avro field {path!r} is a union of {found}: a column holds one type. Write the "
                "file with one type (or null and one type) in this field."
            )
        kind = self._type(branches[0], path) if branches else pa.null()
        return kind, "null" in schema

    def _type(self, schema: Any, path: str) -> pa.DataType:
        if isinstance(schema, str):
            return _PRIMITIVES[schema] if schema in _PRIMITIVES else self._by_name(schema, path)
        kind = schema["type"]
        if isinstance(kind, (dict, list)):
            return self._unwrap(kind, path)[0]
        if kind in ("record", "error"):
            return self.record(schema, path)
        if kind == "array":
            return pa.list_(self._item("item", schema["items"], path))
        if kind == "map":
            return pa.map_(pa.string(), self._item("value", schema["values"], path))
        return self._logical(kind, schema, path)

    def _item(self, name: str, schema: Any, path: str) -> pa.Field:
        return pa.field(name, *self._unwrap(schema, path))

    def _logical(self, kind: str, schema: dict[str, Any], path: str) -> pa.DataType:
        logical = schema.get("logicalType", "")
        plain = self._named_or_primitive(kind, schema, path)
        if logical == "decimal" and kind in ("bytes", "fixed"):
            precision, scale = int(schema["precision"]), int(schema.get("scale", 0))
            decimal = pa.decimal128 if precision <= _MAX_DECIMAL128 else pa.decimal256
            plain = decimal(precision, scale)
        else:
            plain = _LOGICAL.get((kind, logical), plain)
        return self._remember(schema.get("name", ""), schema.get("namespace", ""), plain)

    def _named_or_primitive(self, kind: str, schema: dict[str, Any], path: str) -> pa.DataType:
        if kind == "enum":
            return pa.string()
        if kind == "fixed":
            return pa.binary(int(schema["size"]))
        return self._type(kind, path)

    def _by_name(self, name: str, path: str) -> pa.DataType:
        known = name if name in self._named else name.rpartition(".")[2]
        if known not in self._named:
            raise TypeError(f"Avro field {path!r} has the unknown type {name!r}")
        kind = self._named[known]
        if kind is None:
            raise TypeError(f"Avro field {path!r} has the type {name!r}, which contains itself")
        return kind

    def _remember(self, name: str, namespace: str, kind: pa.DataType) -> pa.DataType:
        if name:
            self._named[name] = kind
            if namespace:
                self._named[f"{namespace}.{name}"] = kind
        return kind


def _label(schema: Any) -> str:
    if isinstance(schema, dict):
        return str(schema.get("logicalType") or schema.get("name") or schema.get("type"))
    return str(schema)


def to_avro_schema(schema: pa.Schema, name: str = "Row") -> dict[str, Any]:
    """Turns an Arrow schema into the Avro schema of a record.

    Narrower or wider types that Avro lacks become the next one that holds them (int8 → int,
    timestamp[s] → timestamp-millis); `AvroWriter` casts the columns accordingly.

    Raises:
        ValueError: a name that Avro does not allow.
        TypeError: a type that Avro cannot hold without loss (uint64, nanoseconds, durations).

    >>> to_avro_schema(pa.schema([("x", pa.float64())]))["fields"]
    [{'name': 'x', 'type': ['null', 'double']}]
    """
    return _record(list(schema), name, "")


def _record(fields: list[pa.Field], name: str, path: str) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [_avro_field(f, name, path) for f in fields]}


def _avro_field(field: pa.Field, parent: str, path: str) -> dict[str, Any]:
    path = f"{path}.{field.name}" if path else field.name
    if not _NAME.fullmatch(field.name):
        raise ValueError(
            f"Avro does not allow the column name {path!r}: a name holds only letters, digits and "
            "_ and starts with no digit. Rename the column, or write another format."
        )
    return {"name": field.name, "type": _nullable(field, f"{parent}.{field.name}", path)}


def _nullable(field: pa.Field, name: str, path: str) -> Any:
    kind = _avro_type(field.type, name, path)
    return ["null", kind] if field.nullable and kind != "null" else kind


def _avro_type(kind: pa.DataType, name: str, path: str) -> Any:
    if pa.types.is_struct(kind):
        return _record(list(kind), name, path)
    if pa.types.is_map(kind):
        if not pa.types.is_string(kind.key_type) and not pa.types.is_large_string(kind.key_type):
            raise TypeError(f"column {path!r}: an Avro map has string keys, not {kind.key_type}")
        return {"type": "map", "values": _nullable(kind.item_field, name, path)}
    if pa.types.is_list(kind):
        return {"type": "array", "items": _nullable(kind.value_field, name, path)}
    if pa.types.is_decimal(kind):
        size = {"precision": kind.precision, "scale": kind.scale}
        return {"type": "bytes", "logicalType": "decimal", **size}
    if pa.types.is_fixed_size_binary(kind):
        return {"type": "fixed", "name": name, "size": kind.byte_width}
    return _leaf(kind, path)


def _leaf(kind: pa.DataType, path: str) -> Any:
    for primitive, arrow in _PRIMITIVES.items():
        if kind == arrow:
            return primitive
    for (primitive, logical), arrow in _LOGICAL.items():
        if kind == arrow:
            return {"type": primitive, "logicalType": logical}
    raise TypeError(f"column {path!r}: Avro has no type for {kind}. Cast it, or drop it with keep.")


def storable_type(kind: pa.DataType) -> pa.DataType:
    """Returns the Arrow type, of those that Avro has, in which a column is stored.

    >>> storable_type(pa.list_(pa.uint8()))
    ListType(list<item: int32>)
    """
    for test, stored in _STORED:
        if test(kind):
            return stored
    if isinstance(kind, pa.BaseExtensionType):
        return storable_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return storable_type(kind.value_type)
    if pa.types.is_timestamp(kind) and kind.unit in ("s", "ms"):
        return pa.timestamp("ms", kind.tz and "UTC")
    if pa.types.is_timestamp(kind) and kind.unit == "us":
        return pa.timestamp("us", kind.tz and "UTC")
    return _storable_nested(kind)


def _storable_nested(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([_storable_field(field) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(storable_type(kind.key_type), _storable_field(kind.item_field))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_storable_field(kind.value_field))
    return kind


def _storable_field(field: pa.Field) -> pa.Field:
    return field.with_type(storable_type(field.type))


_STORED: Final[tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...]] = (
    (pa.types.is_int8, pa.int32()),
    (pa.types.is_int16, pa.int32()),
    (pa.types.is_uint8, pa.int32()),
    (pa.types.is_uint16, pa.int32()),
    (pa.types.is_uint32, pa.int64()),
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_date64, pa.date32()),
    (lambda kind: kind == pa.time32("s"), pa.time32("ms")),
)
