r"""Which types the columns of a CSV source have."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import csv as pa_csv

from .csv_dialect import CsvDialect
from .csv_quotes import split_records, unsound_records
from .lines import UTF8_BOM, lines_not_utf8

_KEPT = (pa.int64(), pa.float64(), pa.bool_(), pa.null())


def infer_csv_schema(
    sample: bytes, dialect: CsvDialect, known: pa.Schema | None = None
) -> pa.Schema:
    r"""Turns the first records of a CSV source into its schema.

    A column is int64, float64 or bool where all its values in the sample are, and string
    otherwise: text that looks like a date or a time stays text. A column that is only ever null
    has the type null. Records with a wrong number of fields, invalid UTF-8 or open quotes are
    skipped. One value that is no number makes a column a string column: what is known better,
    such as the types that a model needs, comes in as `known`.

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
    table = None
    if text:
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            pa_csv.ReadOptions(
                use_threads=False, column_names=dialect.names, block_size=len(text) + 1
            ),
            pa_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                escape_char=dialect.escape or False,
                newlines_in_values=dialect.newlines_in_values,
                invalid_row_handler=lambda _: "skip",
            ),
            pa_csv.ConvertOptions(include_columns=names, null_values=dialect.null_values),
        )
    if table is None or not table.num_rows:
        raise ValueError(
            f"expected records with {len(dialect.names)} fields, "
            f"separated by {dialect.delimiter!r}, got none"
        )
    return {
        field.name: field.type if field.type in _KEPT else pa.string() for field in table.schema
    }
