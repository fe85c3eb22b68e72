"""A dead letter: one rejected row as a typed record, with its reason and its original payload."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from scoreline.models.reserved import PAYLOAD, user_columns

from .identity import event_times, positions, row_ids, source_of

DEAD_LETTER_SCHEMA = pa.schema(
    [
        pa.field("row_id", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("position", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error_code", pa.string(), nullable=False),
        pa.field("error_class", pa.string(), nullable=False),
        pa.field("error_message", pa.string(), nullable=False),
        pa.field("payload", pa.binary()),
        pa.field("payload_encoding", pa.string(), nullable=False),
        pa.field("event_time", pa.timestamp("us", "UTC")),
        pa.field("failed_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("model_version", pa.string()),
        pa.field("retryable", pa.bool_(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Reasons:
    """Why each row of a batch was rejected; all sequences are as long as the batch."""

    stage: str
    codes: Sequence[str]
    classes: Sequence[str]
    messages: Sequence[str]


def to_dead_letters(
    rejected: pa.RecordBatch, reasons: Reasons, run_id: str, model_version: str | None
) -> pa.RecordBatch:
    """Turns a batch of rejected rows into a batch of dead letters, row by row in order.

    The payload of each is what came, where the batch still carries it: the bytes of a message. Else
    it is an Arrow IPC stream of that one row: lossless, whatever the types.
    """
    if PAYLOAD in rejected.schema.names:
        came = rejected.column(PAYLOAD)
        return _dead_letters(rejected, reasons, run_id, model_version, came, "raw")
    payloads = _payloads(user_columns(rejected))
    return _dead_letters(rejected, reasons, run_id, model_version, payloads, "arrow-ipc")


def _dead_letters(
    rejected: pa.RecordBatch,
    reasons: Reasons,
    run_id: str,
    model_version: str | None,
    payloads: pa.Array,
    encoding: str,
) -> pa.RecordBatch:
    now = datetime.now(UTC)
    rows = rejected.num_rows
    columns = {
        "row_id": row_ids(rejected),
        "run_id": [run_id] * rows,
        "source": [source_of(rejected) or None] * rows,
        "position": positions(rejected),
        "stage": [reasons.stage] * rows,
        "error_code": reasons.codes,
        "error_class": reasons.classes,
        "error_message": reasons.messages,
        "payload": payloads,
        "payload_encoding": [encoding] * rows,
        "event_time": event_times(rejected),
        "failed_at": [now] * rows,
        "attempt": [1] * rows,
        "model_version": [model_version] * rows,
        "retryable": [False] * rows,
    }
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for field, column in zip(DEAD_LETTER_SCHEMA, columns.values(), strict=True)
    ]
    schema = DEAD_LETTER_SCHEMA.with_metadata(rejected.schema.metadata)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def raw_dead_letters(payloads: pa.RecordBatch, reasons: Reasons, run_id: str) -> pa.RecordBatch:
    """Turns records that could not be decoded into dead letters with their very bytes.

    Args:
        payloads: a column `payload` of binary, with row identity.
        reasons: of each.
        run_id: stands on every dead letter.
    """
    return _dead_letters(payloads, reasons, run_id, None, payloads.column("payload"), "raw")


def _payloads(batch: pa.RecordBatch) -> pa.Array:
    bare = batch.replace_schema_metadata(None)
    return pa.array([_encode(_one_row(bare, row)) for row in range(bare.num_rows)], pa.binary())


def _one_row(batch: pa.RecordBatch, row: int) -> pa.RecordBatch:
    """A slice, in which a dictionary has just the entry of this row, not those of the batch."""
    one = batch.slice(row, 1)
    for index, column in enumerate(one.columns):
        if pa.types.is_dictionary(column.type):
            one = one.set_column(index, one.schema.field(index), _one_entry(column))
    return one


def _one_entry(value: pa.DictionaryArray) -> pa.DictionaryArray:
    entry = value.indices[0].as_py()
    return pa.DictionaryArray.from_arrays(
        pa.array([None if entry is None else 0], value.type.index_type),
        value.dictionary.slice(entry or 0, 0 if entry is None else 1),
        ordered=value.type.ordered,
    )


def _encode(row: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_batch(row)
    return sink.getvalue().to_pybytes()


def decode_payload(payload: bytes) -> pa.RecordBatch:
    """Turns the payload of a dead letter, encoded `arrow-ipc`, back into its one-row batch."""
    return pa.ipc.open_stream(payload).read_next_batch()
