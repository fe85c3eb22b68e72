import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.tensors import (
    loose_type,
    may_hold,
    shape_of,
    tensor_type,
    to_lists,
    to_tensor,
    value_type_of,
    values_of,
    wrong_shape,
)

IMAGE = tensor_type(pa.float32(), (2, 3))


def numbers(column: pa.Array) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)


def lists(values: list, *lengths: int | None, of: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, tensor_type(of or pa.float64(), lengths))


def test_types_and_shapes():
    assert shape_of(pa.int64()) == ()
    assert shape_of(pa.large_list(pa.list_(pa.int64(), 2))) == (None, 2)
    assert shape_of(tensor_type(pa.int8(), (1, None, 3))) == (1, None, 3)
    assert value_type_of(IMAGE) == pa.float32()
    assert tensor_type(pa.int8(), ()) == pa.int8()


@pytest.mark.parametrize(
    ("type_", "tensor", "holds"),
    [
        (tensor_type(pa.float64(), (2, 3)), IMAGE, True),
        (tensor_type(pa.int8(), (6,)), IMAGE, True),
        (pa.list_(pa.list_(pa.float32())), IMAGE, True),
        (pa.list_(pa.list_(pa.float32(), 3)), IMAGE, True),
        (pa.large_list(pa.decimal128(5, 2)), IMAGE, True),
        (pa.list_(pa.null()), IMAGE, True),
        (tensor_type(pa.float64(), (3, 2)), IMAGE, False),
        (tensor_type(pa.float64(), (5,)), IMAGE, False),
        (tensor_type(pa.float64(), (1, 2, 3)), IMAGE, False),
        (pa.float64(), IMAGE, False),
        (pa.list_(pa.string()), IMAGE, False),
        (pa.list_(pa.date32()), IMAGE, False),
        (pa.list_(pa.string()), tensor_type(pa.string(), (2,)), True),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), tensor_type(pa.string(), (2,)), True),
        (tensor_type(pa.float64(), (7,)), tensor_type(pa.float32(), (None,)), True),
        (pa.list_(pa.float64()), tensor_type(pa.float32(), (None,)), False),
        (tensor_type(pa.float64(), (7,)), tensor_type(pa.float32(), (None, 7)), False),
    ],
    ids=str,
)
def test_which_columns_may_hold_a_tensor(type_: pa.DataType, tensor: pa.DataType, holds: bool):
    assert may_hold(type_, tensor) == holds


def test_rows_of_another_length_are_told():
    column = pa.array([[1, 2], [1], None, [], [3, 4]])
    assert wrong_shape(column, tensor_type(pa.int64(), (2,))).tolist() == [0, 1, 1, 1, 0]
    assert wrong_shape(column.slice(1, 4), tensor_type(pa.int64(), (2,))).tolist() == [1, 1, 1, 0]


def test_rows_of_another_inner_length_are_told():
    column = pa.array([[[1, 2, 3], [4, 5, 6]], None, [[1, 2, 3], [4]], [[1, 2, 3], None]])
    assert wrong_shape(column, IMAGE).tolist() == [0, 1, 1, 1]
    assert wrong_shape(column.slice(2), IMAGE).tolist() == [1, 1]


def test_a_null_of_fixed_size_lists_is_told():
    column = lists([[1, 2], None, [3, 4]], 2)
    assert wrong_shape(column, tensor_type(pa.float32(), (2,))).tolist() == [0, 1, 0]
    nested = lists([[[1, 2, 3]] * 2, [[1, 2, 3], None]], 2, 3)
    assert wrong_shape(nested, IMAGE).tolist() == [0, 1]


def test_values_belong_to_their_rows():
    values, rows = values_of(pa.array([[[1], [2, 3]], None, [[]], [[4]]]))
    assert values.to_pylist() == [1, 2, 3, 4]
    assert rows.tolist() == [0, 0, 0, 3]


def test_types_of_text_are_wide_and_of_any_length():
    assert loose_type(tensor_type(pa.float16(), (2, 3))) == pa.list_(pa.list_(pa.float64()))
    assert loose_type(tensor_type(pa.int8(), (None,))) == pa.list_(pa.int64())
    assert loose_type(tensor_type(pa.string(), (1,))) == pa.list_(pa.string())
    assert loose_type(tensor_type(pa.bool_(), (1,))) == pa.list_(pa.bool_())


@given(st.data())
def test_tensors_and_lists_round_trip(data: st.DataObject):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    rows = data.draw(st.integers(1, 6))
    array = np.arange(rows * int(np.prod(shape)), dtype=np.float32).reshape(rows, *shape)
    tensor = tensor_type(pa.float32(), shape)
    column = to_lists(array)
    assert column.type == tensor
    start = data.draw(st.integers(0, rows - 1))
    flat = to_lists(array.reshape(rows, -1))
    loose = pa.array(column.to_pylist(), tensor_type(pa.float64(), (None,) * len(shape)))
    for source in (column, flat, loose):
        came = to_tensor(source.slice(start), tensor, numbers)
        assert came.tolist() == array[start:].tolist()
        assert came.shape == array[start:].shape


def test_a_length_that_the_column_decides():
    tensor = tensor_type(pa.float32(), (None, 2))
    column = lists([[[1, 2], [3, 4], [5, 6]]], 3, 2)
    assert to_tensor(column, tensor, numbers).shape == (1, 3, 2)


@pytest.mark.parametrize("values", [[[1, 2], [1]], [[1, 2], None], [["a", "b"]]], ids=str)
def test_what_is_no_tensor_is_refused(values: list):
    with pytest.raises(ValueError, match=r"^expected fixed_size_list.* in each row, got list"):
        to_tensor(pa.array(values), tensor_type(pa.float32(), (2,)), numbers)


def test_lists_of_text():
    column = to_lists(np.array([["a", "b"], ["c", "d"]], object))
    assert column.to_pylist() == [["a", "b"], ["c", "d"]]
    assert column.type == tensor_type(pa.string(), (2,))
