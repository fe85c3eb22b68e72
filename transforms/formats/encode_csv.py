"""Turns a batch into CSV."""

import io
import re
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from .json_cells import decoded, inner_text, is_string, json_cells, timestamp_text

# Numbers, dates and nan stand without quotes, so what they are spelled with cannot divide them.
_NO_DELIMITER: Final = re.compile(r'[A-Za-z0-9+\-.:"\r\n]')


def encode_csv(batch: pa.RecordBatch, *, header: bool, delimiter: str = ",") -> bytes:
    r"""Turns a batch into CSV with `"` as the quote and `\n` after each row.

    A null is an empty field; text is always quoted, so that the empty text (`""`) differs from it.
    Where there is just one column a null is `""` too: an empty line is no row for any reader, so a
    null among text becomes the empty text there.
    Read with `strings_can_be_null=True, quoted_strings_can_be_null=False` and the column's types,
    these come back equal: integers, floats (`nan`, `inf`), booleans, text (also with newlines),
    dates, times, decimals, timestamps (with a zone: the same instant, in UTC). Others have no form
    of their own in CSV: lists, structs and maps become JSON text (as in `json_cells`), binary
    becomes base64, a duration the count of its unit.

    Args:
        batch: may be empty or a slice.
        header: whether to write the column names first.
        delimiter: one ASCII character that no number or date is spelled with.

    Raises:
        ValueError: another delimiter, or a timestamp that cannot be spelled.
        TypeError: a column of a type without a text form; the message names the column.

    >>> batch = pa.record_batch({"id": [1, None], "text": ["", None], "tags": [["a"], []]})
    >>> print(encode_csv(batch, header=True).decode(), end="")
    "id","text","tags"
    1,"","[""a""]"
    ,,"[]"
    """
    _check_delimiter(delimiter)
    if not batch.num_columns:
        return b"\n" * (batch.num_rows + header)
    columns = [
        _csv_column(column, name)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    if len(columns) == 1 and is_string(columns[0].type):
        columns = [columns[0].fill_null("")]
    text = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    names = _write(text.slice(0, 0), delimiter, header=True) if header else b""
    rows = _write(text, delimiter, header=False)
    return names + (_filled(rows) if len(columns) == 1 and columns[0].null_count else rows)


def _write(text: pa.RecordBatch, delimiter: str, *, header: bool) -> bytes:
    target = io.BytesIO()
    csv.write_csv(text, target, csv.WriteOptions(include_header=header, delimiter=delimiter))
    return target.getvalue()


def _filled(rows: bytes) -> bytes:
    """Puts `""` on lines without a character: readers take such a line for no row at all."""
    return b"\n".join([row or b'""' for row in rows.split(b"\n")[:-1]]) + b"\n"


def _check_delimiter(delimiter: str) -> None:
    if len(delimiter) != 1 or not delimiter.isascii() or _NO_DELIMITER.match(delimiter):
        raise ValueError(
            f"the delimiter must be one ASCII character other than a letter, digit, quote, newline "
            f"or one of + - . :, got {delimiter!r}"
        )


def _csv_column(column: pa.Array, name: str) -> pa.Array:
    """Returns a column that Arrow's writer spells as documented; most are left as they are."""
    try:
        column = decoded(column)
        kind = column.type
        if pa.types.is_nested(kind):
            text = json_cells(column)
            return pc.if_else(column.is_valid(), text, pa.scalar(None, text.type))
        if pa.types.is_timestamp(kind):
            return timestamp_text(column)
        if pa.types.is_dictionary(kind):
            return column.dictionary_decode()
        if is_string(kind):
            return column.cast(pa.large_string())
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return inner_text(column)
        if pa.types.is_fixed_size_binary(kind) and not pa.types.is_decimal(kind):
            return inner_text(column)
        if pa.types.is_interval(kind):
            return inner_text(column)
    except (TypeError, ValueError) as error:
        raise type(error)(f"column {name!r}: {error}") from error
    return column
