"""What one process pulls of a subscription: one feed, from which all of its readers take.

Runners close and create readers as they like, several of one source in a process too. A feed lives
as long as any reader has joined it, so that none of that costs a pull, and nothing waits in a
reader that nobody asks any more.
"""

import threading
import time
from dataclasses import dataclass

from .drain import is_draining, on_drain
from .leases import Lease, Leases
from .pubsub_client import client
from .puller import Pulled, Puller
from .telemetry import TELEMETRY

_LOOK_SECS = 0.005  # at the end of a stream only

BundleKey = tuple[str, int]  # a reader and the number of its bundle


@dataclass(frozen=True)
class FeedSettings:
    """What is pulled, and how far ahead; see `pubsub_source.PubSubSource`."""

    subscription: str
    deadline_secs: float
    pull_threads: int
    max_messages: int
    max_bytes: int
    max_lease_secs: float
    attributes: bool


@dataclass
class _Bundle:
    """The messages of a bundle whose mark was cut and not finalized yet."""

    feed: "Feed"
    taken: list[Lease]


class Feed:
    """The messages of one subscription that are in this process's hands.

    Args:
        settings: what is pulled, and how far ahead.
    """

    def __init__(self, settings: FeedSettings):
        self._settings = settings
        self.leases = Leases(
            client(), settings.subscription, settings.deadline_secs, settings.max_lease_secs
        )
        self._puller = Puller(
            client(),
            settings.subscription,
            self.leases,
            threads=settings.pull_threads,
            max_messages=settings.max_messages,
            max_bytes=settings.max_bytes,
            attributes=settings.attributes,
        )
        self._readers = 0
        self._last_came = time.monotonic()
        self._closer: threading.Thread | None = None
        self._has_ended = False
        self._forget_drain = on_drain(self.close)  # what waits need not wait for a reader to ask
        if is_draining():
            self._puller.wake()

    @classmethod
    def join(cls, settings: FeedSettings) -> "Feed":
        """The process's feed with these settings, for one more reader."""
        with _LOCK:
            feed = _feeds.get(settings)
            if feed is None:
                feed = _feeds[settings] = cls(settings)
            feed._readers += 1
        return feed

    def leave(self, taken: list[Lease]) -> None:
        """Says that a reader has gone; what it took and did not mark is handed back."""
        with _LOCK:
            self._readers -= 1
            is_last = self._readers == 0
            has_ended = self._has_ended
        if is_last:
            self.close(taken)
        if is_last and has_ended:
            self.leases.close()
        self.leases.hand_back([] if is_last else taken)

    def take(self, max_messages: int, until: float) -> list[Pulled]:
        """What has come; see `Puller.take`."""
        taken = self._puller.take(max_messages, until)
        if taken or self._puller.is_in_trouble:
            # Where the service does not answer, that nothing comes does not say there is nothing.
            self._last_came = time.monotonic()
        return taken

    @property
    def idle_secs(self) -> float:
        """How long no reader of this process has got a message."""
        return time.monotonic() - self._last_came

    @property
    def num_bytes(self) -> int:
        """Of the payloads that wait to be taken."""
        return self._puller.num_bytes

    @property
    def is_closed(self) -> bool:
        """Whether no more is pulled."""
        return self._closer is not None

    def mark(self, key: BundleKey, taken: list[Lease]) -> None:
        """Keeps the messages of a bundle until its mark is finalized."""
        if taken:
            _open_bundles[key] = _Bundle(self, taken)

    def close(self, taken: list[Lease] | None = None) -> None:
        """Stops pulling and hands back what waits, in a thread; it does nothing a second time.

        What readers took stays leased while they are there, and for a minute more: it may still be
        acknowledged.
        """
        with _LOCK:
            if self._closer is None:
                if _feeds.get(self._settings) is self:
                    del _feeds[self._settings]
                _closing[:] = [each for each in _closing if not each.is_settled()] + [self]
                self._closer = threading.Thread(
                    target=self._close, args=(taken or [],), name="scoreline-close", daemon=True
                )
                self._closer.start()
                return
        self.leases.hand_back(taken or [])

    def _close(self, taken: list[Lease]) -> None:
        self._forget_drain()
        self._puller.close()  # first, or it would pull again what is handed back
        self.leases.hand_back(taken)
        self.leases.end()
        with _LOCK:
            self._has_ended = True
            has_readers = self._readers > 0
        if not has_readers:
            self.leases.close()

    def is_settled(self) -> bool:
        """Whether it has closed and nothing is in hand any more."""
        is_closed = self._closer is not None and not self._closer.is_alive()
        return is_closed and not self.leases.num_messages

    def settle(self, deadline: float) -> bool:
        """Waits, by the monotonic clock until `deadline`, for a feed that was closed to settle.

        A mark that was not finalized until now is taken for one that never will be.
        """
        if self._closer is not None:
            self._closer.join(max(0.0, deadline - time.monotonic()))
        for key in [key for key, bundle in list(_open_bundles.items()) if bundle.feed is self]:
            bundle = _open_bundles.pop(key, None)
            if bundle is not None:
                self.leases.hand_back(bundle.taken)
        self.leases.close()  # the pipeline has ended, whether its readers were closed or not
        is_told = self.leases.settled(max(0.0, deadline - time.monotonic()))
        return is_told and self.is_settled()


_LOCK = threading.Lock()
_feeds: dict[FeedSettings, Feed] = {}
_closing: list[Feed] = []
_open_bundles: dict[BundleKey, _Bundle] = {}


def acknowledge_bundle(key: BundleKey) -> None:
    """Acknowledges the messages of a bundle, in the background and with retries.

    In another process than the one that pulled there is nothing to do: the service redelivers.
    """
    bundle = _open_bundles.pop(key, None)
    if bundle is not None:
        TELEMETRY.count("read", sum(len(lease.ack_ids) for lease in bundle.taken))
        bundle.feed.leases.acknowledge(bundle.taken)


def wait_until_empty(timeout_secs: float) -> bool:
    """Waits until no closed feed of this process has a message in hand; gives whether it is so."""
    deadline = time.monotonic() + timeout_secs
    with _LOCK:
        feeds = list(_closing)
    return all(_is_settled_by(feed, deadline) for feed in feeds)


def _is_settled_by(feed: Feed, deadline: float) -> bool:
    while not feed.is_settled():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECS)
    return True


def settle(timeout_secs: float) -> bool:
    """Waits until every feed of this process that has closed is done with its messages.

    It is for the end of a pipeline: the messages of bundles without finalization are handed back.

    Returns:
        Whether all was acknowledged or handed back in time.
    """
    deadline = time.monotonic() + timeout_secs
    with _LOCK:
        feeds = list(_closing)
        _closing.clear()
    settled = [feed.settle(deadline) for feed in feeds]
    return all(settled)
