"""What a user's code returned, as output columns: one row for each row that it got."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import ModelOutputError, RowCountError
from .outputs import to_arrow, to_columns
from .tensors import to_lists

_PREDICTION = "prediction"
_RESERVED = "model_version"


def returned_columns(result: Any, num_rows: int, who: str) -> pa.RecordBatch:
    """Turns what code returned for a batch into a batch of outputs.

    Args:
        result: a RecordBatch, a table, a data frame, a dict of columns or an array with fields,
            which name the outputs; an array, series or list of values, which is the prediction; or
            an array of shape (rows, columns), whose columns are numbered.
        num_rows: the rows that the code got.
        who: the code's name, for messages.

    Raises:
        RowCountError: not one row for each.
        ModelOutputError: nothing that could be columns.

    >>> returned_columns(np.array([0.5, 1.5]), 2, "m:f").to_pydict()
    {'prediction': [0.5, 1.5]}
    """
    pairs = _named(result, who)
    if pairs is None:
        columns = _unnamed(result, num_rows, who)
    else:
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ModelOutputError(f"{who} returned several columns named {repeated}")
        columns = dict(pairs)
    if not columns:
        raise ModelOutputError(f"{who} returned no column: there is nothing to write")
    if _RESERVED in columns:
        raise ModelOutputError(f"{who} returned a column {_RESERVED!r}, which is ours: rename it")
    for column in columns.values():
        _check_count(len(column), num_rows, who)
    return pa.record_batch(columns)


def stacked_columns(results: Sequence[Any], num_rows: int, who: str) -> pa.RecordBatch:
    """Turns one result for each row into a batch of outputs.

    A number, text or array of one is the prediction; an array of several is numbered columns; a
    dict is named columns, in which an array is a list.

    >>> stacked_columns([{"label": "a", "score": 0.5}], 1, "beam:m:f").to_pylist()
    [{'label': 'a', 'score': 0.5}]
    """
    _check_count(len(results), num_rows, who)
    if not all(isinstance(result, dict) for result in results):
        return returned_columns(_stack(results, who), num_rows, who)
    names = list(results[0])
    if any(result.keys() != results[0].keys() for result in results):
        raise ModelOutputError(f"{who} returned dicts of other keys than {names} for some rows")
    named = {
        str(name): _column(_stack([result[name] for result in results], who), who) for name in names
    }
    return returned_columns(named, num_rows, who)


def _named(result: Any, who: str) -> list[tuple[str, pa.Array]] | None:
    """The columns of a result that names them."""
    if isinstance(result, pa.RecordBatch | pa.Table):
        pairs = zip(result.schema.names, result.columns, strict=True)
        return [(name, _column(column, who)) for name, column in pairs]
    if isinstance(result, dict):
        return [(str(name), _column(value, who)) for name, value in result.items()]
    if hasattr(result, "iloc") and hasattr(result, "columns"):
        columns = enumerate(result.columns)
        return [(str(name), _column(result.iloc[:, index], who)) for index, name in columns]
    fields = getattr(getattr(result, "dtype", None), "names", None)
    return None if not fields else [(name, _column(result[name], who)) for name in fields]


def _unnamed(result: Any, num_rows: int, who: str) -> dict[str, pa.Array]:
    if isinstance(result, pa.Array | pa.ChunkedArray):
        return {_PREDICTION: _column(result, who)}
    is_array = hasattr(result, "__array__") or isinstance(result, list)
    array = np.asarray(result) if is_array else np.empty(())
    if array.ndim == 0:
        raise ModelOutputError(
            f"{who} must return a RecordBatch, a data frame or an array with one row for each of "
            f"the {num_rows} rows that it got; it returned a {type(result).__name__}"
        )
    _check_count(len(array), num_rows, who)
    if array.ndim > 2:
        return {_PREDICTION: to_lists(array)}
    flat = array[:, 0] if array.shape[1:] == (1,) else array
    return to_columns("predict", flat, num_rows, None)


def _column(value: Any, who: str) -> pa.Array:
    """One named column: of Arrow, numpy or pandas, or a list."""
    if isinstance(value, pa.ChunkedArray):
        return value.combine_chunks()
    if isinstance(value, pa.Array):
        return value
    try:
        if not isinstance(value, np.ndarray):
            return pa.array(value)
        if value.ndim == 1:
            return to_arrow(value)
        return to_arrow(value[:, 0]) if value.shape[1:] == (1,) else to_lists(value)
    except (pa.ArrowException, TypeError, ValueError, IndexError) as error:
        raise ModelOutputError(f"{who} returned what is no column: {error}") from None


def _stack(results: Sequence[Any], who: str) -> np.ndarray:
    """Results of one shape as one array; numbers keep their type."""
    arrays = [np.asarray(result) for result in results]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise ModelOutputError(
            f"{who} returned results of several shapes, {sorted(shapes)[:3]}; expected one. Make "
            "them alike with with_postprocess_fn."
        )
    return np.stack(arrays)


def _check_count(count: int, num_rows: int, who: str) -> None:
    if count != num_rows:
        raise RowCountError(
            f"{who} must return one result for each of the {num_rows} rows that it got, in order; "
            f"it returned {count}"
        )
