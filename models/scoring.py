"""Scores a batch, and if that fails, finds the rows that make it fail."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from .errors import ModelOutputError, RowCountError

# A failing batch is cut into this many parts. With one poison row in n, the rows that are scored
# in vain add up to n * (1 + 1/4 + 1/16 ...) = 1.33 n, against 2 n when halving, for the same
# number of calls (4 * log4 n = 2 * log2 n).
_PARTS = 4
_MAX_MESSAGE_CHARS = 500

# First row, the row after the last, and what was wrong with their number if they were cut for it.
_Piece = tuple[int, int, RowCountError | None]


@dataclass(frozen=True)
class Poison:
    """One row that the model fails on by itself: its index, the error's class and its message."""

    row: int
    error_class: str
    message: str


def score_rows(
    batch: pa.RecordBatch, score: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> tuple[pa.RecordBatch | None, np.ndarray, list[Poison]]:
    """Scores as many rows of a batch as the model takes.

    Rows of another number than it got are never matched with their inputs: nobody could tell which
    is whose. Where a row is to blame, it is one for which `score` gives none or several even alone.

    Args:
        batch: at least one row.
        score: gives one row of output for each row, or raises.

    Returns:
        The output (None if no row could be scored), the indices of the rows that it is for, in
        order, and the rows that make `score` raise even alone.

    Raises:
        RowCountError: `score` gives another number of rows for some rows together, though not for
            any of them alone: what it gives for a row depends on the others.
        ModelOutputError, MemoryError: these are not a row's fault, so no row is given up for them.

    >>> def root(batch):
    ...     return pa.record_batch({"root": [x.as_py() ** 0.5 for x in batch.column("x")]})
    >>> output, rows, poison = score_rows(pa.record_batch({"x": [4, 9, None]}), root)
    >>> output.column("root").to_pylist(), rows.tolist(), [found.row for found in poison]
    ([2.0, 3.0], [0, 1], [2])
    """
    pieces: list[pa.RecordBatch] = []
    kept: list[np.ndarray] = []
    poison: list[Poison] = []
    stack: list[_Piece] = [(0, batch.num_rows, None)]
    while stack:
        start, stop, miscounted = stack.pop()
        if miscounted is not None:  # the parts of this piece have been scored
            _check_blame(start, stop, miscounted, poison)
            continue
        try:
            pieces.append(score(batch.slice(start, stop - start)))
            kept.append(np.arange(start, stop))
        except Exception as error:  # the model's own code: it may raise anything
            if not _may_be_of_a_row(error):
                raise
            if stop - start == 1:
                poison.append(Poison(start, type(error).__name__, _message(error)))
                continue
            if isinstance(error, RowCountError):
                stack.append((start, stop, error))
            stack.extend((*part, None) for part in reversed(_cut(start, stop)))
    if not pieces:
        return None, np.empty(0, np.int64), poison
    return _joined(pieces), np.concatenate(kept), poison


def check_rows_are_to_blame(poison: list[Poison]) -> None:
    """Raises if it is rather the model that is: all of several rows gave another number of rows.

    For batches of which no row was scored, by a model that has not scored any before. One row by
    itself says nothing, and must not end a stream at each restart.
    """
    if len(poison) > 1 and all(found.error_class == RowCountError.__name__ for found in poison):
        raise RowCountError(
            f"{poison[0].message}. So it is for each of the {len(poison)} rows, and no row has "
            "been scored before: no row is to blame"
        )


def _may_be_of_a_row(error: Exception) -> bool:
    is_output = isinstance(error, ModelOutputError) and not isinstance(error, RowCountError)
    return not is_output and not isinstance(error, MemoryError)


def _check_blame(start: int, stop: int, error: RowCountError, poison: list[Poison]) -> None:
    """Raises unless one of the rows, the last that were scored, is poison even alone."""
    if not poison or poison[-1].row < start:
        raise RowCountError(
            f"{error}. Fewer of these {stop - start} rows at a time are no trouble: what becomes "
            "of a row must not depend on the others"
        ) from error


def _joined(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    first = pieces[0]
    for piece in pieces[1:]:
        if not piece.schema.equals(first.schema):
            raise ModelOutputError(
                "the model gives different columns for different rows of one batch: "
                f"{_columns(first)} for some, {_columns(piece)} for others"
            )
    return first if len(pieces) == 1 else pa.concat_batches(pieces)


def _columns(batch: pa.RecordBatch) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in batch.schema)


def _cut(start: int, stop: int) -> list[tuple[int, int]]:
    edges = np.linspace(start, stop, min(_PARTS, stop - start) + 1).astype(int).tolist()
    return list(pairwise(edges))


def _message(error: Exception) -> str:
    text = (str(error) or repr(error)).encode(errors="replace").decode()  # Arrow takes no surrogate
    return text if len(text) <= _MAX_MESSAGE_CHARS else text[: _MAX_MESSAGE_CHARS - 1] + "…"
