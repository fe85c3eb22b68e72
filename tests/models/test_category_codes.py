from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.category_codes import category_codes

KNOWN = ["a", "b", "c"]
VALUES = st.lists(st.sampled_from([*KNOWN, "?", None]), min_size=1)


def in_pandas(values: list[Any], known: list[Any]) -> list[float | None]:
    codes = pd.Categorical(values, categories=known).codes
    return [None if code < 0 else float(code) for code in codes]


@given(VALUES)
def test_codes_are_those_of_pandas(values: list[str | None]):
    codes, unknown = category_codes(pa.array(values, pa.string()), pa.array(KNOWN))
    assert codes.to_pylist() == in_pandas(values, KNOWN)
    assert codes.type == pa.float32()
    assert unknown.tolist() == [value == "?" for value in values]


@given(VALUES, st.permutations([*KNOWN, "?"]), st.integers(0, 3))
def test_a_dictionary_in_any_order(values: list[str | None], order: list[str], start: int):
    indices = pa.array([None if each is None else order.index(each) for each in values], pa.int8())
    column = pa.DictionaryArray.from_arrays(indices, pa.array(order)).slice(start)
    codes, unknown = category_codes(column, pa.array(KNOWN))
    assert codes.to_pylist() == in_pandas(values[start:], KNOWN)
    assert unknown.tolist() == [value == "?" for value in values[start:]]


def test_a_dictionary_that_holds_a_null():
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    codes, unknown = category_codes(column, pa.array(KNOWN))
    assert codes.to_pylist() == [0, None]
    assert unknown.tolist() == [False, False]


@pytest.mark.parametrize("type_", [pa.large_string(), pa.string_view(), pa.binary()], ids=str)
def test_any_text(type_: pa.DataType):
    codes, _ = category_codes(pa.array(["b", "a"]).cast(type_), pa.array(KNOWN))
    assert codes.to_pylist() == [1, 0]


@pytest.mark.parametrize("type_", [pa.int8(), pa.int64(), pa.float32(), pa.float64()], ids=str)
def test_numbers_are_the_same_in_any_type(type_: pa.DataType):
    column = pa.array([30, 10, 99, None]).cast(type_)
    for known in (pa.array([10, 30]), pa.array([10.0, 30.0])):
        codes, unknown = category_codes(column, known)
        assert codes.to_pylist() == [1, 0, None, None]
        assert unknown.tolist() == [False, False, True, False]


def test_truth_is_a_category():
    codes, _ = category_codes(pa.array([True, False]), pa.array([False, True]))
    assert codes.to_pylist() == [1, 0]


def test_not_a_number_is_missing_not_unknown():
    codes, unknown = category_codes(pa.array([np.nan, 1.0]), pa.array([1.0]))
    assert codes.to_pylist() == [None, 0]
    assert unknown.tolist() == [False, False]
