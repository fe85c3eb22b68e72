"""Turns what a model's methods return into named output columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import ContractError, ModelOutputError, RowCountError

OUTPUTS = (
    "predict",
    "predict_proba",
    "decision_function",
    "transform",
    "score_samples",
    "raw_score",
)
_PREFIXES = {
    "predict": "prediction",
    "predict_proba": "probability",
    "decision_function": "decision",
    "transform": "transformed",
    "score_samples": "score",
    "raw_score": "raw_score",
}


def check_outputs(
    outputs: tuple[str, ...], offered: Sequence[str], model_name: str, kind: str
) -> None:
    """Raises ContractError unless a model of this kind offers all outputs that are asked of it."""
    missing = [output for output in outputs if output not in offered]
    if missing:
        raise ContractError(
            f"model {model_name!r} ({kind}) has no {', '.join(missing)}; "
            f"it offers --outputs {','.join(offered)}"
        )


def to_columns(
    output: str, result: Any, num_rows: int, labels: Sequence[Any] | None
) -> dict[str, pa.Array]:
    """Turns one method's result into columns.

    Args:
        output: the method's name, one of `OUTPUTS`.
        result: an array of shape (rows,) or (rows, k), sparse or dense, a data frame, or a list
            of arrays of shape (rows, k) with one per target, as multi-output classifiers return.
        num_rows: the rows that were scored.
        labels: names for the k columns; or, of several targets, a sequence of names for each,
            which is of use only if the result is a list. Without names columns are numbered.

    Raises:
        ModelOutputError: the result does not hold one entry per row, or not the named columns.

    >>> list(to_columns("predict_proba", np.array([[0.1, 0.9]]), 1, ["no", "yes"]))
    ['probability_no', 'probability_yes']
    """
    prefix = _PREFIXES[output]
    of_targets = labels is not None and len(labels) > 0 and np.ndim(labels[0]) == 1
    if _is_one_per_target(result):
        columns: dict[str, pa.Array] = {}
        for target, part in enumerate(result):
            names = labels[target] if labels is not None and of_targets else None
            table = _table(part)
            columns |= _matrix_columns(f"{prefix}_{target}", table, output, num_rows, names)
        return columns
    table = _table(result)
    if table.ndim == 1:
        _check_rows(table, num_rows, output)
        return {prefix: to_arrow(table)}
    return _matrix_columns(prefix, table, output, num_rows, None if of_targets else labels)


def _is_one_per_target(result: Any) -> bool:
    is_list = isinstance(result, list) and bool(result)
    return is_list and all(getattr(part, "ndim", 0) == 2 for part in result)


def _table(result: Any) -> Any:
    """A dense array, or a data frame as it is, because each of its columns has its own type."""
    if _is_frame(result):
        return result
    return np.asarray(result.toarray() if hasattr(result, "toarray") else result)


def _is_frame(result: Any) -> bool:
    return hasattr(result, "columns") and hasattr(result, "iloc")


def _matrix_columns(
    prefix: str, table: Any, output: str, num_rows: int, labels: Sequence[Any] | None
) -> dict[str, pa.Array]:
    _check_rows(table, num_rows, output)
    if table.ndim != 2:
        raise ModelOutputError(
            f"the model's {output} has shape {table.shape}; expected (rows,) or (rows, columns)"
        )
    columns = _columns(table)
    if not columns:
        raise ModelOutputError(f"the model's {output} has no column: there is nothing to write")
    names = list(labels) if labels is not None else list(range(len(columns)))
    if len(names) != len(columns):
        raise ModelOutputError(
            f"the model's {output} has {len(columns)} columns for {len(names)} names {names}"
        )
    pairs = zip(names, columns, strict=True)
    named = {f"{prefix}_{name}": to_arrow(column) for name, column in pairs}
    if len(named) != len(columns):
        raise ModelOutputError(
            f"the model's {output} would write two columns of one name: its names are {names}"
        )
    return named


def _columns(table: Any) -> list[np.ndarray]:
    if _is_frame(table):
        return [table.iloc[:, i].to_numpy() for i in range(table.shape[1])]
    return list(table.T)


def _check_rows(table: Any, num_rows: int, output: str) -> None:
    if table.ndim == 0 or table.shape[0] != num_rows:
        came = f"{table.shape[0]} results" if table.ndim else "no array"
        raise (RowCountError if table.ndim else ModelOutputError)(
            f"the model's {output} returned {came} for {num_rows} rows; it must return one result "
            "for each row, in order"
        )


def to_arrow(array: np.ndarray) -> pa.Array:
    """Turns a one-dimensional array into an Arrow column; values of mixed types become text.

    >>> to_arrow(np.array(["a", 1, None], object)).to_pylist()
    ['a', '1', None]
    """
    if array.dtype.kind in "US":
        return pa.array(array.astype(object), pa.string())
    try:
        # In an array of objects NaN stands for a missing value; among floats it is a value.
        return pa.array(np.ascontiguousarray(array), from_pandas=array.dtype == object)
    except pa.ArrowException:
        return pa.array([None if value is None else str(value) for value in array], pa.string())
