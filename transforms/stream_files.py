"""Writes a stream as files: one for each flush, under its final name only when it is complete."""

import os
import time
import uuid
from pathlib import Path
from typing import Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from .layout import FileLayout
from .output_columns import output_columns
from .part_writer import PartWriter
from .storage import is_local, join, move
from .telemetry import TELEMETRY
from .write_pubsub import event_secs

_MAX_ROWS = 1_000_000  # of a file; a bundle under a surge may hold more


class WriteStreamFiles(beam.PTransform[beam.PCollection[pa.RecordBatch], beam.pvalue.PDone]):
    """Writes the batches of each bundle to one new file; it is durable when the bundle ends.

    Files of earlier runs stay. A bundle that fails leaves a staged part at most.

    Args:
        layout: where the files go.
        run_id: stands in their names, so that no two runs meet.
        kind: `predicted` for scored batches, `dead_lettered` for dead letters.
        keep: the input columns of predictions to write, all if None.
        sink: which of several sinks this is, from 0.
    """

    def __init__(
        self,
        layout: FileLayout,
        run_id: str,
        kind: Literal["predicted", "dead_lettered"],
        keep: tuple[str, ...] | None = None,
        *,
        sink: int = 0,
    ):
        super().__init__()
        if kind == "predicted":
            self._write: beam.DoFn = _WritePredictionsFn(layout, run_id, keep, sink)
        else:
            self._write = _WriteDeadLettersFn(layout, run_id)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.pvalue.PDone:
        """One ParDo, fused with what makes the batches."""
        batches | "Write" >> beam.ParDo(self._write)
        return beam.pvalue.PDone(batches.pipeline)


class _FlushFn(beam.DoFn):
    """One file for each bundle."""

    def __init__(self, layout: FileLayout, run_id: str):
        self._layout = layout
        self._run_id = run_id
        self._writer_id = ""
        self._number = 0
        self._writer: PartWriter | None = None
        self._final = ""
        self._rows = 0
        self._in_file = 0

    def setup(self) -> None:
        self._writer_id = uuid.uuid4().hex[:8]  # several workers write for one run

    def start_bundle(self) -> None:
        self._abort()
        self._rows = 0

    def teardown(self) -> None:
        self._abort()

    def _add(self, columns: pa.RecordBatch) -> None:
        if self._writer is None:
            self._number += 1
            name = f"{self._run_id}-{self._writer_id}-{self._number:06d}"
            staging = self._layout.staging(self._run_id)
            staged, self._final = self._names(staging, name)
            self._writer = PartWriter(staged, columns.schema)
        self._writer.write(columns)
        self._rows += columns.num_rows
        self._in_file += columns.num_rows
        if self._in_file >= _MAX_ROWS:
            self._finish()

    def _names(self, staging: str, name: str) -> tuple[str, str]:
        """Where a file is written, and what it is called when it is complete."""
        raise NotImplementedError

    def _finish(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        staged, self._writer, self._in_file = self._writer.path, None, 0
        _sync(staged)
        move(staged, self._final)
        _sync(str(Path(self._final).parent) if is_local(self._final) else "")

    def _abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer, self._in_file = None, 0


class _WritePredictionsFn(_FlushFn):
    def __init__(self, layout: FileLayout, run_id: str, keep: tuple[str, ...] | None, sink: int):
        super().__init__(layout, run_id)
        self._keep = keep
        self._sink = sink
        self._times: list[npt.NDArray[np.float64]] = []

    def start_bundle(self) -> None:
        super().start_bundle()
        self._times = []

    def process(self, batch: pa.RecordBatch) -> None:
        self._add(output_columns(batch, self._keep, row_id=True))
        self._times.append(event_secs(batch))

    def finish_bundle(self) -> None:
        self._finish()
        if not self._rows:
            return
        TELEMETRY.count_sink(self._layout.output, self._rows)
        if self._sink == 0:  # rows are counted once, however many sinks they go to
            TELEMETRY.observe_latency(time.time() - np.concatenate(self._times))
            TELEMETRY.count("predicted", self._rows)

    def _names(self, staging: str, name: str) -> tuple[str, str]:
        file = f"part-{name}{self._layout.extension}"
        return join(staging, file), join(self._layout.output, file)


class _WriteDeadLettersFn(_FlushFn):
    """Dead letters of one stage, as they all come from one step."""

    def __init__(self, layout: FileLayout, run_id: str):
        super().__init__(layout, run_id)
        self._stage = "any"
        self._batches: list[pa.RecordBatch] = []

    def start_bundle(self) -> None:
        super().start_bundle()
        self._batches = []

    def process(self, batch: pa.RecordBatch) -> None:
        self._stage = batch.column("stage")[0].as_py()
        self._batches.append(batch)
        self._add(batch.replace_schema_metadata(None))

    def finish_bundle(self) -> None:
        self._finish()
        for batch in self._batches:
            TELEMETRY.note_dead_letters(batch)
        TELEMETRY.count("dead_lettered", self._rows)
        self._batches = []

    def _names(self, staging: str, name: str) -> tuple[str, str]:
        file = f"part-{name}-{self._stage}.parquet"
        return join(staging, file), join(self._layout.dead_letter_path, file)


def _sync(path: str) -> None:
    """Has a local file, or the names in a folder, survive a loss of power."""
    if not path or not is_local(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
