"""Scores a batch, and if that fails, finds the rows that make it fail."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from .errors import ModelOutputError

# A failing batch is cut into this many parts. With one poison row in n, the rows that are scored
# in vain add up to n * (1 + 1/4 + 1/16 ...) = 1.33 n, against 2 n when halving, for the same
# number of calls (4 * log4 n = 2 * log2 n).
_PARTS = 4
_MAX_MESSAGE_CHARS = 500


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

    Args:
        batch: at least one row.
        score: gives one row of output for each row, or raises.

    Returns:
        The output (None if no row could be scored), the indices of the rows that it is for, in
        order, and the rows that make `score` raise even alone.

    Raises:
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
    stack = [(0, batch.num_rows)]
    while stack:
        start, stop = stack.pop()
        try:
            pieces.append(score(batch.slice(start, stop - start)))
            kept.append(np.arange(start, stop))
        except (ModelOutputError, MemoryError):
            raise
        except Exception as error:  # the model's own code: it may raise anything
            if stop - start == 1:
                poison.append(Poison(start, type(error).__name__, _message(error)))
            else:
                stack.extend(reversed(_cut(start, stop)))
    if not pieces:
        return None, np.empty(0, np.int64), poison
    return _joined(pieces), np.concatenate(kept), poison


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
