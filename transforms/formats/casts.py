"""Casts a column and names the values that do not fit, instead of failing on the first one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_FAN_OUT = 8  # a failing range is tried again in 8 pieces: few tries for one bad value in a
# thousand, and only 1.14 tries a value where all are bad (2 with halves)
# Arrow reads no other text as a number; some that this allows it does not read, either.
_LIKE_A_NUMBER = r"^[+-]?([0-9.]+([eE][+-]?[0-9]+)?|0[xX][0-9a-fA-F]+|(?i:nan|inf|infinity))$"


@dataclass(frozen=True, slots=True)
class Cast:
    """A column after its cast: `array` has null where `bad` is true; `bad` is None if all fit."""

    array: pa.Array
    bad: npt.NDArray[np.bool_] | None = None


def cast_checked(array: pa.Array, target: pa.DataType) -> Cast:
    """Turns a column into another type; values that do not fit become null and are marked.

    Integers out of range, fractions in an integer column, text that does not parse, and finite
    doubles that overflow a float do not fit. Binary columns are read from base64 text.

    >>> cast = cast_checked(pa.array(["1", "x", None]), pa.int64())
    >>> cast.array.to_pylist(), cast.bad.tolist()
    ([1, None, None], [False, True, False])
    """
    if array.type == target:
        return Cast(array)
    convert = _converter(array.type, target)
    try:
        converted, bad = convert(array), None
    except (pa.ArrowInvalid, binascii.Error):
        bad = _failures(array, target, convert)
        converted = convert(_without(array, bad))
    if pa.types.is_floating(target) and pa.types.is_floating(array.type):
        return _refuse_overflow(array, converted)
    return Cast(converted, bad)


def _converter(source: pa.DataType, target: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    """Returns the function that casts a whole column or raises."""
    if pa.types.is_string(source) and (
        pa.types.is_binary(target) or pa.types.is_large_binary(target)
    ):
        return lambda array: pa.array(
            [
                None if text is None else base64.b64decode(text, validate=True)
                for text in array.to_pylist()
            ],
            target,
        )
    if pa.types.is_string(source) and pa.types.is_time(target):
        return lambda array: _midnight_plus(array).cast(pa.timestamp("ns")).cast(target)
    if pa.types.is_dictionary(target):
        return lambda array: array.cast(target.value_type).dictionary_encode().cast(target)
    return lambda array: array.cast(target)


def _midnight_plus(times: pa.Array) -> pa.Array:
    """Turns times of day into times of one day: Arrow casts text to timestamps, not to times."""
    return pc.binary_join_element_wise("1970-01-01", times, "T")


def _refuse_overflow(source: pa.Array, converted: pa.Array) -> Cast:
    """Marks finite doubles that became infinite."""
    overflow = pc.and_(pc.is_inf(converted), pc.invert(pc.is_inf(source))).fill_null(False)
    bad = overflow.to_numpy(zero_copy_only=False)
    return Cast(_without(converted, bad), bad) if bad.any() else Cast(converted)


def _failures(
    array: pa.Array, target: pa.DataType, convert: Callable[[pa.Array], pa.Array]
) -> npt.NDArray[np.bool_]:
    """Marks the values that fail alone: tries pieces of a failing range, down to single values."""
    bad = _unlike_numbers(array, target)
    array = _without(array, bad) if bad.any() else array
    ranges = [(0, len(array))]
    while ranges:
        start, stop = ranges.pop()
        try:
            convert(array[start:stop])
        except (pa.ArrowInvalid, binascii.Error):
            if stop - start == 1:
                bad[start] = True
                continue
            step = -(-(stop - start) // _FAN_OUT)
            ranges += [(at, min(at + step, stop)) for at in range(start, stop, step)]
    return bad


def _unlike_numbers(array: pa.Array, target: pa.DataType) -> npt.NDArray[np.bool_]:
    """Marks text that cannot be a number: at once, where single tries would take long."""
    if not pa.types.is_string(array.type) or not (
        pa.types.is_integer(target) or pa.types.is_floating(target)
    ):
        return np.zeros(len(array), bool)
    unlike = pc.invert(pc.match_substring_regex(array, _LIKE_A_NUMBER))
    unlike_mask: npt.NDArray[np.bool_] = unlike.fill_null(False).to_numpy(zero_copy_only=False)
    return unlike_mask


def _without(array: pa.Array, bad: npt.NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(pa.array(bad), pa.scalar(None, array.type), array)
