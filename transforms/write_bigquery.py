"""Writes batches into a BigQuery table, over the Storage Write API."""

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.windowed_value import WindowedValue

from scoreline.models.reserved import SPLIT_KEY, metadata_of

from .bigquery.appender import Appender, Refused
from .bigquery.errors import BigQueryError
from .bigquery.names import TableName
from .bigquery.write_streams import create_stream, default_stream
from .dead_letter_codes import DeadLetterCodes
from .dead_letters import Reasons, to_dead_letters
from .outcome import DEAD_LETTERS, TaggedDeadLetters
from .output_columns import output_columns
from .receipts import Receipt
from .telemetry import TELEMETRY
from .write_pubsub import event_secs, version_of

Kind = Literal["predicted", "dead_lettered"]

_RECEIPTS = "receipts"
_MAX_PAYLOAD_BYTES = 8_000_000  # of a dead letter: with the reason beside it a request holds it


class WrittenRows(NamedTuple):
    """Two PCollections: receipts of what was appended, dead letters of what BigQuery refused."""

    receipts: beam.PCollection[Receipt]
    dead_letters: beam.PCollection[pa.RecordBatch]


class WriteBigQueryParts(beam.PTransform[beam.PCollection[pa.RecordBatch], WrittenRows]):
    """Appends the batches of each bundle to a pending stream of its own; gives `WrittenRows`.

    Nothing can be read from the table until the commit step has sealed and committed the streams
    (see `scoreline.transforms.bigquery.write_streams`). A bundle that fails leaves a stream that no
    receipt names, which BigQuery drops. The receipts of all splits of a bundle name one stream.

    Args:
        table: which has the columns already.
        keep: the input columns of predictions to write, all if None.
        row_id: whether predictions get a column `row_id`.
        kind: `predicted` for scored batches, `dead_lettered` for dead letters. The table must take
            every dead letter: one that it refuses fails the bundle.
        run_id: stands on the dead letters of refused rows.
        sink: which of several outputs the rows are for.
        retry_secs: how long to try while BigQuery takes nothing.
    """

    def __init__(
        self,
        table: TableName,
        keep: tuple[str, ...] | None = None,
        row_id: bool = False,
        *,
        kind: Kind = "predicted",
        run_id: str = "",
        sink: int = 0,
        retry_secs: float = 600.0,
    ):
        super().__init__()
        self._write = _WritePartsFn(_Rows(table, kind, keep, row_id, run_id), sink, retry_secs)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> WrittenRows:
        """One ParDo, fused with what makes the batches."""
        append = beam.ParDo(self._write).with_output_types(
            Receipt, **{DEAD_LETTERS: pa.RecordBatch}
        )
        written = batches | "Append" >> append.with_outputs(DEAD_LETTERS, main=_RECEIPTS)
        return WrittenRows(written[_RECEIPTS], written[DEAD_LETTERS])


class WriteBigQueryStream(
    beam.PTransform[beam.PCollection[pa.RecordBatch], beam.PCollection[pa.RecordBatch]]
):
    """Appends batches to a table's default stream; gives dead letters of what BigQuery refused.

    All rows of a bundle are in the table when it ends. One that fails is redelivered by its source,
    and rows of it may be in the table already; each has its `row_id`.

    Args:
        table: which has the columns already.
        keep: the input columns of predictions to write, all if None.
        kind: `predicted` for scored batches, `dead_lettered` for dead letters. The table must take
            every dead letter: one that it refuses fails the bundle.
        run_id: stands on the dead letters of refused rows.
        sink: which of several sinks this is, or has refused these dead letters, from 0. A row has
            one outcome, however many sinks there are: only the first one's counts.
        retry_secs: how long to try while BigQuery takes nothing.
    """

    def __init__(
        self,
        table: TableName,
        keep: tuple[str, ...] | None = None,
        *,
        kind: Kind = "predicted",
        run_id: str = "",
        sink: int = 0,
        retry_secs: float = 600.0,
    ):
        super().__init__()
        rows = _Rows(table, kind, keep, kind == "predicted", run_id)
        self._write = _WriteStreamFn(rows, sink, retry_secs)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """One ParDo, fused with what makes the batches."""
        append = beam.ParDo(self._write).with_output_types(pa.RecordBatch)
        return batches | "Append" >> append


class _Rows(NamedTuple):
    """What is written of batches, and what becomes of rows that are refused."""

    table: TableName
    kind: Kind
    keep: tuple[str, ...] | None
    row_id: bool
    run_id: str

    def columns(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.kind == "predicted":
            return output_columns(batch, self.keep, row_id=self.row_id)
        return _cut_payloads(batch.replace_schema_metadata(None))

    def dead_letters(self, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        for some in refused:
            if self.kind == "dead_lettered":
                raise BigQueryError(
                    f"{self.table} refuses dead letters, and nothing else would keep them: "
                    f"{some.messages[0]}. Compare its columns to those of a new table"
                )
            rows = some.rows.num_rows
            classes, codes = [some.error_class] * rows, [some.code] * rows
            reasons = Reasons("write", codes, classes, some.messages)
            yield to_dead_letters(some.rows, reasons, self.run_id, version_of(some.rows))


class _AppendFn(beam.DoFn):
    """Appends while the next batch is scored; a bundle ends when all is appended or refused."""

    def __init__(self, rows: _Rows, sink: int, retry_secs: float):
        self._rows = rows
        self._sink = sink
        self._retry_secs = retry_secs
        self._appender: Appender | None = None

    def _open(self) -> Appender:
        raise NotImplementedError

    def _append(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        if self._appender is None:
            self._appender = self._open()
        return self._rows.dead_letters(self._appender.append(self._rows.columns(batch), batch))

    def _flush(self) -> Iterator[pa.RecordBatch]:
        return self._rows.dead_letters(self._appender.flush() if self._appender else [])

    def _close(self) -> None:
        """Ends the connection; what is left of a bundle that failed will come again."""
        if self._appender is not None:
            self._appender.abandon()
            self._appender.close()
            self._appender = None

    def teardown(self) -> None:
        self._close()


class _WritePartsFn(_AppendFn):
    def __init__(self, rows: _Rows, sink: int, retry_secs: float):
        super().__init__(rows, sink, retry_secs)
        self._stream = ""
        self._appended: dict[int, int] = {}  # rows by split
        self._codes: dict[int, DeadLetterCodes] = {}

    def start_bundle(self) -> None:
        self._close()
        self._appended = defaultdict(int)
        self._codes = defaultdict(DeadLetterCodes)

    def process(self, batch: pa.RecordBatch) -> Iterator[Receipt | TaggedDeadLetters]:
        for dead_letters in self._append(batch):
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)

    def finish_bundle(self) -> Iterator[Any]:
        for dead_letters in self._flush():
            late = GlobalWindows.windowed_value(dead_letters)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, late)
        self._close()
        for split, rows in self._appended.items():
            codes = self._codes[split].entries() if split in self._codes else ()
            receipt = Receipt(self._rows.kind, split, rows, self._stream, codes, self._sink)
            yield GlobalWindows.windowed_value(receipt)

    def _open(self) -> Appender:
        table = self._rows.table
        self._stream = create_stream(table, self._retry_secs)
        return Appender(
            table,
            self._stream,
            offsets=True,
            retry_secs=self._retry_secs,
            on_accepted=self._note,
        )

    def _note(self, batch: pa.RecordBatch) -> None:
        split = int(metadata_of(batch, SPLIT_KEY, "0"))
        self._appended[split] += batch.num_rows
        if self._rows.kind == "dead_lettered":
            self._codes[split].note(batch)


class _WriteStreamFn(_AppendFn):
    def __init__(self, rows: _Rows, sink: int, retry_secs: float):
        super().__init__(rows, sink, retry_secs)
        self._appended = 0
        self._codes: list[pa.RecordBatch] = []  # the dead letters whose codes are to be counted
        self._latencies: list[npt.NDArray[np.float64]] = []

    def start_bundle(self) -> None:
        if self._appender is not None:
            self._appender.abandon()  # what the last bundle left, if it failed
        self._appended, self._codes, self._latencies = 0, [], []

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield from self._append(batch)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for dead_letters in self._flush():
            yield GlobalWindows.windowed_value(dead_letters)
        if self._rows.kind == "predicted":
            TELEMETRY.count_sink(self._rows.table.uri, self._appended)
        for batch in self._codes:
            TELEMETRY.note_dead_letters(batch)
        if self._sink == 0:  # rows are counted once, however many sinks they go to
            TELEMETRY.count(self._rows.kind, self._appended)
            if self._latencies:
                TELEMETRY.observe_latency(np.concatenate(self._latencies))

    def _open(self) -> Appender:
        return Appender(
            self._rows.table,
            default_stream(self._rows.table),
            offsets=False,
            retry_secs=self._retry_secs,
            on_accepted=self._note,
            on_trouble=TELEMETRY.show_trouble,
        )

    def _note(self, batch: pa.RecordBatch) -> None:
        self._appended += batch.num_rows
        if self._rows.kind == "predicted":
            self._latencies.append(time.time() - event_secs(batch))
        else:
            self._codes.append(batch)


def _cut_payloads(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cuts the payloads of dead letters that no request could hold, and says so in the reason."""
    lengths = pc.binary_length(batch.column("payload"))
    if (pc.max(lengths).as_py() or 0) <= _MAX_PAYLOAD_BYTES:
        return batch
    columns = {name: batch.column(name) for name in batch.schema.names}
    columns["payload"] = pa.array(
        [each and each[:_MAX_PAYLOAD_BYTES] for each in columns["payload"].to_pylist()], pa.binary()
    )
    columns["error_message"] = pa.array(
        [
            f"{message} (of the payload's {length:,} bytes these are the first)"
            if (length or 0) > _MAX_PAYLOAD_BYTES
            else message
            for message, length in zip(
                columns["error_message"].to_pylist(), lengths.to_pylist(), strict=True
            )
        ]
    )
    return pa.record_batch(list(columns.values()), schema=batch.schema)
