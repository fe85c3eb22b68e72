"""One vocabulary of row counts: as Beam metrics, and in this process for the progress display.

Neither is ever used to account for rows: Beam reports attempted values on some runners, and this
process sees only its own threads. What is checked travels as data (receipts.py).
"""

import threading
from typing import Literal

from apache_beam.metrics import Metrics

NAMESPACE = "scoreline"
Outcome = Literal["read", "predicted", "dead_lettered"]

_by_thread: dict[tuple[int, str], int] = {}


class RowCounter:
    """Counts the rows of one outcome; call it once for each batch."""

    def __init__(self, outcome: Outcome):
        self._outcome = outcome
        self._counter = Metrics.counter(NAMESPACE, f"rows_{outcome}")

    def add(self, rows: int) -> None:
        """Adds rows; each thread writes an entry of its own, so no lock is needed."""
        key = (threading.get_ident(), self._outcome)
        _by_thread[key] = _by_thread.get(key, 0) + rows
        self._counter.inc(rows)


def rows_so_far(outcome: Outcome) -> int:
    """The rows of one outcome that this process has counted since it started."""
    return sum(rows for (_, counted), rows in list(_by_thread.items()) if counted == outcome)
