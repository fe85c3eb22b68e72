import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.transforms.formats.casts import cast_checked

TEXTS = st.none() | st.sampled_from(
    [
        "1",
        "-5",
        "300",
        "1.5",
        "x",
        "",
        " 1",
        "1e3",
        "0x1F",
        "inf",
        "nan",
        "1e400",
        "9" * 20,
        "+1",
        ".",
    ]
)
NUMBERS = st.none() | st.integers(-(2**40), 2**40)


def cast_alone(value, source, target):
    """The value after its cast, or the word bad."""
    try:
        return pa.array([value], source).cast(target)[0].as_py()
    except pa.ArrowInvalid:
        return "bad"


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.tuples(
            st.just(pa.string()),
            st.lists(TEXTS, max_size=30),
            st.sampled_from([pa.int64(), pa.int8(), pa.float64(), pa.float32(), pa.date32()]),
        ),
        st.tuples(
            st.just(pa.int64()),
            st.lists(NUMBERS, max_size=30),
            st.sampled_from([pa.int8(), pa.uint32(), pa.float32()]),
        ),
    )
)
def test_each_value_is_cast_as_alone(case):
    source, values, target = case
    cast = cast_checked(pa.array(values, source), target)
    alone = [cast_alone(value, source, target) for value in values]
    assert ([False] * len(values) if cast.bad is None else cast.bad.tolist()) == [
        v == "bad" for v in alone
    ]
    assert repr(cast.array.to_pylist()) == repr(
        [None if value == "bad" else value for value in alone]
    )


def test_a_finite_double_does_not_become_infinite():
    cast = cast_checked(pa.array([1e39, float("inf"), 0.5, None, float("nan")]), pa.float32())
    assert cast.bad.tolist() == [True, False, False, False, False]
    assert str(cast.array.to_pylist()) == "[None, inf, 0.5, None, nan]"


@pytest.mark.parametrize("target", [pa.int64(), pa.date32()])
def test_bad_values_do_not_take_quadratic_time(target):
    def seconds(count):
        array = pa.array(["x", "1970-01-01" if target == pa.date32() else "1"] * count)
        start = time.process_time()
        assert cast_checked(array, target).bad.sum() == count
        return time.process_time() - start

    seconds(100)
    assert seconds(16_000) < 40 * max(seconds(1_000), 0.001)
