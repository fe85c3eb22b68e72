"""A batch of messages as they came from a queue: their bytes, and what the queue says of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.models.reserved import with_metadata

MESSAGE_SCHEMA: Final = pa.schema(
    [
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("message_id", pa.string()),
        pa.field("publish_time", pa.timestamp("us", "UTC")),
        pa.field("ordering_key", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a queue.

    Attributes:
        payload: its bytes.
        message_id: the queue's own; two deliveries of one message have the same.
        publish_time: when the queue took it.
        attributes: texts by name.
        ordering_key: empty where messages have no order.
    """

    payload: bytes
    message_id: str
    publish_time: datetime
    attributes: tuple[tuple[str, str], ...] = ()
    ordering_key: str = ""


def message_batch(messages: Sequence[Message], source: str) -> pa.RecordBatch:
    """Turns messages into one batch with `MESSAGE_SCHEMA`, in their order.

    Args:
        messages: at least one.
        source: where they came from: `projects/P/subscriptions/S`.

    >>> from datetime import UTC
    >>> message = Message(b"{}", "17", datetime(2024, 5, 1, tzinfo=UTC))
    >>> message_batch([message], "projects/p/subscriptions/s").column("message_id").to_pylist()
    ['17']
    """
    return message_columns(
        [message.payload for message in messages],
        [message.message_id for message in messages],
        pa.array([message.publish_time for message in messages], pa.timestamp("us", "UTC")),
        [message.attributes for message in messages],
        [message.ordering_key for message in messages],
        source=source,
    )


def message_columns(
    payloads: Sequence[bytes],
    message_ids: Sequence[str],
    publish_times: pa.TimestampArray | npt.NDArray[np.int64],
    attributes: Sequence[Sequence[tuple[str, str]]] | None = None,
    ordering_keys: Sequence[str] | None = None,
    *,
    source: str,
) -> pa.RecordBatch:
    """Turns what a pull has brought, field by field, into one batch with `MESSAGE_SCHEMA`.

    Args:
        payloads: of each message.
        message_ids: of each.
        publish_times: of each; numbers are microseconds since 1970 in UTC.
        attributes: (name, text) pairs of each; None where no message has any.
        ordering_keys: of each; None where no message has one.
        source: where they came from.
    """
    num_rows = len(payloads)
    if isinstance(publish_times, np.ndarray):
        publish_times = pa.array(publish_times).cast(MESSAGE_SCHEMA.field("publish_time").type)
    arrays = [
        pa.array(payloads, pa.binary()),
        _attributes(attributes, num_rows),
        pa.array(message_ids, pa.string()),
        publish_times,
        _texts(ordering_keys, num_rows),
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=MESSAGE_SCHEMA)
    return with_metadata(batch, source=source)


def _attributes(
    attributes: Sequence[Sequence[tuple[str, str]]] | None, num_rows: int
) -> pa.MapArray:
    type_ = MESSAGE_SCHEMA.field("attributes").type
    if attributes is not None and any(attributes):
        return pa.array(attributes, type_)
    none = pa.array([], pa.string())
    return pa.MapArray.from_arrays(pa.array(np.zeros(num_rows + 1, np.int32)), none, none)


def _texts(values: Sequence[str] | None, num_rows: int) -> pa.Array:
    return pa.array([""] * num_rows if values is None else values, pa.string())
