import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.exact import as_exact, to_dtype

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()]


def exact(values: list, source: pa.DataType, target: pa.DataType) -> list:
    """The values as the target has them; "no" for what is none."""
    column, misfits = as_exact(pa.array(values, source), target)
    assert column.type == target
    misfits = np.zeros(len(values), bool) if misfits is None else misfits
    pairs = zip(column.to_pylist(), misfits.tolist(), strict=True)
    return ["no" if misfit else value for value, misfit in pairs]


def test_a_column_of_the_type_itself_is_not_copied():
    column = pa.array([1, None])
    assert as_exact(column, pa.int64()) == (column, None)
    assert as_exact(column, pa.int64())[0] is column


def test_floats_that_are_whole():
    values = [0.0, -3.0, 2.5, None, float("nan"), float("inf"), -float("inf")]
    for source in (pa.float64(), pa.float32(), pa.float16()):
        assert exact(values, source, pa.int32()) == [0, -3, "no", None, None, "no", "no"]


def test_a_float_that_may_have_been_rounded_before_is_no_integer():
    values = [2.0**53 - 1, 2.0**53, -(2.0**53), 2.0**63]
    assert exact(values, pa.float64(), pa.int64()) == [2**53 - 1, "no", "no", "no"]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)), st.sampled_from(INTEGERS))
def test_integers_are_themselves_or_nothing(values: list[int | None], target: pa.DataType):
    info = np.iinfo(target.to_pandas_dtype())
    expected = [
        value if value is None or info.min <= value <= info.max else "no" for value in values
    ]
    assert exact(values, pa.int64(), target) == expected


def test_uint64_beyond_int64():
    assert exact([2**64 - 1, 5], pa.uint64(), pa.int64()) == ["no", 5]


def test_booleans():
    assert exact([0.0, 1.0, 0.5, None], pa.float64(), pa.bool_()) == [False, True, "no", None]
    assert exact([0, 1, 2], pa.int64(), pa.bool_()) == [False, True, "no"]
    assert exact([True, None, False], pa.bool_(), pa.int64()) == [1, None, 0]


def test_a_slice_is_cast_for_itself():
    column = pa.array([0.5, 1.0, None, 2.0, 0.5]).slice(1, 3)
    integers, misfits = as_exact(column, pa.int64())
    assert integers.to_pylist() == [1, None, 2]
    assert misfits is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_and_nulls_are_nan(dtype: type):
    for column in (
        pa.array([1, None, 3]),
        pa.array([1.0, None, 3.0]),
        pa.array([True, None, True]),
    ):
        array = to_dtype(column, np.dtype(dtype))
        assert array.dtype == dtype
        assert np.isnan(array).tolist() == [False, True, False]
    assert to_dtype(pa.array([0.1]), np.dtype(dtype)).tolist() == [dtype(0.1)]


def test_what_is_too_large_for_a_float_is_infinite():
    assert to_dtype(pa.array([1e300]), np.dtype(np.float32)).tolist() == [float("inf")]


def test_integers_are_never_rounded():
    with pytest.raises(ValueError, match=r"^2\.5 is no int64$"):
        to_dtype(pa.array([1.0, 2.5]), np.dtype(np.int64))
    with pytest.raises(ValueError, match=r"^a missing value, and there is none among int32$"):
        to_dtype(pa.array([1, None]), np.dtype(np.int32))
    assert to_dtype(pa.array([1.0, 2.0]), np.dtype(np.int32)).tolist() == [1, 2]
    assert to_dtype(pa.array([1, 0]), np.dtype(bool)).tolist() == [True, False]
