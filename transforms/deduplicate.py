"""Drops rows whose id was seen a short while ago: what a queue delivered or was sent twice.

An id is only remembered once its bundle is done for good. Remembered in `process`, it would make
the redelivery after a failure look like a duplicate, which would be acknowledged: the row is lost.
Nor is the id of a row that became a dead letter: what is corrected and sent again has that id, too.
"""

import logging
import threading
import time
from collections.abc import Iterator, Set
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from scoreline.models.reserved import POSITION

from .identity import positions
from .telemetry import TELEMETRY

MESSAGE_ID: Final = "message_id"

_LOGGER = logging.getLogger(__name__)
_ROWS_TO_JUDGE: Final = 1_000  # if so many, the first ones, have no id, its name is likely wrong


class Window:
    """The ids of the last while, in bounded memory.

    Ids live in two generations: when the new one is as old as the window, or full, it becomes the
    old one. So an id is known for at least as long as the window and at most twice as long, unless
    more than half of `max_ids` come within it.

    Args:
        secs: the window.
        max_ids: how many ids there may be; each takes about 100 bytes.
    """

    def __init__(self, secs: float, max_ids: int):
        self._secs = secs
        self._max_new = max(1, max_ids // 2)
        self._new: set[str] = set()
        self._old: set[str] = set()
        self._turned_at = time.monotonic()

    def __contains__(self, key: str) -> bool:
        return key in self._new or key in self._old

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def remember(self, keys: Set[str]) -> None:
        """Adds ids."""
        self.turn()
        self._new.update(keys)

    def turn(self) -> None:
        """Forgets the ids that are too old or too many."""
        age_secs = time.monotonic() - self._turned_at
        if age_secs < self._secs and len(self._new) < self._max_new:
            return
        self._old = self._new if age_secs < 2 * self._secs else set()
        self._new = set()
        self._turned_at = time.monotonic()


class Deduplicate(
    beam.PTransform[beam.PCollection[pa.RecordBatch], beam.PCollection[pa.RecordBatch]]
):
    """Drops rows with an id that this process has seen within a window; best effort.

    Another process knows nothing of it, nor does this one after a restart. A row without an id, a
    null, is never dropped. It belongs behind all that rejects rows, or a row that was corrected
    would be dropped as a duplicate of its own dead letter; `ForgetRejected` is for what a sink
    rejects.

    Args:
        by: the column that holds the ids; `message_id` for the queue's own.
        window_secs: how long an id is remembered.
        max_ids: how many are.
    """

    def __init__(self, by: str, window_secs: float = 600.0, max_ids: int = 500_000):
        super().__init__()
        if window_secs <= 0:
            raise ValueError(f"window_secs: expected more than 0, got {window_secs}")
        self._deduplicate = _DeduplicateFn(by, window_secs, max_ids)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """One ParDo, fused with what makes the batches."""
        return batches | "Drop" >> beam.ParDo(self._deduplicate).with_output_types(pa.RecordBatch)


class _DeduplicateFn(beam.DoFn):
    def __init__(self, by: str, window_secs: float, max_ids: int):
        self._by = by
        self._window_secs = window_secs
        self._max_ids = max_ids
        self._window: Window | None = None
        self._bundle: dict[str, str | None] = {}  # each new id, and the position of its row
        self._rows_without: int | None = 0  # from the start on; None once that is settled

    def setup(self) -> None:
        self._window = Window(self._window_secs, self._max_ids)

    def start_bundle(self) -> None:
        self._bundle = {}
        _open_bundles()[self._by] = self._bundle
        if self._window is not None:
            self._window.turn()

    def process(
        self,
        batch: pa.RecordBatch,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
    ) -> Iterator[pa.RecordBatch]:
        assert self._window is not None
        if not self._bundle:
            window, ids = self._window, self._bundle
            finalizer.register(lambda: window.remember(ids.keys()))
        keys = _keys(batch, self._by)
        if self._rows_without is not None:
            self._look_for_ids(keys)
        fresh = self._fresh(keys, positions(batch))
        if fresh.all():
            yield batch
            return
        TELEMETRY.count("deduplicated", int((~fresh).sum()))
        if fresh.any():
            yield batch.filter(pa.array(fresh))

    def _look_for_ids(self, keys: list[str | None]) -> None:
        """Says so, once, if no row has had an id: messages do not tell their columns before."""
        assert self._rows_without is not None
        self._rows_without += len(keys)
        if any(key is not None for key in keys):
            self._rows_without = None
        elif self._rows_without >= _ROWS_TO_JUDGE:
            _LOGGER.warning(
                "deduplicate_by %r: none of the first %d rows has a value there, so nothing is "
                "dropped; is that the name of the column?",
                self._by,
                self._rows_without,
            )
            self._rows_without = None

    def _fresh(self, keys: list[str | None], positions: pa.Array) -> np.ndarray:
        """Which rows have an id that was not seen, in the window or in this bundle."""
        assert self._window is not None
        fresh = np.ones(len(keys), bool)
        for row, (key, position) in enumerate(zip(keys, positions.to_pylist(), strict=True)):
            if key is None:
                continue
            if key in self._window or key in self._bundle:
                fresh[row] = False
            else:
                self._bundle[key] = position
        return fresh


class ForgetRejected(
    beam.PTransform[beam.PCollection[pa.RecordBatch], beam.PCollection[pa.RecordBatch]]
):
    """Passes on the dead letters of a sink, whose ids `Deduplicate` then does not remember.

    It must be in one fused stage with that `Deduplicate`: a bundle goes through in one thread.

    Args:
        by: the column that holds the ids, as in `Deduplicate`.
    """

    def __init__(self, by: str):
        super().__init__()
        self._forget = _ForgetRejectedFn(by)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """One ParDo, fused with what makes the batches."""
        return batches | "Forget" >> beam.ParDo(self._forget).with_output_types(pa.RecordBatch)


class _ForgetRejectedFn(beam.DoFn):
    def __init__(self, by: str):
        self._by = by

    def process(self, dead_letters: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        ids = _open_bundles().get(self._by, {})
        rejected = set(dead_letters.column("position").to_pylist()) - {None}
        for key in [key for key, position in ids.items() if position in rejected]:
            del ids[key]
        yield dead_letters


_thread = threading.local()


def _open_bundles() -> dict[str, dict[str, str | None]]:
    """The new ids of the bundle that this thread works on, by the column that holds them."""
    bundles: dict[str, dict[str, str | None]] = _thread.__dict__.setdefault("bundles", {})
    return bundles


def _keys(batch: pa.RecordBatch, by: str) -> list[str | None]:
    """The ids as text; null where there is none.

    Raises:
        ValueError: there is no such column.
    """
    name = POSITION if by == MESSAGE_ID and MESSAGE_ID not in batch.schema.names else by
    if name not in batch.schema.names:
        raise ValueError(f"deduplicate by {by!r}: the batch has {batch.schema.names}")
    keys: list[str | None] = batch.column(name).cast(pa.string()).to_pylist()
    return keys
