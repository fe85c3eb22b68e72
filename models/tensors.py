"""Columns of lists as tensors: one array of one shape in each row."""

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Shape = tuple[int | None, ...]

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_NUMBERS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_decimal,
    pa.types.is_null,
)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def tensor_type(value_type: pa.DataType, shape: Shape) -> pa.DataType:
    """The Arrow type of rows of one shape; None for a length that the column decides.

    >>> tensor_type(pa.float32(), (2, 3))
    FixedSizeListType(fixed_size_list<item: fixed_size_list<item: float>[3]>[2])
    """
    type_ = value_type
    for length in reversed(shape):
        type_ = pa.list_(type_, -1 if length is None else length)
    return type_


def shape_of(type_: pa.DataType) -> Shape:
    """The lengths of nested lists, outermost first; None for one that may vary.

    >>> shape_of(tensor_type(pa.int64(), (2, None)))
    (2, None)
    """
    lengths: list[int | None] = []
    while _is_list(type_):
        lengths.append(type_.list_size if pa.types.is_fixed_size_list(type_) else None)
        type_ = type_.value_type
    return tuple(lengths)


def value_type_of(type_: pa.DataType) -> pa.DataType:
    """The type of what nested lists hold at last."""
    while _is_list(type_):
        type_ = type_.value_type
    return type_


def loose_type(tensor: pa.DataType) -> pa.DataType:
    """The type that rows of a tensor have in text such as JSON: lists of any length, wide values.

    >>> loose_type(tensor_type(pa.float32(), (2,)))
    ListType(list<item: double>)
    """
    type_ = value_type_of(tensor)
    if pa.types.is_floating(type_):
        type_ = pa.float64()
    elif pa.types.is_integer(type_):
        type_ = pa.int64()
    for _ in shape_of(tensor):
        type_ = pa.list_(type_)
    return type_


def may_hold(type_: pa.DataType, tensor: pa.DataType) -> bool:
    """Whether a column of a type can hold rows of a tensor: nested as it is, or flat.

    A length that the tensor leaves open must be fixed by the column. Lists of varying length are
    taken where the tensor says the length: rows of another one are refused one by one.
    """
    shape, wanted = shape_of(type_), shape_of(tensor)
    if _held(tensor) != _held(type_):
        return False
    if len(shape) == 1 and None not in wanted:
        wanted = (math.prod(_known(wanted)),)
    if len(shape) != len(wanted) or not shape:
        return False
    pairs = zip(shape, wanted, strict=True)
    return all(has is not None if wants is None else has in (wants, None) for has, wants in pairs)


def wrong_shape(column: pa.Array, tensor: pa.DataType) -> np.ndarray:
    """Which rows of a column do not have the shape of a tensor; a null has none."""
    if _is_certain(column, tensor):
        return np.zeros(len(column), bool)
    wanted = shape_of(tensor)
    if len(shape_of(column.type)) == 1 and None not in wanted:
        wanted = (math.prod(_known(wanted)),)
    return _wrong_lengths(column, wanted)


def _is_certain(column: pa.Array, tensor: pa.DataType) -> bool:
    """Whether the column's type alone says that every row has the shape, as no list is null."""
    if None in shape_of(column.type) or not may_hold(column.type, tensor):
        return False
    while _is_list(column.type):
        if column.null_count:
            return False
        column = column.flatten()
    return True


def _wrong_lengths(column: pa.Array, wanted: Shape) -> np.ndarray:
    lengths = _lengths(column)
    wrong = lengths != wanted[0] if wanted[0] is not None else lengths < 0
    if not _is_list(column.type.value_type):
        return wrong
    rows = np.repeat(np.arange(len(column)), np.maximum(lengths, 0))
    inner = _wrong_lengths(column.flatten(), wanted[1:])
    wrong[rows[inner]] = True
    return wrong


def _lengths(column: pa.Array) -> np.ndarray:
    """How many values each row has; -1 for a null."""
    return pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)


def values_of(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """What the lists of a column hold, row after row; and the row that each value belongs to.

    >>> values, rows = values_of(pa.array([[1, 2], None, [3]]))
    >>> values.to_pylist(), rows.tolist()
    ([1, 2, 3], [0, 0, 2])
    """
    rows = np.arange(len(column))
    while _is_list(column.type):
        rows = np.repeat(rows, np.maximum(_lengths(column), 0))
        column = column.flatten()  # respects a slice's offset, and leaves nulls out
    return column, rows


def to_tensor(
    column: pa.Array, tensor: pa.DataType, convert: Callable[[pa.Array], np.ndarray]
) -> np.ndarray:
    """Turns a column of lists into one array of shape (rows, ...).

    Args:
        column: nested as the tensor is, or flat.
        tensor: the type that the model takes.
        convert: turns the values into an array, or raises ValueError.

    Raises:
        ValueError: the column holds something else, or a row is of another shape, or null.

    >>> column = pa.array([[1, 2], [3, 4]])
    >>> to_tensor(column, tensor_type(pa.int64(), (2,)), pa.Array.to_numpy).tolist()
    [[1, 2], [3, 4]]
    """
    if not may_hold(column.type, tensor) or wrong_shape(column, tensor).any():
        raise ValueError(f"expected {tensor} in each row, got {column.type}, or lists that differ")
    values, _ = values_of(column)
    shape = shape_of(tensor)
    return convert(values).reshape(
        len(column), *_known(shape if None not in shape else shape_of(column.type))
    )


def to_lists(array: np.ndarray) -> pa.Array:
    """Turns an array of shape (rows, ...) into a column of fixed-size lists.

    >>> to_lists(np.ones((2, 1, 3))).type
    FixedSizeListType(fixed_size_list<item: fixed_size_list<item: double>[3]>[1])
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    column = pa.array(flat.astype(object), pa.string()) if flat.dtype == object else pa.array(flat)
    for length in reversed(array.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, length)
    return column


def _is_list(type_: pa.DataType) -> bool:
    return any(is_list(type_) for is_list in _LISTS)


def _known(shape: Shape) -> tuple[int, ...]:
    return tuple(length for length in shape if length is not None)


def _held(type_: pa.DataType) -> str:
    """Whether lists hold text, numbers or something else."""
    held = value_type_of(type_)
    held = held.value_type if pa.types.is_dictionary(held) else held
    if any(is_one(held) for is_one in _TEXTS):
        return "text"
    return "numbers" if any(is_one(held) for is_one in _NUMBERS) else str(held)
