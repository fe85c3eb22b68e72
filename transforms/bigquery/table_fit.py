"""Whether batches fit a table; both schemas side by side where they do not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa
from google.cloud.bigquery import SchemaField

from .column_types import to_bigquery
from .errors import BigQueryError

_ALIASES: Final[Mapping[str, str]] = {
    "INT64": "INTEGER",
    "FLOAT64": "FLOAT",
    "BOOL": "BOOLEAN",
    "STRUCT": "RECORD",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
}
_ADD_THEM: Final = (
    "allow new columns (--allow-new-columns), leave them out (--keep), or name another table."
)
_CHANGE_THEM: Final = "write these columns (--keep), change the table, or name another one."
_NAME_ANOTHER: Final = "name a new table, or one that has these columns."
# Text is how the values of these types are sent.
_TAKE_TEXT: Final = frozenset({"JSON", "GEOGRAPHY"})


class TableMismatchError(BigQueryError):
    """A table that has other columns than what is to be written into it."""


def new_columns(
    table: object,
    fields: Sequence[SchemaField],
    schema: pa.Schema,
    *,
    allow: bool,
    are_ours: bool = False,
) -> list[SchemaField]:
    """The columns of a schema that a table lacks; they may be null, as earlier rows lack them.

    A column of the type null, of which only the name is known yet, fits any type.

    Args:
        table: its name, for errors.
        fields: of the table.
        schema: of the batches.
        allow: whether there may be any.
        are_ours: whether no job can choose the columns: only another table helps.

    Raises:
        TableMismatchError: there are some although there may not be; or any other difference.
        ValueError: a column has a type or a name that BigQuery does not know.
    """
    wanted = to_bigquery(schema)
    unknown = {field.name for field in schema if pa.types.is_null(field.type)}
    ours = {field.name: field for field in wanted}
    theirs = {field.name: field for field in fields}
    both = [name for name in ours if name in theirs]
    differ = [name for name in both if name not in unknown and not fits(ours[name], theirs[name])]
    missing = [name for name in ours if name not in theirs]
    left_out = [name for name in theirs if name not in ours]
    clashes = {name.lower() for name in left_out} & {name.lower() for name in missing}
    if differ or left_out or clashes or (missing and not allow):
        marked = {*differ, *missing, *left_out}
        only_new = not (allow or differ or left_out or clashes)
        advice = _NAME_ANOTHER if are_ours else _ADD_THEM if only_new else _CHANGE_THEM
        raise TableMismatchError(_side_by_side(table, ours, theirs, marked, unknown, advice))
    return [_nullable(ours[name]) for name in missing]


def fits(ours: SchemaField, theirs: SchemaField) -> bool:
    """Whether values of one column can be written into another; null or not is a row's matter.

    >>> fits(SchemaField("x", "FLOAT", "REQUIRED"), SchemaField("x", "FLOAT64"))
    True
    """
    if (ours.mode == "REPEATED") != (theirs.mode == "REPEATED"):
        return False
    type_, their_type = _type(ours), _type(theirs)
    if type_ == their_type == "RECORD":
        return _names(ours) == _names(theirs) and all(
            fits(one, other) for one, other in zip(_sorted(ours), _sorted(theirs), strict=True)
        )
    return type_ == their_type or (type_ == "STRING" and their_type in _TAKE_TEXT)


def _type(field: SchemaField) -> str:
    name = field.field_type.upper()
    return _ALIASES.get(name, name)


def _names(field: SchemaField) -> list[str]:
    return [inner.name for inner in _sorted(field)]


def _sorted(field: SchemaField) -> list[SchemaField]:
    return sorted(field.fields, key=lambda inner: inner.name)


def _nullable(field: SchemaField) -> SchemaField:
    mode = "REPEATED" if field.mode == "REPEATED" else "NULLABLE"
    return SchemaField(field.name, field.field_type, mode, fields=field.fields)


def _side_by_side(
    table: object,
    ours: Mapping[str, SchemaField],
    theirs: Mapping[str, SchemaField],
    marked: set[str],
    unknown: set[str],
    advice: str,
) -> str:
    rows = [("column", "the output", "the table", "")]
    for name in dict.fromkeys([*ours, *theirs]):
        of_ours = "(any)" if name in unknown else _words(ours.get(name))
        rows.append((name, of_ours, _words(theirs.get(name)), "<--" if name in marked else ""))
    lines = [f"the output does not fit the table {table}:", *_aligned(rows)]
    return "\n".join([*lines, f"Nothing was changed. What to do: {advice}"])


def _words(field: SchemaField | None) -> str:
    if field is None:
        return "(none)"
    type_ = _type(field)
    if type_ == "RECORD":
        type_ = f"RECORD<{', '.join(f'{f.name} {_words(f)}' for f in field.fields)}>"
    return type_ if field.mode == "NULLABLE" else f"{type_} {field.mode}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
