"""Turns a column that holds or spells numbers into one of numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .contract import is_text
from .dictionaries import decode_dictionary

# What Arrow's own cast from string to float64 accepts, surrounding blanks apart.
_NUMBER = r"(?i)^\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)\s*$"
# Integers of up to 15 digits and powers of ten up to 22 are exact in float64.
_EXACT_DIGITS = 15
_EXACT_SCALE = 22


def as_numbers(column: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Turns a column into numbers; the mask tells the values that do not spell one (then null).

    Integers, floats and booleans come back as they are, the same object; text and decimals as
    float64, each value the nearest, as Python's `float` would give it.

    >>> numbers, unsafe = as_numbers(pa.array(["1e3", "many", None]))
    >>> numbers.to_pylist(), unsafe.tolist()
    ([1000.0, None, None], [False, True, False])
    """
    column = decode_dictionary(column)
    if is_text(column.type):
        return _parse(column)
    if pa.types.is_decimal(column.type):
        return _from_decimals(column), None
    if pa.types.is_null(column.type):
        return column.cast(pa.float64()), None
    return column, None


def _parse(column: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    text = column.cast(pa.string())
    spelled = pc.match_substring_regex(text, _NUMBER)
    parsed = pc.cast(pc.utf8_trim_whitespace(pc.if_else(spelled, text, None)), pa.float64())
    unsafe = pc.fill_null(pc.invert(spelled), False)
    found = pc.any(unsafe).as_py()
    return parsed, unsafe.to_numpy(zero_copy_only=False) if found else None


def _from_decimals(column: pa.Array) -> pa.Array:
    """Arrow's own cast is off by a bit for one value in seven: it multiplies by 0.01, say."""
    type_ = column.type
    if type_.precision > _EXACT_DIGITS or not 0 <= type_.scale <= _EXACT_SCALE:
        return column.cast(pa.string()).cast(pa.float64())
    wide = column.cast(pa.decimal128(type_.precision, type_.scale))
    digits = wide.view(pa.decimal128(type_.precision, 0))
    integers = digits.cast(pa.int64()).cast(pa.float64())
    return pc.divide(integers, 10.0**type_.scale)  # of two exact numbers: rounded once
