"""Which values of a column lie outside a range, or are none of some categories; vectorised."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .contract import is_text


def out_of_range(
    column: pa.Array, minimum: float | None, maximum: float | None
) -> np.ndarray | None:
    """Masks the numbers below a minimum or above a maximum; None if there is none.

    A missing value is in every range.

    >>> out_of_range(pa.array([1, None, 9]), 0, 5).tolist()
    [False, False, True]
    """
    column = _comparable(column)
    found = pc.min_max(column)  # leaves null and NaN out
    lowest, highest = found["min"].as_py(), found["max"].as_py()
    is_low = minimum is not None and lowest is not None and lowest < minimum
    is_high = maximum is not None and highest is not None and highest > maximum
    if not is_low and not is_high:
        return None
    outside = np.zeros(len(column), bool)
    if is_low:
        outside |= _mask(pc.less(column, minimum))
    if is_high:
        outside |= _mask(pc.greater(column, maximum))
    return outside


def of_no_category(column: pa.Array, categories: Sequence[str | float]) -> np.ndarray | None:
    """Masks the values that are none of some categories; None if there is none.

    A missing value is of every category. Numbers are compared as numbers: 1 is 1.0.

    >>> of_no_category(pa.array(["basic", "gld", None]), ("basic", "gold")).tolist()
    [False, True, False]
    """
    if pa.types.is_null(column.type):
        return None
    if not pa.types.is_dictionary(column.type):
        unknown = _is_unknown(column, categories)
        return _mask(unknown) if pc.any(unknown).as_py() else None
    unknown = _is_unknown(column.dictionary, categories)
    if not pc.any(unknown).as_py():
        return None
    mask = _mask(unknown.take(column.indices))
    return mask if mask.any() else None


def _is_unknown(column: pa.Array, categories: Sequence[str | float]) -> pa.BooleanArray:
    if pa.types.is_string_view(column.type):  # Arrow cannot look up views
        column = column.cast(pa.string())
    if is_text(column.type) or pa.types.is_binary(column.type) or _is_large_binary(column):
        known = pa.array([str(category) for category in categories], pa.string())
        known = known.cast(column.type)
    else:
        column = _comparable(column).cast(pa.float64(), safe=False)
        known = pa.array([float(category) for category in categories], pa.float64())
    is_known = pc.is_in(column, value_set=known)
    return pc.and_not(pc.invert(is_known), column.is_null(nan_is_null=True))


def _is_large_binary(column: pa.Array) -> bool:
    return bool(pa.types.is_large_binary(column.type))


def _comparable(column: pa.Array) -> pa.Array:
    """Types that Arrow does not compare with numbers, as one that it does."""
    if pa.types.is_boolean(column.type):
        return column.cast(pa.int8())
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column


def _mask(mask: pa.BooleanArray) -> np.ndarray:
    return pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
