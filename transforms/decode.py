"""Turns messages, as a queue gave them, into rows; one that is malformed becomes a dead letter."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from scoreline.models.reserved import PAYLOAD, PREFIX

from .dead_letters import Reasons, raw_dead_letters
from .formats.messages import MessageDecoder, MessageReading, payload_columns
from .formats.records import Rejects
from .identity import identify_messages, source_of
from .metrics import RowCounter
from .outcome import ACCEPTED, DEAD_LETTERS, Outcome, TaggedDeadLetters


@dataclass(frozen=True)
class MessageColumns:
    """How the columns of a batch of messages are named.

    Attributes:
        rename: new names of columns of the payload, as (old, new); others keep theirs.
        attributes: (attribute, column) of the attributes to add, as strings.
        message_id: the column to add with the queue's own ids.
        publish_time: the column to add with the times at which the queue took the messages.
    """

    rename: tuple[tuple[str, str], ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    message_id: str | None = None
    publish_time: str | None = None

    def names(self, payload: pa.Schema) -> list[str]:
        """The names of all columns of a batch, first those of the payload, in its order."""
        return [*self._renamed(payload.names), *self._added()]

    def check(self, payload: pa.Schema) -> None:
        """Raises ValueError if two columns would have one name, or one a name that is reserved."""
        names = self.names(payload)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"expected each column once, got {repeated} more than once among the payload's "
                f"columns {self._renamed(payload.names)} and the added ones {self._added()}: "
                "give the attribute, the message id or the publish time another name"
            )
        reserved = [name for name in names if name.startswith(PREFIX)]
        if reserved:
            raise ValueError(
                f"columns {reserved}: names that start with {PREFIX} are reserved; "
                "choose others, with source.rename for columns of the payload"
            )

    def _renamed(self, names: list[str]) -> list[str]:
        new_names = dict(self.rename)
        return [new_names.get(name, name) for name in names]

    def _added(self) -> list[str]:
        own = [name for name in (self.message_id, self.publish_time) if name is not None]
        return [*(column for _, column in self.attributes), *own]


def decode(
    messages: pa.RecordBatch,
    decoder: MessageDecoder,
    columns: MessageColumns | None = None,
    run_id: str = "",
) -> tuple[pa.RecordBatch | None, pa.RecordBatch | None]:
    """Splits a batch of messages into rows and the dead letters of malformed messages.

    A row's position is its message's id, its event time the time at which the queue took it.

    Args:
        messages: with `MESSAGE_SCHEMA`, and their source in the metadata.
        decoder: of the payloads.
        columns: their names, and what to add to them; the payload's own if None.
        run_id: stands on every dead letter.

    Returns:
        (rows, dead letters); None instead of an empty batch.

    >>> from datetime import UTC, datetime
    >>> from .messages import Message, message_batch
    >>> at = datetime(2024, 5, 1, tzinfo=UTC)
    >>> sent = [Message(b'{"x": 1}', "17", at, (("kind", "a"),)), Message(b"x", "18", at)]
    >>> decoder = MessageDecoder(MessageReading("json", pa.schema({"x": pa.int64()})))
    >>> names = MessageColumns(attributes=(("kind", "kind"),), message_id="id")
    >>> good, dead = decode(message_batch(sent, "projects/p/subscriptions/s"), decoder, names)
    >>> good.select(["x", "kind", "id"]).to_pylist()
    [{'x': 1, 'kind': 'a', 'id': '17'}]
    >>> dead.column("row_id").to_pylist(), dead.column("payload").to_pylist()
    (['projects/p/subscriptions/s#18'], [b'x'])
    """
    decoded = decoder.decode(messages.column("payload"))
    dead = _dead_letters(messages, decoded.rejects, run_id) if decoded.rejects else None
    if decoded.batch is None:
        return None, dead
    kept = messages if dead is None else messages.take(decoded.ordinals)
    return _rows(decoded.batch, kept, columns or MessageColumns()), dead


def _rows(
    payload: pa.RecordBatch, messages: pa.RecordBatch, columns: MessageColumns
) -> pa.RecordBatch:
    """Adds to the columns of the payload what the queue says of the messages."""
    message_ids, times = messages.column("message_id"), messages.column("publish_time")
    attributes = messages.column("attributes")
    arrays = list(payload.columns)
    arrays += [pc.map_lookup(attributes, name, "first") for name, _ in columns.attributes]
    arrays += [message_ids] if columns.message_id is not None else []
    arrays += [times] if columns.publish_time is not None else []
    rows = pa.RecordBatch.from_arrays(arrays, columns.names(payload.schema))
    # Whatever rejects a row further on, its dead letter holds the very bytes that came.
    rows = rows.append_column(PAYLOAD, messages.column("payload"))
    return identify_messages(rows, message_ids, times, source_of(messages))


def _dead_letters(messages: pa.RecordBatch, rejects: Rejects, run_id: str) -> pa.RecordBatch:
    records = rejects.to_batch()
    sent = messages.take(records.column("ordinal"))
    rejected = identify_messages(
        records, sent.column("message_id"), sent.column("publish_time"), source_of(messages)
    )
    reasons = Reasons(
        "decode",
        codes=[reject.error_code for reject in rejects],
        classes=[reject.error_class for reject in rejects],
        messages=[reject.error_message for reject in rejects],
    )
    return raw_dead_letters(rejected, reasons, run_id)


class Decode(beam.PTransform[beam.PCollection[pa.RecordBatch], Outcome]):
    """Turns batches of messages into an `Outcome`: batches of rows, and dead letters.

    It counts the messages as rows read.

    Args:
        reading: what the payloads hold.
        rename: new names of columns of the payload, by their names there.
        attributes: the columns in which to add attributes, by the attributes' names; null where a
            message lacks one.
        message_id: the name of a column to add with the messages' ids.
        publish_time: the name of a column to add with the times at which they were published.
        run_id: stands on every dead letter.

    Raises:
        TypeError: the payloads cannot give a type that is wanted.
        ValueError: the reading contradicts itself, or two columns would have one name.
    """

    def __init__(
        self,
        reading: MessageReading,
        *,
        rename: Mapping[str, str] | None = None,
        attributes: Mapping[str, str] | None = None,
        message_id: str | None = None,
        publish_time: str | None = None,
        run_id: str = "",
    ):
        super().__init__()
        renamed, added = tuple((rename or {}).items()), tuple((attributes or {}).items())
        columns = MessageColumns(renamed, added, message_id, publish_time)
        columns.check(payload_columns(reading))
        MessageDecoder(reading)  # whatever is wrong with the reading is said now
        self._decode = _DecodeFn(reading, columns, run_id)

    @no_annotations
    def expand(self, messages: beam.PCollection[pa.RecordBatch]) -> Outcome:
        """See `decode`."""
        decoding = beam.ParDo(self._decode)
        outputs = messages | "Decode" >> decoding.with_outputs(DEAD_LETTERS, main=ACCEPTED)
        return Outcome(outputs[ACCEPTED], outputs[DEAD_LETTERS])


class _DecodeFn(beam.DoFn):
    def __init__(self, reading: MessageReading, columns: MessageColumns, run_id: str):
        self._reading = reading
        self._columns = columns
        self._run_id = run_id
        self._read = RowCounter("read")
        self._dead_lettered = RowCounter("dead_lettered")

    def setup(self) -> None:
        self._decoder = MessageDecoder(self._reading)

    def process(self, messages: pa.RecordBatch) -> Iterator[pa.RecordBatch | TaggedDeadLetters]:
        self._read.add(messages.num_rows)
        good, dead = decode(messages, self._decoder, self._columns, self._run_id)
        if dead is not None:
            self._dead_lettered.add(dead.num_rows)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead)
        if good is not None:
            yield good
