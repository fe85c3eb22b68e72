"""A column of numbers as the one type that a model takes, where rounding would be an error."""

import numpy as np
import pyarrow as pa

_LARGEST_EXACT = 2.0**53  # from here on a float stands for several whole numbers


def as_exact(column: pa.Array, type_: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Turns numbers into integers or booleans; the mask tells the values that are none (then null).

    Nothing is rounded: a fraction, a number out of range and a float so large that it may have
    been rounded before are no integer. Booleans are 0 and 1. A null stays one, a NaN becomes one.

    >>> integers, misfits = as_exact(pa.array([2.0, 2.5, None]), pa.int64())
    >>> integers.to_pylist(), misfits.tolist()
    ([2, None, None], [False, True, False])
    """
    if column.type == type_:
        return column, None
    missing = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    values = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    values = np.where(missing, np.zeros(1, values.type.to_pandas_dtype()), values.to_numpy(False))
    dtype = np.dtype(type_.to_pandas_dtype())
    fits = _fits(values, dtype)
    exact = np.where(fits, values, np.zeros(1, values.dtype)).astype(dtype)
    array = pa.array(exact, type_, mask=missing | ~fits)
    return array, None if fits.all() else ~fits


def _fits(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Which values are one of an integer or boolean dtype."""
    if dtype.kind == "b":
        return (values == 0) | (values == 1)
    if values.dtype.kind == "b":
        return np.ones(len(values), bool)
    info = np.iinfo(dtype)
    if values.dtype.kind != "f":
        return (values >= info.min) & (values <= info.max)
    values = values.astype(np.float64, copy=False)
    whole = (values == np.trunc(values)) & (np.abs(values) < _LARGEST_EXACT)
    return whole & (values >= info.min) & (values <= info.max)


def to_dtype(column: pa.Array, dtype: np.dtype) -> np.ndarray:
    """Turns a column of numbers into an array of one dtype, as a model's library takes it.

    A null is NaN among floats. Floats are rounded to the dtype's precision, integers never.

    Raises:
        ValueError: a value is none of an integer dtype, or a null has no such value.

    >>> to_dtype(pa.array([1, None]), np.dtype(np.float32)).tolist()
    [1.0, nan]
    """
    if dtype.kind == "f":
        if column.null_count and not pa.types.is_floating(column.type):
            column = column.cast(pa.float64(), safe=False)
        with np.errstate(over="ignore"):  # what is too large is infinite, as in any library
            return column.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    exact, misfits = as_exact(column, pa.from_numpy_dtype(dtype))
    if misfits is not None:
        raise ValueError(f"{column[int(np.argmax(misfits))].as_py()!r} is no {dtype}")
    if exact.null_count:
        raise ValueError(f"a missing value, and there is none among {dtype}")
    return exact.to_numpy(zero_copy_only=False)
