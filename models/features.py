"""Turns a batch into what a model's library takes: a matrix, a data frame or an array of text."""

from typing import Any

import numpy as np
import pyarrow as pa

from .contract import Contract


def to_model_input(batch: pa.RecordBatch, contract: Contract) -> Any:
    """Turns the contract's columns of a batch into model input; columns are found by name.

    Returns:
        matrix: ndarray of shape (rows, features). Its dtype is the one that the columns have in
        common, as for a data frame: float32 stays float32. It is column-major, as a data frame's
        values are, because linear algebra may round differently on the other order.
        frame: `pandas.DataFrame`, columns in the model's order.
        text: object ndarray of strings, shape (rows,).
    """
    if contract.layout == "matrix":
        return to_matrix([batch.column(name) for name in contract.names])
    if contract.layout == "frame":
        # The pandas metadata of a file could turn a feature into an index: without it, none can.
        return batch.select(list(contract.names)).replace_schema_metadata(None).to_pandas()
    return batch.column(contract.names[0]).to_numpy(zero_copy_only=False)


def to_matrix(columns: list[pa.Array]) -> np.ndarray:
    """Turns numeric columns into one column-major array of shape (rows, columns).

    >>> to_matrix([pa.array([1, None]), pa.array([0.5, 1.5])]).tolist()
    [[1.0, 0.5], [nan, 1.5]]
    """
    arrays = [column.to_numpy(zero_copy_only=False) for column in map(_without_null, columns)]
    matrix = np.empty((len(arrays), len(arrays[0])), np.result_type(*arrays))
    for row, array in zip(matrix, arrays, strict=True):
        row[:] = array
    return matrix.T


def _without_null(column: pa.Array) -> pa.Array:
    """Integers and booleans with nulls become float64, as they do in a data frame."""
    if column.null_count and not pa.types.is_floating(column.type):
        return (
            column.cast(pa.float64())
            if not pa.types.is_boolean(column.type)
            else column.cast(pa.int8()).cast(pa.float64())
        )
    return column
