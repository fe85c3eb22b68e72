from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.limits import of_no_category, out_of_range

NUMBERS = [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_()]


def rows(mask: np.ndarray | None) -> list[int] | None:
    return None if mask is None else np.flatnonzero(mask).tolist()


@pytest.mark.parametrize("type_", NUMBERS, ids=str)
def test_a_range_of_any_type_of_number(type_: pa.DataType):
    column = pa.array([0, 1, None, 0]).cast(type_)
    assert out_of_range(column, 0, 1) is None
    assert rows(out_of_range(column, 0.5, None)) == [0, 3]
    assert rows(out_of_range(column, None, 0.5)) == [1]
    assert rows(out_of_range(column.slice(1), 0.5, 2)) == [2]


def test_what_is_missing_is_in_every_range():
    column = pa.array([np.nan, None, 3.0])
    assert out_of_range(column, 0, 5) is None
    assert rows(out_of_range(column, 4, 5)) == [2]
    assert out_of_range(pa.nulls(2, pa.float64()), 0, 1) is None
    assert out_of_range(pa.array([np.nan]), 0, 1) is None


def test_an_infinity_is_out_of_every_range():
    assert rows(out_of_range(pa.array([np.inf, -np.inf, 1.0]), 0, 5)) == [0, 1]


@given(
    st.lists(st.none() | st.integers(-5, 5), min_size=1),
    st.none() | st.integers(-4, 4),
    st.none() | st.integers(-4, 4),
)
def test_a_range_is_what_python_says_it_is(values: Any, minimum: Any, maximum: Any):
    mask = out_of_range(pa.array(values, pa.int64()), minimum, maximum)
    expected = [
        value is not None
        and ((minimum is not None and value < minimum) or (maximum is not None and value > maximum))
        for value in values
    ]
    assert (mask.tolist() if mask is not None else [False] * len(values)) == expected


TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()]


@pytest.mark.parametrize("type_", TEXTS, ids=str)
def test_categories_of_any_type_of_text(type_: pa.DataType):
    column = pa.array(["a", "b", None, "c"]).cast(type_)
    assert of_no_category(column, ("a", "b", "c", "never")) is None
    assert rows(of_no_category(column, ("a", "c"))) == [1]
    assert rows(of_no_category(column.slice(1), ("a", "c"))) == [0]


@pytest.mark.parametrize("type_", NUMBERS, ids=str)
def test_categories_of_any_type_of_number(type_: pa.DataType):
    column = pa.array([0, 1, None, 0]).cast(type_)
    assert of_no_category(column, (0, 1.0)) is None
    assert rows(of_no_category(column, (True,))) == [0, 3]


def test_categories_of_a_dictionary():
    column = pa.array(["a", "b", None, "c", "a"]).dictionary_encode()
    assert of_no_category(column, ("a", "b", "c")) is None
    assert rows(of_no_category(column, ("a", "b"))) == [3]
    assert rows(of_no_category(column.slice(2), ("b",))) == [1, 2]
    unused = column.slice(0, 2)  # the dictionary still holds what no row points to
    assert of_no_category(unused, ("a", "b")) is None
    views = pa.DictionaryArray.from_arrays(
        pa.array([0, 1]), pa.array(["a", "b"]).cast(pa.string_view())
    )
    assert rows(of_no_category(views, ("a",))) == [1]


def test_what_is_missing_is_of_every_category():
    assert of_no_category(pa.array([np.nan, None, 1.0]), (1,)) is None
    assert of_no_category(pa.nulls(2), ("a",)) is None
