"""Turns what a model's methods return into named output columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import ModelOutputError

OUTPUTS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")
_PREFIXES = {
    "predict": "prediction",
    "predict_proba": "probability",
    "decision_function": "decision",
    "transform": "transformed",
    "score_samples": "score",
}


def to_columns(
    output: str, result: Any, num_rows: int, labels: Sequence[Any] | None
) -> dict[str, pa.Array]:
    """Turns one method's result into columns.

    Args:
        output: the method's name, one of `OUTPUTS`.
        result: an array of shape (rows,) or (rows, k), sparse or dense, a data frame, or a list
            of arrays with one per target, as multi-output classifiers return.
        num_rows: the rows that were scored.
        labels: names for the k columns; for a list, one sequence of labels per target.

    Raises:
        ModelOutputError: the result does not hold one entry per row.

    >>> list(to_columns("predict_proba", np.array([[0.1, 0.9]]), 1, ["no", "yes"]))
    ['probability_no', 'probability_yes']
    """
    prefix = _PREFIXES[output]
    if isinstance(result, list) and result and np.ndim(result[0]) >= 1:
        columns: dict[str, pa.Array] = {}
        for target, part in enumerate(result):
            names = labels[target] if labels is not None else None
            columns |= _matrix_columns(f"{prefix}_{target}", _dense(part), num_rows, names)
        return columns
    array = _dense(result)
    if array.ndim == 1:
        _check_rows(array, num_rows, output)
        return {prefix: to_arrow(array)}
    return _matrix_columns(prefix, array, num_rows, labels)


def _matrix_columns(
    prefix: str, array: np.ndarray, num_rows: int, labels: Sequence[Any] | None
) -> dict[str, pa.Array]:
    _check_rows(array, num_rows, prefix)
    if array.ndim != 2:
        raise ModelOutputError(
            f"the model's {prefix} has shape {array.shape}; expected (rows,) or (rows, columns)"
        )
    names = list(labels) if labels is not None else list(range(array.shape[1]))
    if len(names) != array.shape[1]:
        raise ModelOutputError(
            f"the model's {prefix} has {array.shape[1]} columns for {len(names)} names {names}"
        )
    return {f"{prefix}_{name}": to_arrow(array[:, i]) for i, name in enumerate(names)}


def _dense(result: Any) -> np.ndarray:
    if hasattr(result, "toarray"):
        result = result.toarray()
    return np.asarray(result)


def _check_rows(array: np.ndarray, num_rows: int, what: str) -> None:
    if array.ndim == 0 or array.shape[0] != num_rows:
        came = array.shape[0] if array.ndim else "no array"
        raise ModelOutputError(
            f"the model returned {came} results of {what} for {num_rows} rows; it must return one "
            "for each row, in order"
        )


def to_arrow(array: np.ndarray) -> pa.Array:
    """Turns a one-dimensional array into an Arrow column; classes of mixed types become text."""
    if array.dtype.kind in "US":
        return pa.array(array.astype(object), pa.string())
    try:
        return pa.array(np.ascontiguousarray(array))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in array], pa.string())
