"""Turns Arrow schemas into BigQuery schemas and back.

| Arrow | BigQuery | read back as |
|---|---|---|
| int8 to int64, uint8 to uint32 | INTEGER | int64 |
| uint64 | NUMERIC | decimal128(38, 9) |
| float16, float32, float64 | FLOAT | float64 |
| bool | BOOLEAN | bool |
| string, large, view | STRING | string |
| binary, large, view, fixed size | BYTES | binary |
| timestamp with a time zone | TIMESTAMP | timestamp[us, UTC] |
| timestamp without | DATETIME | timestamp[us] |
| date32, date64 | DATE | date32 |
| time32, time64 | TIME | time64[us] |
| decimal with at most 9 digits behind the point and 29 before it | NUMERIC | decimal128(38, 9) |
| decimal with at most 38 of both | BIGNUMERIC | decimal256(76, 38) |
| list, large, fixed size | REPEATED of the item | list |
| map | REPEATED RECORD of key and value | list of structs |
| struct | RECORD | struct |
| dictionary | as its values | the type of its values |
| string that a read session marks as JSON, GEOGRAPHY | JSON, GEOGRAPHY | string, marked |
| null | STRING | string |

A list of lists, a duration, an interval and a union have no counterpart and are refused. A field
that may not be null is REQUIRED.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import pyarrow as pa
from google.cloud.bigquery import SchemaField

_MARK: Final = b"ARROW:extension:name"  # on a field, with what Arrow has no type for
_MARKED: Final = {b"google:sqlType:json": "JSON", b"google:sqlType:geography": "GEOGRAPHY"}
_MARKS: Final = {type_: mark for mark, type_ in _MARKED.items()}

_NUMERIC: Final = pa.decimal128(38, 9)
_BIGNUMERIC: Final = pa.decimal256(76, 38)
_ARROW_TYPES: Final[dict[str, pa.DataType]] = {
    "INTEGER": pa.int64(),
    "INT64": pa.int64(),
    "FLOAT": pa.float64(),
    "FLOAT64": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "BOOL": pa.bool_(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "DATETIME": pa.timestamp("us"),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "NUMERIC": _NUMERIC,
    "DECIMAL": _NUMERIC,
    "BIGNUMERIC": _BIGNUMERIC,
    "BIGDECIMAL": _BIGNUMERIC,
    "JSON": pa.string(),
    "GEOGRAPHY": pa.string(),
    "INTERVAL": pa.month_day_nano_interval(),
}
_RECORDS: Final = frozenset({"RECORD", "STRUCT"})

# What a name may hold, by https://cloud.google.com/bigquery/docs/schemas#column_names (2026-11).
_FORBIDDEN: Final = re.compile(r"[!\"$()*,./;?@\[\\\]^`{}~\x00-\x1f]")
_RESERVED: Final = (
    "_table_",
    "_file_",
    "_partition",
    "_row_timestamp",
    "__root__",
    "_colidentifier",
    "_change_",
)
_MAX_NAME: Final = 300

_Check = Callable[[pa.DataType], bool]
_PLAIN: Final[tuple[tuple[_Check, str], ...]] = (
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_uint64, "NUMERIC"),  # half of them are beyond INTEGER, which has a sign
    (pa.types.is_integer, "INTEGER"),
    (pa.types.is_floating, "FLOAT"),
    (pa.types.is_string, "STRING"),
    (pa.types.is_large_string, "STRING"),
    (pa.types.is_string_view, "STRING"),
    (pa.types.is_binary, "BYTES"),
    (pa.types.is_large_binary, "BYTES"),
    (pa.types.is_binary_view, "BYTES"),
    (pa.types.is_fixed_size_binary, "BYTES"),
    (pa.types.is_date, "DATE"),
    (pa.types.is_time, "TIME"),
    (pa.types.is_null, "STRING"),
)


def to_bigquery(schema: pa.Schema) -> list[SchemaField]:
    """The columns of a table that holds batches of this schema.

    Raises:
        ValueError: a column has a type or a name that BigQuery does not know.

    >>> [(field.name, field.field_type) for field in to_bigquery(pa.schema({"x": pa.int8()}))]
    [('x', 'INTEGER')]
    """
    check_names(schema.names)
    return [_to_field(field, field.name) for field in schema]


def to_arrow(fields: Iterable[SchemaField]) -> pa.Schema:
    """The schema of the batches that are read from a table with these columns.

    Raises:
        ValueError: a column has a type that is not known here.

    >>> to_arrow([SchemaField("x", "NUMERIC"), SchemaField("tags", "STRING", "REPEATED")]).types
    [Decimal128Type(decimal128(38, 9)), ListType(list<item: string>)]
    """
    return pa.schema([_to_arrow_field(field) for field in fields])


def to_send(schema: pa.Schema) -> pa.Schema:
    """The schema to which batches are cast before they are sent: the plainest types of each kind.

    What is stored is the same: dictionaries become their values, views and large types the usual
    ones, times those of microseconds, which is all that BigQuery keeps.

    >>> to_send(pa.schema({"x": pa.dictionary(pa.int8(), pa.large_string())})).types
    [DataType(string)]
    """
    return pa.schema([_plain_field(field) for field in schema])


def check_names(names: Sequence[str]) -> None:
    """Checks that columns may be called this in one table.

    Raises:
        ValueError: a name holds a character that none may, is reserved, or differs from another
            only in its case.

    >>> check_names(["age", "Age"])
    Traceback (most recent call last):
    ...
    ValueError: the columns 'age' and 'Age' are one to BigQuery, which ignores case: rename one
    """
    seen: dict[str, str] = {}
    for name in names:
        lowered = name.lower()
        if lowered in seen:
            raise ValueError(
                f"the columns {seen[lowered]!r} and {name!r} are one to BigQuery, which ignores "
                "case: rename one"
            )
        seen[lowered] = name
        if not 0 < len(name) <= _MAX_NAME or _FORBIDDEN.search(name):
            raise ValueError(
                f"BigQuery takes no column {name!r}: a name has 1 to {_MAX_NAME} characters, and "
                'none of !"$()*,./;?@[\\]^`{}~. Rename it'
            )
        if lowered.startswith(_RESERVED):
            raise ValueError(f"BigQuery keeps the start of the column name {name!r} for itself")


def _to_field(field: pa.Field, path: str) -> SchemaField:
    name, type_ = field.name, _values(field.type)
    mode = "NULLABLE" if field.nullable else "REQUIRED"
    marked = _marked(field)
    item = _item_of(type_)
    if item is not None:
        marked, mode, type_ = marked or _marked(item), "REPEATED", _values(item.type)
        if _item_of(type_) is not None:
            raise ValueError(
                f"column {path!r} holds lists of lists, and BigQuery knows no arrays of arrays: "
                "leave it out with keep"
            )
    if pa.types.is_struct(type_):
        check_names([inner.name for inner in type_])
        fields = [_to_field(inner, f"{path}.{inner.name}") for inner in type_]
        return SchemaField(name, "RECORD", mode, fields=fields)
    return SchemaField(name, marked or _type_name(type_, path), mode)


def _marked(field: pa.Field) -> str | None:
    """JSON or GEOGRAPHY, for a field that says so of its text."""
    if isinstance(field.type, pa.BaseExtensionType):
        return "JSON" if field.type.extension_name == "arrow.json" else None
    return _MARKED.get((field.metadata or {}).get(_MARK, b""))


def _type_name(type_: pa.DataType, path: str) -> str:
    if pa.types.is_timestamp(type_):
        return "DATETIME" if type_.tz is None else "TIMESTAMP"
    if pa.types.is_decimal(type_):
        return _decimal_name(type_, path)
    found = (name for is_such, name in _PLAIN if is_such(type_))
    name = next(found, None)
    if name is None:
        raise ValueError(
            f"column {path!r} has the type {type_}, for which BigQuery has none: cast it before, "
            "as with --preprocess, or leave it out with keep"
        )
    return name


def _decimal_name(type_: pa.DataType, path: str) -> str:
    before = type_.precision - type_.scale
    if 0 <= type_.scale <= 9 and before <= 29:
        return "NUMERIC"
    if 0 <= type_.scale <= 38 and before <= 38:
        return "BIGNUMERIC"
    raise ValueError(
        f"column {path!r} has the type {type_}: BigQuery's widest decimal, BIGNUMERIC, has 38 "
        "digits before the point and 38 behind it"
    )


def _to_arrow_field(field: SchemaField) -> pa.Field:
    name = field.field_type.upper()
    if name in _RECORDS:
        type_ = pa.struct([_to_arrow_field(inner) for inner in field.fields])
    elif name == "RANGE":
        bound = _arrow_type(field.name, field.range_element_type.element_type)
        type_ = pa.struct({"start": bound, "end": bound})
    else:
        type_ = _arrow_type(field.name, name)
    mark = {_MARK: _MARKS[name]} if name in _MARKS else None
    if field.mode == "REPEATED":
        return pa.field(field.name, pa.list_(type_), nullable=False, metadata=mark)
    return pa.field(field.name, type_, nullable=field.mode != "REQUIRED", metadata=mark)


def _arrow_type(column: str, name: str) -> pa.DataType:
    if name not in _ARROW_TYPES:
        raise ValueError(
            f"column {column!r} has BigQuery's type {name}, which cannot be read here: "
            "name the other columns with source.columns, or cast it in a query"
        )
    return _ARROW_TYPES[name]


def _values(type_: pa.DataType) -> pa.DataType:
    """The type of what a dictionary or an extension stands for."""
    if pa.types.is_dictionary(type_):
        return _values(type_.value_type)
    return type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_


def _item_of(type_: pa.DataType) -> pa.Field | None:
    """What a list holds; None for all that is no list. A map is a list of its entries."""
    if pa.types.is_map(type_):
        entry = [type_.key_field.with_name("key"), type_.item_field.with_name("value")]
        return pa.field("item", pa.struct(entry), nullable=False)
    if (
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    ):
        return type_.value_field
    return None


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _plain_type(field.type), field.nullable)


def _plain_type(type_: pa.DataType) -> pa.DataType:
    type_ = _values(type_)
    item = _item_of(type_)
    if item is not None:
        return pa.list_(_plain_field(item))
    if pa.types.is_struct(type_):
        return pa.struct([_plain_field(inner) for inner in type_])
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", None if type_.tz is None else "UTC")
    if pa.types.is_decimal(type_):
        is_numeric = _decimal_name(type_, "") == "NUMERIC"
        return (pa.decimal128 if is_numeric else pa.decimal256)(type_.precision, type_.scale)
    if pa.types.is_uint64(type_):
        return pa.decimal128(20, 0)
    if pa.types.is_unsigned_integer(type_):
        return pa.int64()
    if pa.types.is_float16(type_):
        return pa.float32()
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return type_
    found = (_ARROW_TYPES[name] for is_such, name in _PLAIN if is_such(type_))
    return next(found, type_)
