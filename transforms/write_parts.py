"""Writes batches into staged part files, one per split, and gives a receipt for each."""

import uuid
from collections.abc import Iterator
from typing import Literal

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from scoreline.models.reserved import SPLIT_KEY, metadata_of

from .dead_letter_codes import DeadLetterCodes
from .output_columns import output_columns
from .part_writer import PartWriter
from .receipts import Receipt
from .storage import join


class WriteParts(beam.PTransform[beam.PCollection[pa.RecordBatch], beam.PCollection[Receipt]]):
    """Writes batches under a staging folder; gives a `Receipt` for each part when its bundle ends.

    Nothing gets a final name here: that is the commit step's work. A bundle that fails leaves a
    part that no receipt names.

    Args:
        staging: the folder.
        kind: `predicted` for scored batches, `dead_lettered` for dead letters.
        keep: the input columns of predictions to write, all if None.
        row_id: whether predictions get a column `row_id`.
        extension: of the files: their format.
        sink: which of several outputs the predictions are for.
    """

    def __init__(
        self,
        staging: str,
        kind: Literal["predicted", "dead_lettered"],
        keep: tuple[str, ...] | None = None,
        row_id: bool = False,
        extension: str = ".parquet",
        sink: int = 0,
    ):
        super().__init__()
        self._write = _WritePartsFn(staging, kind, keep, row_id, extension, sink)

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[Receipt]:
        """One ParDo, fused with what makes the batches."""
        return batches | "Write" >> beam.ParDo(self._write)


@beam.typehints.with_output_types(Receipt)
class _WritePartsFn(beam.DoFn):
    def __init__(
        self,
        staging: str,
        kind: Literal["predicted", "dead_lettered"],
        keep: tuple[str, ...] | None,
        row_id: bool,
        extension: str,
        sink: int,
    ):
        self._staging = staging
        self._kind = kind
        self._keep = keep
        self._row_id = row_id
        self._extension = extension
        self._sink = sink
        self._part: _Part | None = None
        self._done: list[Receipt] = []

    def start_bundle(self) -> None:
        self._abort_part()
        self._done = []

    def process(self, batch: pa.RecordBatch) -> None:
        split = int(metadata_of(batch, SPLIT_KEY, "0"))
        columns = output_columns(batch, self._keep, row_id=self._row_id)
        if self._part is not None and self._part.split != split:
            self._finish_part()
        if self._part is None:
            name = f"{self._kind}-{split:05d}-{uuid.uuid4().hex}{self._extension}"
            self._part = _Part(split, PartWriter(join(self._staging, name), columns.schema))
        self._part.writer.write(columns)
        self._part.rows += columns.num_rows
        if self._kind == "dead_lettered":
            self._part.codes.note(columns)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._finish_part()
        for receipt in self._done:
            yield GlobalWindows.windowed_value(receipt)

    def teardown(self) -> None:
        self._abort_part()

    def _abort_part(self) -> None:
        """Leaves the part of a bundle that failed: no thread may wait for more of it."""
        if self._part is not None:
            self._part.writer.abort()
            self._part = None

    def _finish_part(self) -> None:
        if self._part is not None:
            self._part.writer.close()
            self._done.append(self._part.receipt(self._kind, self._sink))
            self._part = None


class _Part:
    def __init__(self, split: int, writer: PartWriter):
        self.split = split
        self.writer = writer
        self.rows = 0
        self.codes = DeadLetterCodes()

    def receipt(self, kind: Literal["predicted", "dead_lettered"], sink: int) -> Receipt:
        return Receipt(kind, self.split, self.rows, self.writer.path, self.codes.entries(), sink)
