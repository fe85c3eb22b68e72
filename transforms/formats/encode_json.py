"""Turns a batch into JSON lines, column by column instead of row by row."""

from typing import Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from .json_cells import decoded, float_text, inner_text, is_float, is_quoted, json_cells

_CHUNK_ROWS: Final = 4096  # the text of a column this long stays in the processor's cache


def encode_json_lines(batch: pa.RecordBatch) -> bytes:
    r"""Turns a batch into JSON lines: one object and one newline per row, keys in column order.

    Each column becomes text as a whole, then one Arrow call weaves the columns and the constant
    keys between them together. Every row has every key; a null is written as `null`. How each
    Arrow type is written stands in `json_cells`.

    Args:
        batch: may be empty or a slice; a row without columns is `{}`.

    Raises:
        ValueError: two columns of one name (readers of JSON keep only one of them), or a timestamp
            that cannot be spelled.
        TypeError: a column of a type without a JSON form; the message names the column.

    >>> encode_json_lines(pa.record_batch({"id": [1, 2], "score": [0.5, None]})).decode()
    '{"id":1,"score":0.5}\n{"id":2,"score":null}\n'
    """
    names = batch.schema.names
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"JSON cannot hold two columns of one name: {twice}. Rename one of each.")
    if not batch.num_rows or not names:
        return b"{}\n" * batch.num_rows
    starts = range(0, batch.num_rows, _CHUNK_ROWS)
    return b"".join(_encode_chunk(batch.slice(start, _CHUNK_ROWS)) for start in starts)


def _encode_chunk(batch: pa.RecordBatch) -> bytes:
    names = batch.schema.names
    pieces: list[pa.LargeStringArray | pa.Scalar] = []
    glue = "{"
    for index, name in enumerate(names):
        closer = "}" if index == len(names) - 1 else ","
        before, cells, after = _cells(name, batch.column(index), closer)
        pieces += [_constant(glue + before), cells]
        glue = after
    lines = pc.binary_join_element_wise(*pieces, _constant(glue + "\n"), _constant(""))
    return _data_of(lines)


def _cells(name: str, column: pa.Array, closer: str) -> tuple[str, pa.LargeStringArray, str]:
    """Returns what stands before each cell, the cells, and what is still to come after each."""
    key = orjson.dumps(name).decode() + ":"
    try:
        column = decoded(column)
        if is_float(column.type):
            return key, float_text(column, closer.encode()), ""
        if column.null_count or not is_quoted(column.type):
            return key, json_cells(column), closer
        text = inner_text(column)
    except (TypeError, ValueError) as error:
        raise type(error)(f"column {name!r}: {error}") from error
    if text.null_count:  # a dictionary whose values hold a null
        return key, json_cells(column), closer
    return key + '"', text, '"' + closer


def _constant(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def _data_of(lines: pa.LargeStringArray) -> bytes:
    """Returns the texts' bytes, which lie one after the other."""
    _, offsets, data = lines.buffers()
    first, last = (int(memoryview(offsets).cast("q")[i + lines.offset]) for i in (0, len(lines)))
    return bytes(memoryview(data)[first:last])
