"""Keeps messages leased while they are in hand, then acknowledges them or hands them back.

A message that was pulled belongs to this process until its lease ends; then the service gives it
to somebody else. So a thread extends the leases of what is in hand, up to a hard limit: a bundle
that died while its process lives must not hold its messages for ever.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import grpc

from .pubsub_client import TRANSIENT, PubsubClient
from .trouble import Trouble

_LOGGER = logging.getLogger(__name__)

_EXTEND_AT = 0.4  # of a lease's length; one attempt may fail and there is time for the next
_CLOSED_SECS = 60.0  # how long leases are extended once the last reader has gone: its last bundle
_HAND_BACK_SECS = 5.0  # how long handing back is tried; the lease ends by itself at some time
_AGAIN_SECS = 0.2
_LOOK_SECS = 1.0  # how often leases are looked at, at the least


@dataclass(eq=False, slots=True)
class Lease:
    """The lease of the messages of one pull.

    Attributes:
        ack_ids: of each message.
        oldest: when the oldest of them was published, in seconds since 1970.
        taken_at: when they were pulled, by the monotonic clock.
        renewed_at: when the lease was last extended.
    """

    ack_ids: Sequence[str]
    oldest: float
    taken_at: float = field(default_factory=time.monotonic)
    renewed_at: float = field(default_factory=time.monotonic)


class Leases:
    """The leases of one reader.

    Args:
        client: of this process.
        subscription: that the messages were pulled from.
        deadline_secs: how long a lease lasts without extension.
        max_lease_secs: how long a message may be in hand; the service redelivers it then.
    """

    def __init__(
        self, client: PubsubClient, subscription: str, deadline_secs: float, max_lease_secs: float
    ):
        self._client = client
        self._subscription = subscription
        self._deadline_secs = deadline_secs
        self._max_lease_secs = max_lease_secs
        self._held: set[Lease] = set()
        self._messages = 0
        self._settled: deque[tuple[bool, list[Lease]]] = deque()  # (done with?, which)
        self._unsettled = 0  # entries that were taken from the deque or are still in it
        self._changed = threading.Condition()
        self._closed = False
        self._closed_at = math.inf
        self._trouble = Trouble(f"acknowledging to {subscription}")
        for work in (self._keep, self._settle):
            name = f"scoreline-{work.__name__.strip('_')}"
            threading.Thread(target=work, name=name, daemon=True).start()

    def add(self, ack_ids: Sequence[str], oldest: float) -> Lease:
        """Takes messages in hand that were just pulled."""
        lease = Lease(ack_ids, oldest)
        with self._changed:
            if not self._closed:  # or nobody would let go of what came too late
                self._held.add(lease)
                self._messages += len(ack_ids)
        return lease

    @property
    def num_messages(self) -> int:
        """How many messages are in hand."""
        return self._messages

    def oldest(self) -> float | None:
        """When the oldest message in hand was published; None if none is."""
        with self._changed:
            return min((lease.oldest for lease in self._held), default=None)

    def acknowledge(self, leases: Iterable[Lease]) -> None:
        """Has messages acknowledged, in the background: what was done with them is durable."""
        self._put(True, list(leases))

    def hand_back(self, leases: Iterable[Lease]) -> None:
        """Has messages redelivered at once, in the background: nothing was done with them."""
        self._put(False, list(leases))

    def settled(self, timeout_secs: float) -> bool:
        """Waits until all that was acknowledged or handed back has reached the service."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unsettled, timeout_secs)

    def end(self) -> None:
        """Says that no message will come any more, while readers work on what is in hand."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Says that the last reader has gone, too; what is in hand may still be settled.

        Whether it is, nobody knows: the bundle may have failed. So leases are extended for a
        minute and then left to end.
        """
        with self._changed:
            self._closed = True
            self._closed_at = min(self._closed_at, time.monotonic())
            self._changed.notify_all()

    def _put(self, done: bool, leases: list[Lease]) -> None:
        if not leases:
            return
        with self._changed:
            is_over = self._closed and not self._held  # they were given up, and the thread ends
            if is_over and not done:
                return
            self._unsettled += 1
            if not is_over:
                self._settled.append((done, leases))
            self._changed.notify_all()
        if is_over:  # but what is done is worth telling: the service may take it nevertheless
            name = "scoreline-settle-late"
            threading.Thread(
                target=self._settle_all, args=([(done, leases)],), name=name, daemon=True
            ).start()

    def _drop(self, leases: Iterable[Lease]) -> None:
        with self._changed:
            for lease in leases:
                if lease in self._held:
                    self._held.remove(lease)
                    self._messages -= len(lease.ack_ids)
            self._changed.notify_all()

    def _settle(self) -> None:
        while (entries := self._next_settled()) is not None:
            self._settle_all(entries)

    def _settle_all(self, entries: list[tuple[bool, list[Lease]]]) -> None:
        for done in (True, False):
            leases = [lease for kind, some in entries if kind is done for lease in some]
            self._send(done, leases)
        with self._changed:
            self._unsettled -= len(entries)
            self._changed.notify_all()

    def _next_settled(self) -> list[tuple[bool, list[Lease]]] | None:
        with self._changed:
            # A reader closes before its last bundle has ended, and only then is that acknowledged.
            self._changed.wait_for(lambda: self._settled or (self._closed and not self._held))
            if not self._settled:
                return None
            entries = list(self._settled)
            self._settled.clear()
            return entries

    def _send(self, done: bool, leases: list[Lease]) -> None:
        """Tells the service, again and again until it hears or the leases have ended anyway.

        What is handed back is only tried for some seconds: a drain waits for it.
        """
        ids = [ack_id for lease in leases for ack_id in lease.ack_ids]
        hand_back_until = time.monotonic() + _HAND_BACK_SECS
        while ids:
            try:
                if done:
                    self._client.acknowledge(self._subscription, ids)
                else:
                    self._client.extend(self._subscription, ids, 0)
            except grpc.RpcError as error:
                until = max(lease.taken_at for lease in leases) + self._max_lease_secs
                if not done:
                    until = min(until, hand_back_until) if is_transient(error) else 0.0
                if time.monotonic() > until:
                    _LOGGER.warning(
                        "%s: %s messages are left to be redelivered: %s",
                        self._subscription,
                        len(ids),
                        reason(error),
                    )
                    break
                time.sleep(self._trouble.failed(reason(error)) if done else _AGAIN_SECS)
            else:
                if done:
                    self._trouble.succeeded()
                break
        self._drop(leases)

    def _keep(self) -> None:
        wait_secs = min(_LOOK_SECS, self._deadline_secs * _EXTEND_AT / 4)
        trouble = Trouble(f"extending leases of {self._subscription}")
        while True:
            with self._changed:
                if self._closed and not self._held:
                    return
                self._changed.wait_for(lambda: self._closed and not self._held, wait_secs)
                due, expired = self._due()
            if expired:
                self._give_up(expired)
            if due:
                self._extend(due, trouble)

    def _due(self) -> tuple[list[Lease], list[Lease]]:
        now = time.monotonic()
        is_late = now > self._closed_at + _CLOSED_SECS
        expired = [
            lease for lease in self._held if is_late or now - lease.taken_at > self._max_lease_secs
        ]
        due = [
            lease
            for lease in self._held.difference(expired)
            if now - lease.renewed_at > _EXTEND_AT * self._deadline_secs
        ]
        return due, expired

    def _give_up(self, leases: list[Lease]) -> None:
        messages = sum(len(lease.ack_ids) for lease in leases)
        _LOGGER.warning(
            "%s: %s messages were in hand for too long and are left to be redelivered",
            self._subscription,
            messages,
        )
        self._drop(leases)

    def _extend(self, due: list[Lease], trouble: Trouble) -> None:
        now = time.monotonic()
        ids = [ack_id for lease in due for ack_id in lease.ack_ids]
        try:
            self._client.extend(self._subscription, ids, self._deadline_secs)
        except grpc.RpcError as error:
            trouble.failed(reason(error))  # the next look tries again
            return
        trouble.succeeded()
        for lease in due:
            lease.renewed_at = now


def reason(error: grpc.RpcError) -> str:
    """What a service answered, in one line."""
    code = error.code() if isinstance(error, grpc.Call) else None
    details = error.details() if isinstance(error, grpc.Call) else str(error)
    return f"{code.name if code else type(error).__name__}: {' '.join(str(details).split())}"


def is_transient(error: grpc.RpcError) -> bool:
    """Whether the same call may succeed later, by what the service answered."""
    return isinstance(error, grpc.Call) and error.code() in TRANSIENT
