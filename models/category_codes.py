"""A column of categories as the numbers by which a model knows them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .contract import is_text


def category_codes(column: pa.Array, categories: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Turns values into their places among the categories; null stays null.

    Args:
        column: values of the categories' type, or dictionary-encoded ones.
        categories: what the model learned, in its order: text or numbers.

    Returns:
        The codes as float32, null for what is missing or unknown; and a mask of the values that
        are there and unknown.

    >>> codes, unknown = category_codes(pa.array(["b", "?", None]), pa.array(["a", "b"]))
    >>> codes.to_pylist(), unknown.tolist()
    ([1.0, None, None], [False, True, False])
    """
    if pa.types.is_dictionary(column.type):
        values, indices = column.dictionary, column.indices
    else:
        values, indices = column, None
    values, categories = _comparable(values, categories)
    codes = pc.index_in(values, categories)
    missing = values.is_null(nan_is_null=True)
    if indices is not None:
        codes, missing = codes.take(indices), missing.take(indices).fill_null(True)
    unknown = pc.and_not(codes.is_null(), missing)
    return codes.cast(pa.float32()), unknown.to_numpy(zero_copy_only=False)


def known_codes(name: str, column: pa.Array, categories: pa.Array) -> pa.Array:
    """The codes of a column of which the model refuses what it never saw.

    Raises:
        ValueError: there is such a value.
    """
    codes, unknown = category_codes(column, categories)
    if unknown.any():
        value = column[int(np.flatnonzero(unknown)[0])].as_py()
        raise ValueError(f"column {name!r}: the model has never seen the category {value!r}")
    return codes


def _comparable(values: pa.Array, categories: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Both as text, or both as numbers: 1, 1.0 and true are one category, as for pandas."""
    common = pa.string() if is_text(categories.type) else pa.float64()
    return _cast(values, common), _cast(categories, common)


def _cast(values: pa.Array, type_: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(values.type) and pa.types.is_floating(type_):
        values = values.cast(pa.int8())
    return values if values.type == type_ else values.cast(type_, safe=False)
