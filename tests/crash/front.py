"""A gRPC server before the emulator: passes calls on, keeps count of leases, fails on request.

Only the stream under test goes through it; publishers and the test itself call the emulator. So
what is in hand at the moment of a fault is counted by somebody else than the stream.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
from emulator import Client, free_port
from google.pubsub_v1 import types

PULL = "Subscriber/Pull"
ACKNOWLEDGE = "Subscriber/Acknowledge"
MODIFY = "Subscriber/ModifyAckDeadline"
PUBLISH = "Publisher/Publish"

_THREADS = 48  # a pull that waits for messages holds one
_PREFIX = "/google.pubsub.v1."
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.so_reuseport", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Front:
    """A server on a port of its own, for all its starts.

    Args:
        upstream: the address of the emulator.
    """

    def __init__(self, upstream: str):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.leases = Leases()
        self.calls: Counter[str] = Counter()
        self._upstream = upstream
        self._channel = grpc.insecure_channel(upstream, options=_OPTIONS)
        self._refused: dict[str, grpc.StatusCode] = {}
        self._unanswered: set[str] = set()
        self._server: grpc.Server | None = None

    def __enter__(self) -> "Front":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._channel.close()

    def start(self) -> None:
        """Listens."""
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS), handlers=[_Handlers(self.forward)], options=_OPTIONS
        )
        assert self._server.add_insecure_port(self.address) == self.port
        self._server.start()

    def stop(self) -> None:
        """Refuses connections, as a service that is gone; what runs is cancelled."""
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    @contextmanager
    def refusing(
        self, *methods: str, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    ) -> Iterator[None]:
        """Answers calls of these methods with an error, and does not pass them on."""
        self._refused |= dict.fromkeys(methods, code)
        try:
            yield
        finally:
            for method in methods:
                del self._refused[method]

    @contextmanager
    def losing_answers(self, *methods: str) -> Iterator[None]:
        """Passes calls of these methods on, and answers with an error whatever came of them."""
        self._unanswered |= set(methods)
        try:
            yield
        finally:
            self._unanswered -= set(methods)

    def expire(self, subscription: str) -> None:
        """Ends all leases now, instead of waiting until they end by themselves.

        For leases of a process that is dead: nobody else may know of them.
        """
        ack_ids = self.leases.take()
        client = Client(self._upstream)
        for start in range(0, len(ack_ids), 1_000):
            client.hand_back(subscription, ack_ids[start : start + 1_000])
        client.close()

    def forget(self) -> None:
        """Starts to count anew."""
        self.leases = Leases()

    def forward(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Passes one call on, with its deadline; a caller that is gone cancels it."""
        self.calls[method] += 1
        if method in self._refused:
            self.calls[f"{method} refused"] += 1
            context.abort(self._refused[method], "refused by the test")
        call = self._channel.unary_unary(_PREFIX + method).future(
            request, timeout=context.time_remaining()
        )
        if not context.add_callback(call.cancel):
            call.cancel()
        try:
            answer: bytes = call.result()
        except grpc.FutureCancelledError:
            context.abort(grpc.StatusCode.CANCELLED, "the caller is gone")
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        self.leases.note(method, request, answer)
        if method in self._unanswered:
            self.calls[f"{method} unanswered"] += 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost by the test")
        return answer


class Leases:
    """What was delivered and is neither acknowledged nor handed back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: dict[str, str] = {}  # message ids by ack id
        self._acknowledged: set[str] = set()
        self._delivered: Counter[str] = Counter()

    def note(self, method: str, request: bytes, answer: bytes) -> None:
        """Notes what a call has changed."""
        if method == PULL:
            received = types.PullResponse.pb().FromString(answer).received_messages
            with self._lock:
                for each in received:
                    self._messages[each.ack_id] = each.message.message_id
                    self._delivered[each.message.message_id] += 1
        elif method == ACKNOWLEDGE:
            ack_ids = types.AcknowledgeRequest.pb().FromString(request).ack_ids
            with self._lock:
                known = [ack_id for ack_id in ack_ids if ack_id in self._messages]
                self._acknowledged |= {self._messages.pop(ack_id) for ack_id in known}
        elif method == MODIFY:
            modified = types.ModifyAckDeadlineRequest.pb().FromString(request)
            if not modified.ack_deadline_seconds:
                with self._lock:
                    for ack_id in modified.ack_ids:
                        self._messages.pop(ack_id, None)

    def in_hand(self) -> set[str]:
        """The messages that somebody holds, by their ids."""
        with self._lock:
            return set(self._messages.values()) - self._acknowledged

    def acknowledged(self) -> set[str]:
        """The messages that were acknowledged so far, by their ids."""
        with self._lock:
            return set(self._acknowledged)

    def redelivered(self) -> int:
        """How many deliveries there were beyond the first of each message."""
        with self._lock:
            return sum(self._delivered.values()) - len(self._delivered)

    def take(self) -> list[str]:
        """Forgets all leases; gives their ack ids."""
        with self._lock:
            ack_ids = list(self._messages)
            self._messages.clear()
            return ack_ids


def wait_until(condition: Callable[[], Any], secs: float, what: str) -> None:
    """Waits until something is so; an AssertionError says what was not so in time."""
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, f"not within {secs:g} s: {what}"
        time.sleep(0.02)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, forward: Callable[[str, bytes, grpc.ServicerContext], bytes]):
        self._forward = forward

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method.removeprefix(_PREFIX)
        return grpc.unary_unary_rpc_method_handler(partial(self._forward, method))
