"""A subscription as an unbounded source of batches, acknowledged when their effect is durable.

Beam's wrapper drives the reader through bundles: it asks for batches until the bundle's time is up
or nothing is there, cuts a checkpoint mark, lets the sinks flush and calls `finalize_checkpoint`.
Only then are the messages of the bundle acknowledged. A mark names its bundle by number; what the
number stands for never leaves the process that pulled (acknowledging has to happen there anyway),
so a runner's checkpoints stay small.
"""

import time
import uuid
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from .coder import RecordBatchCoder
from .drain import is_draining
from .leases import Lease
from .messages import message_columns
from .pubsub_client import check_path
from .pubsub_feed import Feed, FeedSettings, acknowledge_bundle, wait_until_empty
from .puller import Pulled
from .telemetry import DRAINED, TELEMETRY

_END_SECS = 20.0  # how long a stream that ends waits for what it gave to be acknowledged
_IDLE_SECS = 1.0  # a bundle costs 4 ms whatever it holds: one a second is 0.4 % of a core
_LATE_SECS = 1.0  # an idle stream's watermark is so far behind
_MIN_ROWS, _MAX_ROWS = 100, 5_000  # of a batch; from here on a larger one is hardly cheaper a row
_SHARE = 0.5  # of the wanted latency that a batch may take; the other half is for it to come
_SMOOTHING = 0.2  # how fast the estimate of what a row takes follows
_POSITIVE = (
    "deadline_secs",
    "bundle_secs",
    "max_latency_secs",
    "pull_threads",
    "max_messages",
    "max_bytes",
    "max_lease_secs",
)


@dataclass(frozen=True)
class PubSubSource(UnboundedSource):
    """One reader of a subscription.

    Attributes:
        subscription: `projects/PROJECT/subscriptions/NAME`.
        deadline_secs: the subscription's acknowledgement deadline.
        bundle_secs: how long a bundle is held open for more: how often files are flushed.
        max_latency_secs: how long a batch may take: it decides how much is taken at once.
        pull_threads: how many calls wait for messages at a time.
        max_messages: in hand at a time, from pull to acknowledgement.
        max_bytes: of payloads that wait to be taken, and of those in a bundle.
        max_lease_secs: how long a message may be in hand.
        stop_when_idle_secs: end when nothing has come for so long; never if None.
        attributes: whether attributes and ordering keys are wanted.
        idle_secs: how long a reader waits for a message before it says that there is none; a second
            if None.
        index: tells several readers of one subscription apart.
    """

    subscription: str
    deadline_secs: float = 10.0
    bundle_secs: float = 1.0
    max_latency_secs: float = 0.1
    pull_threads: int = 4
    max_messages: int = 20_000
    max_bytes: int = 64 * 2**20
    max_lease_secs: float = 600.0
    stop_when_idle_secs: float | None = None
    attributes: bool = False
    idle_secs: float | None = None
    index: int = 0

    def __post_init__(self) -> None:
        check_path(self.subscription, "subscriptions")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")

    @property
    def feed_settings(self) -> FeedSettings:
        """What all readers of this source in a process share."""
        return FeedSettings(
            self.subscription,
            self.deadline_secs,
            self.pull_threads,
            self.max_messages,
            self.max_bytes,
            self.max_lease_secs,
            self.attributes,
        )

    def split(
        self,
        desired_num_splits: int,  # noqa: ARG002  Beam passes it
        options: object | None = None,  # noqa: ARG002
    ) -> list["PubSubSource"]:
        """One: splits of one source would all be read by one worker, one after the other."""
        return [self]

    def create_reader(
        self,
        options: object | None,  # noqa: ARG002  Beam passes it
        checkpoint_mark: CheckpointMark | None,  # noqa: ARG002
    ) -> "PubSubReader":
        """A new reader: what an earlier one had not acknowledged comes again by itself."""
        return PubSubReader(self)

    def get_checkpoint_mark_coder(self) -> beam.coders.Coder:
        """Marks are two short words."""
        return _MarkCoder()

    def default_output_coder(self) -> beam.coders.Coder:
        """Of batches."""
        return RecordBatchCoder()


@dataclass(frozen=True)
class PubSubMark(CheckpointMark):
    """Names the messages of one bundle of one reader."""

    reader: str
    bundle: int

    def finalize_checkpoint(self) -> None:
        """Acknowledges the messages of the bundle, in the background and with retries.

        In another process than the one that pulled there is nothing to do: the service redelivers.
        """
        acknowledge_bundle((self.reader, self.bundle))


class _MarkCoder(beam.coders.Coder):
    def encode(self, mark: PubSubMark) -> bytes:
        return f"{mark.reader} {mark.bundle}".encode()

    def decode(self, encoded: bytes) -> PubSubMark:
        reader, bundle = encoded.decode().split()
        return PubSubMark(reader, int(bundle))

    def is_deterministic(self) -> bool:
        return True


class PubSubReader(UnboundedReader):
    """Gives what was pulled as batches; see `messages.MESSAGE_SCHEMA`."""

    def __init__(self, source: PubSubSource):
        self._source = source
        self._id = uuid.uuid4().hex
        self._feed = Feed.join(source.feed_settings)
        self._is_closed = False
        self._bundle = 0
        self._taken: list[Lease] = []  # in the bundle so far
        self._taken_messages = self._taken_bytes = 0
        self._bundle_ends: float | None = None
        self._pace = _Pace(source.max_latency_secs)
        self._current: pa.RecordBatch | None = None
        self._oldest = time.time()
        self._ends_by: float | None = None
        self._is_done = False
        TELEMETRY.set_state("pulling", "")

    def start(self) -> bool:
        """Waits for the first batch."""
        return self.advance()

    def advance(self) -> bool:
        """Waits for the next batch; False ends the bundle, or the stream if it is to end.

        Beam asks readers not to wait here. But its in-process runner asks again at once, and a
        bundle costs 4 ms whatever it holds: polling each 20 ms would keep a fifth of a core busy.
        """
        self._pace.note_end()
        if is_draining() or self._ends_by is not None:
            return self._end()
        if self._is_full():
            return False  # pulling waits for acknowledgements, and those for the bundle's end
        ends = self._bundle_ends
        until = time.monotonic() + self._idle_secs if ends is None else ends
        pulled = self._feed.take(self._pace.rows, until)
        if not pulled:
            return self._nothing_came()
        self._take(pulled)
        return True

    def get_current(self) -> pa.RecordBatch:
        """The batch."""
        assert self._current is not None
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        """When the oldest message of the batch was published."""
        return Timestamp.of(self._oldest)

    def get_watermark(self) -> Timestamp:
        """When the oldest message in hand was published; the end of time once all is done.

        The service can redeliver older ones: they are late then.
        """
        if self._is_done:
            return MAX_TIMESTAMP
        oldest = self._feed.leases.oldest()
        return Timestamp.of(time.time() - _LATE_SECS if oldest is None else oldest)

    def get_checkpoint_mark(self) -> PubSubMark:
        """Names the messages that were given since the last mark."""
        self._bundle += 1
        mark = PubSubMark(self._id, self._bundle)
        self._feed.mark((mark.reader, mark.bundle), self._taken)
        self._taken, self._taken_messages, self._taken_bytes = [], 0, 0
        self._bundle_ends = None
        return mark

    def close(self) -> None:
        """Hands back what was pulled and not given, or given and not marked: its bundle failed.

        What was marked stays leased: it may still be acknowledged.
        """
        if not self._is_closed:
            self._is_closed = True
            taken, self._taken = self._taken, []
            self._feed.leave(taken)

    @property
    def _idle_secs(self) -> float:
        return self._source.idle_secs or _IDLE_SECS

    def _is_full(self) -> bool:
        """Whether the bundle holds as much as it may: sinks keep what they have to flush."""
        source = self._source
        many = self._taken_messages >= source.max_messages / 2
        return many or self._taken_bytes >= source.max_bytes

    def _take(self, pulled: list[Pulled]) -> None:
        now = time.monotonic()
        if self._bundle_ends is None:
            self._bundle_ends = now + self._source.bundle_secs
        self._taken += [each.lease for each in pulled]
        self._oldest = min(each.lease.oldest for each in pulled)
        self._current = _batch(pulled, self._source)
        self._taken_messages += self._current.num_rows
        self._taken_bytes += sum(each.num_bytes for each in pulled)
        self._pace.note_start(self._current.num_rows)
        self._tell()

    def _tell(self) -> None:
        in_hand = self._feed.num_bytes + self._taken_bytes
        TELEMETRY.in_hand(self._feed.leases.num_messages, in_hand, self._feed.leases.oldest())

    def _nothing_came(self) -> bool:
        idle_secs = self._source.stop_when_idle_secs
        self._tell()
        is_idle = idle_secs is not None and self._feed.idle_secs >= idle_secs
        return self._end() if is_idle or is_draining() or self._feed.is_closed else False

    def _end(self) -> bool:
        """Ends the bundle; the stream too, once all that it gave is acknowledged.

        A runner that acknowledges at its checkpoints would end the job, and this process with it,
        without another one.
        """
        TELEMETRY.set_state("draining", "")
        self._feed.close()
        if self._ends_by is None:
            self._ends_by = time.monotonic() + _END_SECS
        if not self._taken:
            is_over = time.monotonic() >= self._ends_by
            self._is_done = wait_until_empty(0.0 if is_over else _IDLE_SECS) or is_over
        if self._is_done:
            TELEMETRY.set_state(DRAINED)
        self._tell()
        return False


class _Pace:
    """How many rows a batch may have so that it takes no longer than wanted."""

    def __init__(self, max_latency_secs: float):
        self._secs = _SHARE * max_latency_secs
        self._secs_per_row: float | None = None
        self._started: tuple[float, int] | None = None

    @property
    def rows(self) -> int:
        if not self._secs_per_row:
            return _MIN_ROWS * 5
        return max(_MIN_ROWS, min(_MAX_ROWS, int(self._secs / self._secs_per_row)))

    def note_start(self, rows: int) -> None:
        self._started = time.monotonic(), rows

    def note_end(self) -> None:
        if self._started is None:
            return
        (started, rows), self._started = self._started, None
        if rows < _MIN_ROWS:
            return  # says more of what a batch costs than of what a row does
        secs = (time.monotonic() - started) / rows
        before = self._secs_per_row
        self._secs_per_row = secs if before is None else before + _SMOOTHING * (secs - before)


def _batch(pulled: list[Pulled], source: PubSubSource) -> pa.RecordBatch:
    first = pulled[0]
    attributes = None if first.attributes is None else _joined(pulled, "attributes")
    keys = None if first.ordering_keys is None else _joined(pulled, "ordering_keys")
    return message_columns(
        _joined(pulled, "payloads"),
        _joined(pulled, "message_ids"),
        np.array(_joined(pulled, "publish_micros"), np.int64),
        attributes,
        keys,
        source=source.subscription,
    )


def _joined(pulled: list[Pulled], field: str) -> list[Any]:
    if len(pulled) == 1:
        return getattr(pulled[0], field)
    return [value for each in pulled for value in getattr(each, field)]
