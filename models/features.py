"""Turns a batch into what a model's library takes: a matrix, a data frame or an array of text."""

from typing import Any

import numpy as np
import pyarrow as pa

from .contract import Contract
from .dictionaries import clean_dictionary, decode_dictionary
from .numeric import as_numbers


def to_model_input(batch: pa.RecordBatch, contract: Contract) -> Any:
    """Turns the contract's columns of a batch into model input; columns are found by name.

    Returns:
        matrix: ndarray of shape (rows, features). Its dtype is the one that the columns have in
        common, as for a data frame: float32 stays float32. It is column-major, as a data frame's
        values are, because linear algebra may round differently on the other order.
        frame: `pandas.DataFrame`, columns in the model's order.
        text: object ndarray of strings, shape (rows,).
        batch: the batch itself.
    """
    if contract.layout == "batch":
        return batch
    columns = [batch.column(name) for name in contract.names]
    if contract.layout == "matrix":
        return to_matrix(columns)
    if contract.layout == "frame":
        # The pandas metadata of a file could turn a feature into an index: a new batch has none.
        arrays = [clean_dictionary(column) for column in columns]
        return pa.RecordBatch.from_arrays(arrays, list(contract.names)).to_pandas()
    return decode_dictionary(columns[0]).to_numpy(zero_copy_only=False)


def to_matrix(columns: list[pa.Array], dtype: np.dtype | None = None) -> np.ndarray:
    """Turns columns of numbers into one column-major array of shape (rows, columns).

    Args:
        columns: of numbers, or of text that spells numbers.
        dtype: the matrix's; if None, the one that the columns have in common.

    >>> to_matrix([pa.array([1, None]), pa.array([0.5, 1.5])]).tolist()
    [[1.0, 0.5], [nan, 1.5]]
    """
    arrays = [to_numbers(column) for column in columns]
    dtype = dtype or np.result_type(*{array.dtype for array in arrays})
    matrix = np.empty((len(arrays), len(arrays[0])), dtype)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, in any library
        for row, array in zip(matrix, arrays, strict=True):
            row[:] = array
    return matrix.T


def to_numbers(column: pa.Array) -> np.ndarray:
    """Turns a column of numbers into an array of the type that it has in a data frame.

    >>> to_numbers(pa.array([1, None]))
    array([ 1., nan])
    """
    return _without_null(as_numbers(column)[0]).to_numpy(zero_copy_only=False)


def _without_null(column: pa.Array) -> pa.Array:
    """Integers and booleans with nulls become float64, as they do in a data frame."""
    if column.null_count == 0 or pa.types.is_floating(column.type):
        return column
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.float64(), safe=False)  # unsafe: integers beyond 2**53 are rounded
