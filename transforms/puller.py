"""Pulls messages in threads of its own, as far ahead as flow control lets it."""

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import grpc

from .leases import Lease, Leases, is_transient, reason
from .pubsub_client import PubsubClient
from .telemetry import TELEMETRY
from .trouble import Trouble

_MAX_PULL = 1_000  # messages of one request: the service's own limit

# The service answers an empty pull before, so nothing is lost with the call. Where a stream is
# drained while nothing comes, it is cancelled, and an emulator leases what comes until then to
# nobody: not for long, then.
_PULL_SECS = 10.0
_LAST_PULLS_SECS = 1.0  # what calls in flight get to return: a cancelled one may have leased
_FIRST_PULL = 100  # messages of a request before anybody has said how many a batch may have
_MANY = 100  # messages of a pull: no more than so many come at once unless they have waited
_GATHERED = 2_000  # messages that are worth a wait: a batch costs some ms whatever it holds
_GATHER_SECS = 0.02  # the wait, well below any latency that is wanted
_MAX_QUEUE = 4_000  # messages that wait for the reader; more would only wait, leased


@dataclass(slots=True)
class Pulled:
    """The messages of one pull, field by field, and their lease."""

    lease: Lease
    payloads: list[bytes]
    message_ids: list[str]
    publish_micros: list[int]
    attributes: list[tuple[tuple[str, str], ...]] | None
    ordering_keys: list[str] | None
    num_bytes: int

    def __len__(self) -> int:
        return len(self.payloads)


class Puller:
    """What was pulled from one subscription and not taken yet.

    Args:
        client: of this process.
        subscription: to pull from.
        leases: that the messages are added to.
        threads: how many calls may wait for messages at a time.
        max_messages: in hand, taken ones included; several threads may ask for the last ones.
        max_bytes: of payloads that were not taken yet.
        attributes: whether attributes and ordering keys are wanted.
    """

    def __init__(
        self,
        client: PubsubClient,
        subscription: str,
        leases: Leases,
        *,
        threads: int,
        max_messages: int,
        max_bytes: int,
        attributes: bool,
    ):
        self._client = client
        self._subscription = subscription
        self._leases = leases
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._attributes = attributes
        self._queue: deque[Pulled] = deque()
        self._messages = 0
        self._wanted = _FIRST_PULL
        self._bytes = 0
        self._in_flight: set[Future[Any]] = set()
        self._changed = threading.Condition()
        self._stopped = False
        self._closed = False
        self._trouble = Trouble(subscription, on_trouble=TELEMETRY.show_trouble)
        self._threads = [
            threading.Thread(target=self._work, name=f"scoreline-pull-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def take(self, max_messages: int, until: float) -> list[Pulled]:
        """What has come, at most so many messages but at least one pull; waits for the first.

        Of a backlog it waits a little for more: where something waited already, or one pull alone
        has brought many.

        Args:
            max_messages: of all pulls together, if they are several; later pulls ask for no more,
                as a pull is never divided.
            until: by the monotonic clock, when to give nothing.
        """
        taken: list[Pulled] = []
        with self._changed:
            self._wanted = max_messages
            was_waiting = bool(self._queue)
            timeout_secs = max(0.0, until - time.monotonic())
            self._changed.wait_for(lambda: self._queue or self._stopped, timeout_secs)
            is_many = bool(self._queue) and len(self._queue[0]) >= _MANY
            if was_waiting or is_many:  # a backlog: larger batches cost less a row
                wanted = min(max_messages, _GATHERED, self._max_messages // 4)
                self._changed.wait_for(
                    lambda: self._messages >= wanted or self._stopped,
                    min(_GATHER_SECS, max(0.0, until - time.monotonic())),
                )
            while not self._stopped and self._queue:
                if taken and sum(map(len, taken)) + len(self._queue[0]) > max_messages:
                    break
                taken.append(self._queue.popleft())
            self._messages -= sum(map(len, taken))
            self._bytes -= sum(pulled.num_bytes for pulled in taken)
            self._changed.notify_all()
        return taken

    @property
    def num_bytes(self) -> int:
        """Of the payloads that wait to be taken."""
        return self._bytes

    @property
    def is_in_trouble(self) -> bool:
        """Whether the service does not answer, so that nobody knows if there is more."""
        return bool(self._trouble.reason)

    def wake(self) -> None:
        """Has pulling and waiting end at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stops pulling and hands back what was not taken."""
        self.wake()
        deadline = time.monotonic() + _LAST_PULLS_SECS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            late = list(self._in_flight)
        for future in late:
            future.cancel()
        for thread in self._threads:
            thread.join(_LAST_PULLS_SECS)
        with self._changed:
            self._closed = True
            left, self._queue = list(self._queue), deque()
            self._messages = self._bytes = 0
        self._leases.hand_back(pulled.lease for pulled in left)

    def _work(self) -> None:
        while (room := self._room()) > 0:
            response = self._pull(room)
            if response is not None and response.received_messages:
                self._put(self._unpack(response.received_messages))

    def _room(self) -> int:
        """How many messages may be pulled; waits until it is one at least. 0 at the end."""
        with self._changed:
            while not self._stopped:
                room = min(
                    self._max_messages - self._leases.num_messages, _MAX_QUEUE - self._messages
                )
                if room > 0 and self._bytes < self._max_bytes:
                    return min(room, self._wanted, _MAX_PULL)
                # What is acknowledged makes room, too, without telling us.
                self._changed.wait(0.02)
        return 0

    def _pull(self, room: int) -> Any:
        with self._changed:
            if self._stopped:
                return None
            future = self._client.start_pull(self._subscription, room, _PULL_SECS)
            self._in_flight.add(future)
        try:
            response = future.result()
        except grpc.RpcError as error:
            self._failed(error)
            return None
        except grpc.FutureCancelledError:
            return None
        finally:
            with self._changed:
                self._in_flight.discard(future)
        self._succeeded()
        return response

    def _succeeded(self) -> None:
        if self._trouble.reason:
            self._trouble.succeeded()
            with self._changed:
                self._changed.notify_all()  # the other threads need not wait any longer

    def _failed(self, error: grpc.RpcError) -> None:
        is_call = isinstance(error, grpc.Call)
        if self._stopped:
            return
        if is_call and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            if self._trouble.reason and self._is_answering():
                self._succeeded()
            return  # nothing came
        wait_secs = self._trouble.failed(reason(error))
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._trouble.reason, wait_secs)

    def _is_answering(self) -> bool:
        """Whether the service answers, be it with a refusal: that nothing came does not tell."""
        try:
            self._client.describe_subscription(self._subscription)
        except grpc.RpcError as error:
            return not is_transient(error)
        return True

    def _put(self, pulled: Pulled) -> None:
        with self._changed:
            if not self._closed:
                self._queue.append(pulled)
                self._messages += len(pulled)
                self._bytes += pulled.num_bytes
                self._changed.notify_all()
                return
        self._leases.hand_back([pulled.lease])  # nobody looks into the queue any more

    def _unpack(self, received: Any) -> Pulled:
        messages = [each.message for each in received]
        payloads = [message.data for message in messages]
        times = [message.publish_time for message in messages]
        micros = [time_.seconds * 1_000_000 + time_.nanos // 1_000 for time_ in times]
        lease = self._leases.add([each.ack_id for each in received], min(micros) / 1e6)
        return Pulled(
            lease,
            payloads,
            [message.message_id for message in messages],
            micros,
            [tuple(message.attributes.items()) for message in messages]
            if self._attributes
            else None,
            [message.ordering_key for message in messages] if self._attributes else None,
            sum(map(len, payloads)),
        )
