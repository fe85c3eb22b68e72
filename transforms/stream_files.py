"""Writes a stream as files: one for each flush, under its final name only when it is complete."""

import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from .encoders import open_encoder
from .layout import FileLayout
from .output_columns import output_columns
from .part_writer import cast_batch
from .storage import create, is_local, join, move, sync
from .telemetry import TELEMETRY
from .trouble import Trouble
from .write_pubsub import event_secs

# Libraries of object stores raise plain exceptions of their own for an outage. So whatever is
# raised is tried again, but what a program's own mistake or a row raises: that stays as it is.
_LASTING = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    pa.ArrowException,
)


class WriteStreamFiles(beam.PTransform[beam.PCollection[pa.RecordBatch], beam.pvalue.PDone]):
    """Writes the batches of each bundle to one new file; it is durable when the bundle ends.

    Files of earlier runs stay. A bundle that fails leaves a staged part at most.

    Args:
        layout: where the files go.
        run_id: stands in their names, so that no two runs meet.
        kind: `predicted` for scored batches, `dead_lettered` for dead letters.
        keep: the input columns of predictions to write, all if None.
        retry_secs: how long to try to write a file.
        sink: which of several sinks this is, or has refused these dead letters, from 0. A row has
            one outcome, however many sinks there are: only the first one's counts.
    """

    def __init__(
        self,
        layout: FileLayout,
        run_id: str,
        kind: Literal["predicted", "dead_lettered"],
        keep: tuple[str, ...] | None = None,
        *,
        retry_secs: float = 600.0,
        sink: int = 0,
    ):
        super().__init__()
        if kind == "predicted":
            self._write: beam.DoFn = _WritePredictionsFn(layout, run_id, retry_secs, keep, sink)
        else:
            self._write = _WriteDeadLettersFn(layout, run_id, retry_secs, sink)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.pvalue.PDone:
        """One ParDo, fused with what makes the batches."""
        batches | "Write" >> beam.ParDo(self._write)
        return beam.pvalue.PDone(batches.pipeline)


class _FlushFn(beam.DoFn):
    """One file for each bundle, written when it ends.

    The rows wait in memory until then, so that a disk that is full or a store that does not answer
    can be tried again: the source bounds what a bundle holds.
    """

    def __init__(self, layout: FileLayout, run_id: str, retry_secs: float):
        self._layout = layout
        self._run_id = run_id
        self._retry_secs = retry_secs
        self._writer_id = ""
        self._number = 0
        self._rows: list[pa.RecordBatch] = []

    def setup(self) -> None:
        self._writer_id = uuid.uuid4().hex[:8]  # several workers write for one run

    def start_bundle(self) -> None:
        self._rows = []

    def _names(self, staging: str, name: str) -> tuple[str, str]:
        """Where a file is written, and what it is called when it is complete."""
        raise NotImplementedError

    def _flush(self) -> int:
        """Writes the rows of the bundle; gives how many they are.

        Raises:
            Exception: whatever a disk or a store raised for as long as the messages are ours, or
                what would be raised again.
        """
        rows, self._rows = self._rows, []
        if not rows:
            return 0
        self._number += 1
        name = f"{self._run_id}-{self._writer_id}-{self._number:06d}"
        staged, final = self._names(self._layout.staging(self._run_id), name)
        folder = final.rpartition("/")[0]  # that of the dead letters may be on another disk
        trouble = Trouble(f"writing to {folder}", on_trouble=TELEMETRY.show_trouble)
        deadline = time.monotonic() + self._retry_secs
        while True:
            try:
                _write(rows, staged, final)
            except _LASTING:
                raise
            except Exception as error:
                wait_secs = trouble.failed(_reason(error))
                if time.monotonic() + wait_secs > deadline:
                    raise
                time.sleep(wait_secs)
            else:
                break
        trouble.succeeded()
        return sum(batch.num_rows for batch in rows)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _write(rows: list[pa.RecordBatch], staged: str, final: str) -> None:
    """Writes one file, which gets its final name when it would survive a loss of power."""
    with create(staged) as file, closing(open_encoder(staged, file, rows[0].schema)) as encoder:
        for batch in rows:
            encoder.write(cast_batch(batch, rows[0].schema, final))
    sync(staged)
    move(staged, final)
    sync(str(Path(final).parent) if is_local(final) else "")


class _WritePredictionsFn(_FlushFn):
    def __init__(
        self,
        layout: FileLayout,
        run_id: str,
        retry_secs: float,
        keep: tuple[str, ...] | None,
        sink: int,
    ):
        super().__init__(layout, run_id, retry_secs)
        self._keep = keep
        self._sink = sink
        self._times: list[npt.NDArray[np.float64]] = []

    def start_bundle(self) -> None:
        super().start_bundle()
        self._times = []

    def process(self, batch: pa.RecordBatch) -> None:
        self._rows.append(output_columns(batch, self._keep, row_id=True))
        self._times.append(event_secs(batch))

    def finish_bundle(self) -> None:
        rows = self._flush()
        TELEMETRY.count_sink(self._layout.output, rows)
        if rows and self._sink == 0:  # rows are counted once, however many sinks they go to
            TELEMETRY.count("predicted", rows)
            TELEMETRY.observe_latency(time.time() - np.concatenate(self._times))

    def _names(self, staging: str, name: str) -> tuple[str, str]:
        file = f"part-{name}{self._layout.extension}"
        return join(staging, file), join(self._layout.output, file)


class _WriteDeadLettersFn(_FlushFn):
    """Dead letters of one stage, as they all come from one step."""

    def __init__(self, layout: FileLayout, run_id: str, retry_secs: float, sink: int):
        super().__init__(layout, run_id, retry_secs)
        self._stage = "any"
        self._sink = sink

    def process(self, batch: pa.RecordBatch) -> None:
        self._stage = batch.column("stage")[0].as_py()
        self._rows.append(batch.replace_schema_metadata(None))

    def finish_bundle(self) -> None:
        batches = self._rows
        rows = self._flush()
        for batch in batches:
            TELEMETRY.note_dead_letters(batch)
        if self._sink == 0:
            TELEMETRY.count("dead_lettered", rows)

    def _names(self, staging: str, name: str) -> tuple[str, str]:
        file = f"part-{name}-{self._stage}.parquet"
        return join(staging, file), join(self._layout.dead_letter_path, file)
