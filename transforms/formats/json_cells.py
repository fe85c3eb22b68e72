"""Turns one column into the JSON text of its cells.

JSON holds fewer types than Arrow. The rules, here and in every text format that embeds JSON:

| Arrow | JSON |
|---|---|
| integers | number, all digits (also beyond 2**53) |
| floats | the shortest number that reads back equal; NaN and infinities, which JSON lacks: `null` |
| decimal | string: a JSON number would be read as a binary float |
| timestamp | ISO 8601 string to the column's unit; with a zone: the same instant in UTC, `Z` |
| date, time | ISO 8601 string |
| duration | integer: how many of the column's unit |
| binary | base64 string |
| list, struct | array, object |
| map | array of `{"key": ..., "value": ...}`: keeps order, repeated keys and keys of any type |
| dictionary, run-end encoded, extension | as what it stands for |
"""

import binascii
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

_MUST_ESCAPE: Final = r'["\\\x00-\x1f]'
_OUT_OF_RANGE: Final = "<"  # Arrow spells such a timestamp '<value out of range: 123>'


def json_cells(column: pa.Array) -> pa.LargeStringArray:
    r"""Turns a column into the JSON text of each cell; a null becomes the text `null`.

    Raises:
        TypeError: the column's type has no JSON form (an interval, a union).
        ValueError: a timestamp that ISO 8601 cannot spell.

    >>> json_cells(pa.array(['say "hi"', None])).to_pylist()
    ['"say \\"hi\\""', 'null']
    >>> json_cells(pa.array([{"a": [1.5, None]}])).to_pylist()
    ['{"a":[1.5,null]}']
    """
    column = decoded(column)
    if is_float(column.type):
        text = float_text(column, b",")
        return pc.utf8_slice_codeunits(text, 0, -1) if len(text) else text
    text = inner_text(column)
    if is_quoted(column.type):
        quote = pa.scalar('"', pa.large_string())
        text = pc.binary_join_element_wise(quote, text, quote, pa.scalar("", pa.large_string()))
    return text.fill_null("null")


def decoded(column: pa.Array) -> pa.Array:
    """Turns an encoded column (dictionary, run-end, extension, view) into the plain one it means.

    A dictionary of strings keeps its form: its few values are cheaper to escape than its rows.

    >>> decoded(pa.array([1, 1]).dictionary_encode()).type
    DataType(int64)
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return decoded(column.storage)
    if pa.types.is_run_end_encoded(kind):
        return decoded(pc.run_end_decode(column))
    if pa.types.is_dictionary(kind) and not is_string(kind.value_type):
        return decoded(column.dictionary_decode())
    if pa.types.is_binary_view(kind):
        return column.cast(pa.large_binary())
    return column


def is_float(kind: pa.DataType) -> bool:
    """Whether a column of this type goes through `float_text`."""
    return pa.types.is_floating(kind)


def is_string(kind: pa.DataType) -> bool:
    """Whether a type holds text in UTF-8, in any of Arrow's layouts."""
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_quoted(kind: pa.DataType) -> bool:
    """Whether a cell of this type is a JSON string, so that `inner_text` stands in quotes."""
    return not (
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_duration(kind)
        or pa.types.is_null(kind)
        or pa.types.is_nested(kind)
    )


def float_text(column: pa.Array, closer: bytes) -> pa.LargeStringArray:
    """Turns floats into shortest round-trip text, each followed by one byte `closer`.

    orjson prints a numpy vector several times faster than Arrow casts it to strings, and in valid
    JSON (`1.0`, `-0.0`, null for NaN). Its commas become the closers, so that no text is moved.

    >>> float_text(pa.array([0.1, None, 2.0]), b"}").to_pylist()
    ['0.1}', 'null}', '2.0}']
    """
    if not len(column):
        return pa.array([], pa.large_string())
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if column.null_count:
        column = column.fill_null(float("nan"))
    values = np.ascontiguousarray(column.to_numpy(zero_copy_only=False))
    text = np.frombuffer(
        bytearray(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)), np.uint8
    )
    text[-1] = ord(",")
    ends = np.flatnonzero(text == ord(","))
    if closer != b",":
        text[ends] = ord(closer)
    offsets = np.concatenate((np.ones(1, np.int64), ends + 1))
    return pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(offsets), pa.py_buffer(text))


def inner_text(column: pa.Array) -> pa.LargeStringArray:
    """Turns a column, `decoded` and of no float type, into JSON text without the outer quotes.

    Nulls stay null.

    >>> inner_text(pa.array([b"ab", None])).to_pylist()
    ['YWI=', None]
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _escaped(column.dictionary.cast(pa.large_string())).take(column.indices)
    if is_string(kind):
        return _escaped(column.cast(pa.large_string()))
    if pa.types.is_nested(kind):
        cells = plain_values(column).to_pylist()
        texts = [None if cell is None else orjson.dumps(cell) for cell in cells]
        return pa.array(texts, pa.large_binary()).cast(pa.large_string())
    return _leaf_text(column)


def _escaped(text: pa.LargeStringArray) -> pa.LargeStringArray:
    """Escapes what JSON demands; text without such characters, the usual, is returned as it is."""
    if not _may_need_escape(text):
        return text
    mask = pc.match_substring_regex(text, _MUST_ESCAPE).fill_null(False)
    escaped = [orjson.dumps(cell)[1:-1] for cell in text.filter(mask).to_pylist()]
    replacements = pa.array(escaped, pa.large_binary()).cast(pa.large_string())
    return pc.replace_with_mask(text, mask, replacements)


def _may_need_escape(text: pa.LargeStringArray) -> bool:
    """Looks at the raw bytes, many times faster than a regular expression; may say yes too often.

    Control characters are below the space, quote and backslash are two more bytes, and no byte of
    a longer UTF-8 sequence is below 128.
    """
    _, offset_buffer, data = text.buffers()
    if data is None or not len(text):
        return False
    offsets = np.frombuffer(offset_buffer, np.int64)[text.offset : text.offset + len(text) + 1]
    used = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    return bool(((used < 0x20) | (used == 0x22) | (used == 0x5C)).any())


def _leaf_text(column: pa.Array) -> pa.LargeStringArray:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return timestamp_text(column)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _base64(column)
    if pa.types.is_fixed_size_binary(kind):
        return _base64(column)
    try:
        return column.cast(pa.large_string())
    except pa.ArrowNotImplementedError as error:
        raise TypeError(f"a column of type {kind} has no text form: cast or drop it") from error


def timestamp_text(column: pa.Array) -> pa.LargeStringArray:
    """Turns timestamps into ISO 8601; those with a zone into UTC with a `Z`, the same instant.

    Raises:
        ValueError: a timestamp beyond the years that can be spelled.

    >>> timestamp_text(pa.array([1], pa.timestamp("ms", "Europe/Paris"))).to_pylist()
    ['1970-01-01T00:00:00.001Z']
    """
    if column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    text = column.cast(pa.large_string())
    bad = text.filter(pc.starts_with(text, _OUT_OF_RANGE).fill_null(False))
    if len(bad):
        raise ValueError(f"a timestamp cannot be spelled as a date: {bad[0].as_py()}")
    return pc.replace_substring(text, " ", "T", max_replacements=1)


def _base64(column: pa.Array) -> pa.LargeStringArray:
    cells = [
        None if cell is None else binascii.b2a_base64(cell, newline=False)
        for cell in column.to_pylist()
    ]
    return pa.array(cells, pa.large_binary()).cast(pa.large_string())


def plain_values(column: pa.Array) -> pa.Array:
    """Turns a column, however deep, into one of lists, structs and leaves that orjson can print.

    >>> plain_values(pa.array([[b"ab"]])).to_pylist()
    [['YWI=']]
    """
    column = decoded(column)
    kind = column.type
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        parts = [plain_values(part) for part in column.flatten()]
        return pa.StructArray.from_arrays(parts, names=names, mask=column.is_null())
    if pa.types.is_map(kind):
        pairs = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        return plain_values(column.cast(pa.list_(pairs)))
    if pa.types.is_nested(kind) and not pa.types.is_union(kind):
        return _plain_list(column)
    if pa.types.is_dictionary(kind):
        return column.dictionary_decode()
    if is_float(kind):
        return _plain_floats(column)
    if is_string(kind) or (not is_quoted(kind) and not pa.types.is_duration(kind)):
        return column
    return column.cast(pa.int64()) if pa.types.is_duration(kind) else _leaf_text(column)


def _plain_list(column: pa.Array) -> pa.Array:
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
    values = plain_values(column.flatten())
    return pa.LargeListArray.from_arrays(pa.array(offsets), values, mask=column.is_null())


def _plain_floats(column: pa.Array) -> pa.Array:
    """Widens to doubles that print as short as the narrow floats: 0.1, not 0.10000000149011612."""
    if pa.types.is_float64(column.type):
        return column
    return column.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
