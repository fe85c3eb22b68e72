"""Reads a Pub/Sub subscription with the source that the runner itself has, into batches."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from .messages import Message, message_batch
from .pubsub_client import check_path

_MAX_ROWS = 5_000  # as in our own source: from here on a larger batch is hardly cheaper a row
_MAX_BYTES = 16 * 2**20  # of payloads; well below the 80 MB that Dataflow lets an element have


class ReadNativePubSub(beam.PTransform[beam.pvalue.PBegin, beam.PCollection[pa.RecordBatch]]):
    """Reads messages, as they come, into batches with `messages.MESSAGE_SCHEMA`.

    The runner pulls, and acknowledges when it has stored what the first fused stage gave. On
    Dataflow only: elsewhere `ReadPubSub` acknowledges when the sinks have written.

    Args:
        subscription: `projects/PROJECT/subscriptions/NAME`.
        id_label: the attribute by whose value the service drops duplicates; by the message's own
            id if None.
        max_rows: of a batch.
        max_bytes: of a batch's payloads; a single message may have more.

    Raises:
        ValueError: no such name of a subscription is possible, or a limit is not above 0.
    """

    def __init__(
        self,
        subscription: str,
        id_label: str | None = None,
        *,
        max_rows: int = _MAX_ROWS,
        max_bytes: int = _MAX_BYTES,
    ):
        super().__init__()
        self._subscription = check_path(subscription, "subscriptions")
        self._id_label = id_label
        self._gather = _GatherFn(subscription, max_rows, max_bytes)

    @no_annotations
    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[pa.RecordBatch]:
        """Beam's source, then the messages of a bundle in one batch."""
        read = ReadFromPubSub(
            subscription=self._subscription, id_label=self._id_label, with_attributes=True
        )
        gather = beam.ParDo(self._gather).with_output_types(pa.RecordBatch)
        return pbegin | "Read" >> read | "Gather" >> gather


class _GatherFn(beam.DoFn):
    """Gives what a bundle has brought when it ends, or earlier when that is much.

    A batch has the timestamp of its oldest message: a watermark that waits for that one waits for
    the batch, too.
    """

    def __init__(self, source: str, max_rows: int, max_bytes: int):
        for name, limit in (("max_rows", max_rows), ("max_bytes", max_bytes)):
            if limit < 1:
                raise ValueError(f"{name}: expected at least 1, got {limit}")
        self._messages: list[Message] = []
        self._bytes = 0
        self._oldest: Timestamp = MAX_TIMESTAMP
        self._source = source
        self._max_rows = max_rows
        self._max_bytes = max_bytes

    def start_bundle(self) -> None:
        self._forget()

    def process(
        self,
        message: PubsubMessage,
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> Iterator["TimestampedValue[pa.RecordBatch]"]:
        if self._messages and self._bytes + len(message.data) > self._max_bytes:
            yield TimestampedValue(*self._batch())
        self._messages.append(_message(message, timestamp))
        self._bytes += len(message.data)
        self._oldest = min(self._oldest, timestamp)
        if len(self._messages) >= self._max_rows:
            yield TimestampedValue(*self._batch())

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._messages:
            batch, oldest = self._batch()
            yield WindowedValue(batch, oldest, (GlobalWindow(),))

    def _batch(self) -> tuple[pa.RecordBatch, Timestamp]:
        batch, oldest = message_batch(self._messages, self._source), self._oldest
        self._forget()
        return batch, oldest

    def _forget(self) -> None:
        self._messages = []
        self._bytes = 0
        self._oldest = MAX_TIMESTAMP


def _message(message: PubsubMessage, timestamp: Timestamp) -> Message:
    """In our own terms; its timestamp is the time at which it was published."""
    return Message(
        payload=message.data,
        message_id=message.message_id or "",
        publish_time=message.publish_time or timestamp.to_utc_datetime(has_tz=True),
        attributes=tuple((message.attributes or {}).items()),
        ordering_key=message.ordering_key or "",
    )
