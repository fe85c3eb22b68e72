"""Publishes batches to a Pub/Sub topic; all is published when the bundle ends."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import apache_beam as beam
import grpc
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from scoreline.models.reserved import EVENT_TIME

from .dead_letters import Reasons, to_dead_letters
from .formats.encode_json import encode_json_lines
from .leases import is_transient, reason
from .output_columns import ROW_ID, output_columns
from .pubsub_client import PubsubMessage, check_path, client
from .telemetry import TELEMETRY
from .trouble import Trouble

_MAX_MESSAGES = 1_000  # of a request: the service's own limit
_MAX_BYTES = 9_500_000  # of a request or of a message's data; the limit of 10 MB counts all else
_MAX_ATTRIBUTE_BYTES = 1_024  # of a value: the service's own limit
_MAX_ATTRIBUTES = 100  # of a message: the service's own limit
_MAX_NAME_BYTES = 256  # of an attribute: the service's own limit
_THREADS = 4  # requests under way at a time
_MODEL_VERSION = "model_version"
_WAITABLE = (  # somebody may mend it
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
)

Attributes = dict[str, str]


class PublishError(Exception):
    """A topic did not take messages for as long as we tried, or never will."""


class WritePubSub(
    beam.PTransform[beam.PCollection[pa.RecordBatch], beam.PCollection[pa.RecordBatch]]
):
    """Publishes scored batches, one JSON object for each row; gives dead letters.

    A message's attributes are `model_version`, `row_id`, and the columns that are asked for, as
    text. A row that no request can hold becomes a dead letter. Whatever else goes wrong is retried
    for `retry_secs`, then fails the bundle, whose messages are redelivered.

    Args:
        topic: `projects/PROJECT/topics/NAME`.
        keep: the input columns to publish, all if None.
        attributes: the columns that are attributes, too.
        run_id: stands on every dead letter.
        retry_secs: how long to try.
        sink: which of several sinks this is, from 0.

    Raises:
        ValueError: no name of a topic, or columns that a message cannot have as attributes.
    """

    def __init__(
        self,
        topic: str,
        keep: tuple[str, ...] | None = None,
        attributes: tuple[str, ...] = (),
        *,
        run_id: str = "",
        retry_secs: float = 600.0,
        sink: int = 0,
    ):
        super().__init__()
        if len(attributes) + 2 > _MAX_ATTRIBUTES:
            raise ValueError(
                f"a message has at most {_MAX_ATTRIBUTES} attributes, two of them are "
                f"{_MODEL_VERSION} and {ROW_ID}; got {len(attributes)} columns for others"
            )
        odd = [
            name
            for name in attributes
            if name.startswith("goog") or not 0 < len(name.encode()) <= _MAX_NAME_BYTES
        ]
        if odd:
            raise ValueError(
                f"columns that cannot be attributes of a message: {odd}. A name has 1 to "
                f"{_MAX_NAME_BYTES} bytes and does not start with goog: rename them"
            )
        publisher = _Publisher(check_path(topic, "topics"), retry_secs)
        names = tuple(dict.fromkeys([_MODEL_VERSION, ROW_ID, *attributes]))
        self._publish = _PublishPredictionsFn(publisher, keep, names, run_id, sink)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """One ParDo, fused with what makes the batches."""
        publish = beam.ParDo(self._publish).with_output_types(pa.RecordBatch)
        return batches | "Publish" >> publish


class PublishDeadLetters(beam.PTransform[beam.PCollection[pa.RecordBatch], beam.pvalue.PDone]):
    """Publishes dead letters: the payload as data, all that is known of the reason as attributes.

    A payload of more than 9.5 MB is cut there; its attribute `payload_bytes` says its length.

    Args:
        topic: `projects/PROJECT/topics/NAME`.
        retry_secs: how long to try.
        sink: which of several sinks has refused the rows, from 0. A row has one outcome, however
            many sinks there are: only the first one's counts.
    """

    def __init__(self, topic: str, *, retry_secs: float = 600.0, sink: int = 0):
        super().__init__()
        publisher = _Publisher(check_path(topic, "topics"), retry_secs)
        self._publish = _PublishDeadLettersFn(publisher, sink)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.pvalue.PDone:
        """One ParDo, fused with what makes the batches."""
        batches | "Publish" >> beam.ParDo(self._publish)
        return beam.pvalue.PDone(batches.pipeline)


@dataclass(frozen=True)
class _Publisher:
    """Where to publish, and how long to try."""

    topic: str
    retry_secs: float

    def publish(self, messages: Sequence[Any], stopped: threading.Event) -> float:
        """Publishes messages in one request; gives the time at which that was done.

        Args:
            messages: protocol buffers.
            stopped: is set when nobody waits for it any more.

        Raises:
            PublishError: the service refused them, or did not answer for too long.
        """
        deadline = time.monotonic() + self.retry_secs
        trouble = _troubles.setdefault(
            self.topic, Trouble(self.topic, on_trouble=TELEMETRY.show_trouble)
        )
        while True:
            try:
                client().publish(self.topic, messages)
            except grpc.RpcError as error:
                wait_secs = self._wait_secs(error, trouble, deadline)
                if stopped.wait(wait_secs):
                    raise PublishError(f"{self.topic}: the stream has ended") from error
            else:
                trouble.succeeded()
                return time.time()

    def _wait_secs(self, error: grpc.RpcError, trouble: Trouble, deadline: float) -> float:
        code = error.code() if isinstance(error, grpc.Call) else None
        if not is_transient(error) and code not in _WAITABLE:
            raise PublishError(f"{self.topic} refused messages: {reason(error)}") from error
        wait_secs = trouble.failed(reason(error))
        if time.monotonic() + wait_secs > deadline:
            raise PublishError(
                f"{self.topic} took no messages for {self.retry_secs:g} s: {reason(error)}"
            ) from error
        return wait_secs


_troubles: dict[str, Trouble] = {}


class _PublishFn(beam.DoFn):
    """Publishes in threads while the next batch is scored; a bundle ends when all is published."""

    def __init__(self, publisher: _Publisher):
        self._publisher = publisher
        self._pool: ThreadPoolExecutor | None = None
        self._stopped: threading.Event | None = None
        self._waiting: deque[tuple[Future[float], npt.NDArray[np.float64]]] = deque()
        self._rows = 0

    def start_bundle(self) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, "scoreline-publish")
            self._stopped = threading.Event()
        self._waiting.clear()
        self._rows = 0

    def teardown(self) -> None:
        if self._pool is not None and self._stopped is not None:
            self._stopped.set()  # a process does not end while one of these threads tries again
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(
        self, data: list[bytes], attributes: list[Attributes], times: npt.NDArray[np.float64]
    ) -> None:
        """Has messages published; waits while too many requests are under way."""
        assert self._pool is not None
        assert self._stopped is not None
        messages = [
            PubsubMessage(data=each, attributes=of)
            for each, of in zip(data, attributes, strict=True)
        ]
        for start, stop in pairwise(_cuts([message.ByteSize() for message in messages])):
            while len(self._waiting) >= 2 * _THREADS:
                self._wait_for_one()
            future = self._pool.submit(self._publisher.publish, messages[start:stop], self._stopped)
            self._waiting.append((future, times[start:stop]))
        self._rows += len(data)

    def _wait_for_one(self) -> None:
        future, times = self._waiting.popleft()
        published_at = future.result()
        self._observe(published_at - times)

    def _observe(self, latencies: npt.NDArray[np.float64]) -> None:
        """Notes how long each message was under way."""

    def _wait_for_all(self) -> int:
        while self._waiting:
            self._wait_for_one()
        return self._rows


class _PublishPredictionsFn(_PublishFn):
    def __init__(
        self,
        publisher: _Publisher,
        keep: tuple[str, ...] | None,
        attributes: tuple[str, ...],
        run_id: str,
        sink: int,
    ):
        super().__init__(publisher)
        self._keep = keep
        self._attributes = attributes
        self._run_id = run_id
        self._sink = sink

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        columns = output_columns(batch, self._keep, row_id=True)
        data = encode_json_lines(columns).splitlines()
        times = event_secs(batch)
        fits = np.array([len(each) <= _MAX_BYTES for each in data])
        if not fits.all():
            yield self._too_large(batch.filter(pa.array(~fits)), np.array(data, object)[~fits])
            columns, times = columns.filter(pa.array(fits)), times[fits]
            data = [each for each in data if len(each) <= _MAX_BYTES]
        if data:
            self._submit(data, _attributes(columns, self._attributes), times)

    def finish_bundle(self) -> None:
        rows = self._wait_for_all()
        TELEMETRY.count_sink(self._publisher.topic, rows)
        if self._sink == 0:
            TELEMETRY.count("predicted", rows)

    def _observe(self, latencies: npt.NDArray[np.float64]) -> None:
        if self._sink == 0:  # rows are counted once, however many sinks they go to
            TELEMETRY.observe_latency(latencies)

    def _too_large(self, batch: pa.RecordBatch, data: npt.NDArray[np.object_]) -> pa.RecordBatch:
        messages = [
            f"its prediction has {len(each):,} bytes, a message at most {_MAX_BYTES:,}: keep fewer "
            "columns"
            for each in data
        ]
        reasons = Reasons(
            "write",
            codes=["message_too_large"] * len(messages),
            classes=["MessageTooLarge"] * len(messages),
            messages=messages,
        )
        return to_dead_letters(batch, reasons, self._run_id, model_version=version_of(batch))


class _PublishDeadLettersFn(_PublishFn):
    def __init__(self, publisher: _Publisher, sink: int):
        super().__init__(publisher)
        self._sink = sink

    def process(self, batch: pa.RecordBatch) -> None:
        payloads = batch.column("payload").to_pylist()
        attributes = _dead_letter_attributes(batch)
        for payload, of in zip(payloads, attributes, strict=True):
            if len(payload) > _MAX_BYTES:  # with the reason beside it no request would hold it
                of["payload_bytes"] = str(len(payload))
        data = [payload[:_MAX_BYTES] for payload in payloads]
        self._submit(data, attributes, np.empty(batch.num_rows))
        TELEMETRY.note_dead_letters(batch)

    def finish_bundle(self) -> None:
        rows = self._wait_for_all()
        if self._sink == 0:
            TELEMETRY.count("dead_lettered", rows)


def event_secs(batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
    """When each row's message was published, in seconds since 1970; NaN where nobody said."""
    if EVENT_TIME not in batch.schema.names:
        return np.full(batch.num_rows, np.nan)
    micros = batch.column(EVENT_TIME).cast(pa.int64())
    return np.asarray(micros.to_numpy(zero_copy_only=False), np.float64) / 1e6


def _cuts(sizes: Sequence[int]) -> list[int]:
    """Where to cut messages into requests: the first index of each, and the end.

    >>> _cuts([4_000_000, 4_000_000, 4_000_000])
    [0, 2, 3]
    """
    cuts, count, total = [0], 0, 0
    for index, size in enumerate(sizes):
        if count == _MAX_MESSAGES or (count and total + size > _MAX_BYTES):
            cuts.append(index)
            count = total = 0
        count += 1
        total += size
    return [*cuts, len(sizes)]


def _attributes(columns: pa.RecordBatch, names: tuple[str, ...]) -> list[Attributes]:
    texts = [_texts(columns.column(name)) for name in names]
    return [
        {name: text for name, text in zip(names, row, strict=True) if text is not None}
        for row in zip(*texts, strict=True)
    ]


def _is_text(type_: pa.DataType) -> bool:
    """Whether values of a type have a text that says what they are."""
    if pa.types.is_dictionary(type_):
        return _is_text(type_.value_type)
    has_bytes = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
        pa.types.is_binary_view,
    )
    return not pa.types.is_nested(type_) and not any(test(type_) for test in has_bytes)


def _texts(column: pa.Array) -> list[str | None]:
    """The values as text that an attribute can hold; None for a null or a value that is longer."""
    if not _is_text(column.type):
        return [None] * len(column)
    text = column.cast(pa.string())
    lengths = pc.binary_length(text)
    if (pc.max(lengths).as_py() or 0) > _MAX_ATTRIBUTE_BYTES:
        text = pc.if_else(pc.less_equal(lengths, _MAX_ATTRIBUTE_BYTES), text, None)
    texts: list[str | None] = text.to_pylist()
    return texts


_DEAD_LETTER_ATTRIBUTES = (
    ROW_ID,
    "run_id",
    "source",
    "position",
    "stage",
    "error_code",
    "error_class",
    "error_message",
    "payload_encoding",
    "event_time",
    "failed_at",
    _MODEL_VERSION,
)


def _dead_letter_attributes(batch: pa.RecordBatch) -> list[Attributes]:
    columns = [
        [_cut(value) for value in batch.column(name).cast(pa.string()).to_pylist()]
        for name in _DEAD_LETTER_ATTRIBUTES
    ]
    return [
        {name: text for name, text in zip(_DEAD_LETTER_ATTRIBUTES, row, strict=True) if text}
        for row in zip(*columns, strict=True)
    ]


def _cut(text: str | None) -> str:
    encoded = (text or "").encode()
    if len(encoded) <= _MAX_ATTRIBUTE_BYTES:
        return text or ""
    return encoded[: _MAX_ATTRIBUTE_BYTES - 3].decode(errors="ignore") + "…"


def version_of(batch: pa.RecordBatch) -> str | None:
    """The version of the model that scored a batch; None if none did."""
    if _MODEL_VERSION not in batch.schema.names:
        return None
    version: str | None = batch.column(_MODEL_VERSION)[0].as_py()
    return version
