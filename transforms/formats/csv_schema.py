r"""Which types the columns of a CSV source have."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from .csv_dialect import CsvDialect, count_fields
from .csv_quotes import split_records, unsound_records
from .lines import UTF8_BOM, lines_not_utf8

_KEPT = (pa.int64(), pa.float64(), pa.bool_(), pa.null())
_CODE = r"^\s*(\+|[+-]?0[0-9])"  # the zeros of a postcode, the plus of a telephone number
_WHOLE = r"^\s*[+-]?[0-9]+\s*$"


def infer_csv_schema(
    sample: bytes, dialect: CsvDialect, known: pa.Schema | None = None
) -> pa.Schema:
    r"""Turns the first records of a CSV source into its schema.

    A column is int64, float64 or bool where all its values in the sample are, and string
    otherwise: text that looks like a date or a time stays text, and so do whole numbers if one of
    them starts with a zero or a plus, which it would lose as a number. Whole numbers beyond int64
    are uint64, or text beyond that. A column that is only ever null has the type null. Records
    with a wrong number of fields, invalid UTF-8 or open quotes are skipped. One value that is no
    number makes a column a string column: what is known better, such as the types that a model
    needs, comes in as `known`.

    Args:
        sample: the source's first data, cut at a record's end, without the header.
        dialect: how the source is written, with its column names.
        known: columns whose types are not inferred; those that the source lacks are ignored.

    Raises:
        ValueError: no record of the sample has as many fields as the dialect has names.

    >>> infer_csv_schema(b"1,2.5,2024-01-01\n2,,x\n", CsvDialect(names=("a", "b", "c")))
    a: int64
    b: double
    c: string
    """
    records = split_records(sample.removeprefix(UTF8_BOM), dialect)
    good = set(range(len(records))) - set(lines_not_utf8(records).tolist())
    good -= set(unsound_records(records, dialect).tolist())
    text = b"\n".join([records[index] for index in sorted(good)])
    wanted = {} if known is None else {field.name: field.type for field in known}
    inferred = _infer(text, dialect, [name for name in dialect.names if name not in wanted])
    return pa.schema([(name, wanted.get(name) or inferred[name]) for name in dialect.names])


def _infer(text: bytes, dialect: CsvDialect, names: list[str]) -> dict[str, pa.DataType]:
    """Returns the types of some columns of a text without unsound records."""
    if not names:
        return {}
    table = _read(text, dialect, names, {}) if text else None
    if table is None or not table.num_rows:
        found = f"; the first one has {count_fields(text, dialect)}" if text else ""
        raise ValueError(
            f"expected records with {len(dialect.names)} fields, "
            f"separated by {dialect.delimiter!r}, got none{found}"
        )
    types = {
        field.name: field.type if field.type in _KEPT else pa.string() for field in table.schema
    }
    numbers = [name for name, type_ in types.items() if type_ in (pa.int64(), pa.float64())]
    if numbers:
        texts = _read(text, dialect, numbers, dict.fromkeys(numbers, pa.string()))
        types |= {name: _number_type(texts.column(name), types[name]) for name in numbers}
    return types


def _read(
    text: bytes, dialect: CsvDialect, names: list[str], types: dict[str, pa.DataType]
) -> pa.Table:
    """Parses some columns of a text; those without a type get the one that pyarrow finds."""
    return pa_csv.read_csv(
        pa.BufferReader(text),
        pa_csv.ReadOptions(use_threads=False, column_names=dialect.names, block_size=len(text) + 1),
        pa_csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            escape_char=dialect.escape or False,
            newlines_in_values=dialect.newlines_in_values,
            invalid_row_handler=lambda _: "skip",
        ),
        pa_csv.ConvertOptions(
            include_columns=names,
            column_types=types,
            null_values=dialect.null_values,
            strings_can_be_null=True,
        ),
    )


def _number_type(texts: pa.ChunkedArray, inferred: pa.DataType) -> pa.DataType:
    """Turns the numbers of a column, as they are written, into the type that keeps them."""
    if pa.types.is_floating(inferred) and not pc.all(_match(texts, _WHOLE)).as_py():
        return inferred
    if pc.any(_match(texts, _CODE)).as_py():
        return pa.string()
    if pa.types.is_integer(inferred):
        return inferred
    try:
        pc.utf8_trim_whitespace(texts).cast(pa.uint64())
    except pa.ArrowInvalid:
        return pa.string()
    return pa.uint64()


def _match(texts: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    return pc.match_substring_regex(texts, pattern)
