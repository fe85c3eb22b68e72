"""What one process of a stream knows of itself: for its status line, its status file, its metrics.

None of it decides anything, and a bundle that fails has counted what it did until then.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import numpy.typing as npt
import pyarrow as pa

from .dead_letter_codes import DeadLetterCodes
from .latencies import Latencies

StreamOutcome = Literal["read", "predicted", "dead_lettered", "deduplicated"]
OUTCOMES: tuple[StreamOutcome, ...] = ("read", "predicted", "dead_lettered", "deduplicated")

STARTING = "starting"
PULLING = "pulling"
DRAINING = "draining"
DRAINED = "drained"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a process at one moment.

    Attributes:
        at: when it was taken, in seconds since 1970.
        elapsed_secs: since the count began.
        rows: by outcome; all outcomes are there.
        sink_rows: rows that each sink has written.
        codes: dead letters by `stage/error_code`.
        examples: of a dead letter of each of these.
        latency: from the publishing of a message until what became of it is durable.
        messages_in_hand: pulled, and not yet acknowledged or handed back.
        bytes_in_hand: of these messages.
        oldest_age_secs: since the oldest message in hand was published; None if there is none.
        state: `starting`, `pulling`, `retrying`, `draining`, ...
        reason: of the state; may be empty.
        model_version: empty until a model has scored.
    """

    at: float
    elapsed_secs: float
    rows: Mapping[StreamOutcome, int]
    sink_rows: Mapping[str, int]
    codes: Mapping[str, int]
    examples: Mapping[str, str]
    latency: Latencies
    messages_in_hand: int
    bytes_in_hand: int
    oldest_age_secs: float | None
    state: str
    reason: str
    model_version: str

    def rows_per_sec(self, outcome: StreamOutcome, since: "Snapshot | None" = None) -> float:
        """The rate of an outcome since an earlier snapshot, or since the count began."""
        rows = self.rows[outcome] - (since.rows[outcome] if since else 0)
        secs = self.elapsed_secs - (since.elapsed_secs if since else 0.0)
        return rows / secs if secs > 0 else 0.0


class HasSnapshot(Protocol):
    """Whoever knows how a stream is doing: one process, or several together."""

    def snapshot(self) -> Snapshot:
        """All of it at one moment."""
        ...


class Telemetry:
    """Counts and states of a process; any thread may call any method at any time."""

    def __init__(self) -> None:
        # Reentrant: a signal's handler may come in while the main thread counts.
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forgets everything: for a process that runs one stream after the other."""
        with self._lock:
            self._started = time.monotonic()
            self._rows: dict[StreamOutcome, int] = dict.fromkeys(OUTCOMES, 0)
            self._sink_rows: dict[str, int] = {}
            self._codes = DeadLetterCodes()
            self._latency = Latencies.none()
            self._in_hand: tuple[int, int, float | None] = (0, 0, None)
            self._state, self._reason = STARTING, ""
            self._is_draining = False
            self._model_version = ""

    def count(self, outcome: StreamOutcome, rows: int) -> None:
        """Adds rows of one outcome; call it once for each batch."""
        with self._lock:
            self._rows[outcome] += rows

    def count_sink(self, name: str, rows: int) -> None:
        """Adds rows that a sink has written durably."""
        with self._lock:
            self._sink_rows[name] = self._sink_rows.get(name, 0) + rows

    def note_dead_letters(self, dead_letters: pa.RecordBatch) -> None:
        """Counts dead letters by their reasons, not as an outcome: `count` does that."""
        with self._lock:
            self._codes.note(dead_letters)

    def observe_latency(self, secs: npt.ArrayLike) -> None:
        """Adds, for each message of a batch, the seconds from its publishing until now.

        Args:
            secs: one-dimensional; NaN where the time of publishing is unknown.
        """
        with self._lock:
            self._latency = self._latency.plus(secs)

    def quantile(self, q: float, since: Snapshot | None = None) -> float | None:
        """The latency in seconds of a share `q` of the messages; None if there was none.

        Args:
            q: 0.5 for the median.
            since: only messages after this snapshot count.
        """
        with self._lock:
            latency = self._latency
        return (latency.since(since.latency) if since else latency).quantile(q)

    def set_state(self, state: str, reason: str = "") -> bool:
        """Says what the reader does now and why; gives whether it did something else before.

        A new reason for the same state is taken over, but is no change of the state. Whoever says
        after trouble that all is well again need not know of a drain: what was draining still is.
        """
        with self._lock:
            self._is_draining |= state == DRAINING
            state = DRAINING if state == PULLING and self._is_draining else state
            is_new = state != self._state
            self._state, self._reason = state, reason
        return is_new

    def show_trouble(self, reason: str) -> None:
        """Says why something does not work now, or with "" that it does again."""
        self.set_state("retrying" if reason else PULLING, reason)

    def in_hand(self, messages: int, bytes: int, oldest: float | None) -> None:  # noqa: A002
        """Sets what was pulled and is not yet acknowledged.

        Args:
            messages: how many.
            bytes: of their payloads.
            oldest: when the oldest was published, in seconds since 1970.
        """
        with self._lock:
            self._in_hand = (messages, bytes, oldest)

    @property
    def has_read(self) -> bool:
        """Whether a stream was read here."""
        return self._state != STARTING

    @property
    def is_draining(self) -> bool:
        """Whether the stream is about to end."""
        return self._is_draining

    @property
    def model_version(self) -> str:
        """The version of the model that scored last; empty before."""
        return self._model_version

    @model_version.setter
    def model_version(self, version: str) -> None:
        self._model_version = version

    def snapshot(self) -> Snapshot:
        """All of it at one moment."""
        at = time.time()
        with self._lock:
            messages, size, oldest = self._in_hand
            return Snapshot(
                at=at,
                elapsed_secs=time.monotonic() - self._started,
                rows=MappingProxyType(dict(self._rows)),
                sink_rows=MappingProxyType(dict(self._sink_rows)),
                codes=MappingProxyType(dict(self._codes.counts)),
                examples=MappingProxyType(dict(self._codes.examples)),
                latency=self._latency,
                messages_in_hand=messages,
                bytes_in_hand=size,
                oldest_age_secs=None if oldest is None else max(at - oldest, 0.0),
                state=self._state,
                reason=self._reason,
                model_version=self._model_version,
            )


TELEMETRY = Telemetry()
