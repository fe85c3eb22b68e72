"""A Pub/Sub client without a service, for what the emulator cannot be made to do."""

import itertools
import threading
import time
from collections import defaultdict
from concurrent.futures import CancelledError, Future

import grpc
from google.pubsub_v1 import types
from refused import Refused

from scoreline.transforms.pubsub_client import Subscription

__all__ = ["SUBSCRIPTION", "TOPIC", "FakeClient", "Refused", "eventually", "threads"]

SUBSCRIPTION = "projects/p/subscriptions/s"
TOPIC = "projects/p/topics/t"


class FakePull(Future):
    def result(self, timeout=None):
        try:
            return super().result(timeout)
        except CancelledError:
            raise grpc.FutureCancelledError from None


class FakeClient:
    """Has the methods of PubsubClient and remembers what they were called with.

    `errors` holds what the next calls of a method raise; "forever" ones stay.
    """

    def __init__(self):
        self.acknowledged = []
        self.extended = []  # (ack ids, secs, at)
        self.published = []  # of each request, its messages
        self.pulls = []  # how many messages each asked for
        self.errors = defaultdict(list)
        self.forever = {}
        self.hold = threading.Event()  # calls wait for it, but pulls
        self.hold.set()
        self._lock = threading.Lock()
        self._ready, self._parked = [], []
        self._numbers = itertools.count()

    @property
    def handed_back(self):
        return [ack_id for ids, secs, _ in self.extended if secs == 0 for ack_id in ids]

    @property
    def parked(self):
        with self._lock:
            return [pull for _, pull in self._parked if not pull.done()]

    def deliver(self, *payloads, attributes=None, age_secs=0.0, key=""):
        """Has messages come, with the ids 0, 1, ... as one pull or, if too many, more."""
        received = []
        for payload in payloads:
            number = next(self._numbers)
            one = types.ReceivedMessage.pb()(ack_id=f"ack{number}")
            one.message.data, one.message.message_id = payload, str(number)
            one.message.ordering_key = key
            one.message.publish_time.FromNanoseconds(int((time.time() - age_secs) * 1e9))
            one.message.attributes.update(attributes or {})
            received.append(one)
        with self._lock:
            self._ready += received
            parked, self._parked = self._parked, []
            for most, pull in parked:
                self._serve(most, pull)
        return [one.ack_id for one in received]

    def describe_subscription(self, path):
        self._call("describe_subscription")
        return Subscription(TOPIC, 10.0)

    def start_pull(self, path, max_messages, timeout_secs):
        pull = FakePull()
        with self._lock:
            self.pulls.append(max_messages)
            if (error := self._error("start_pull")) is not None:
                pull.set_exception(error)
            else:
                self._serve(max_messages, pull)
        return pull

    def acknowledge(self, path, ack_ids):
        self._call("acknowledge")
        self.acknowledged += ack_ids

    def extend(self, path, ack_ids, secs):
        self._call("extend")
        self.extended.append((list(ack_ids), secs, time.monotonic()))

    def publish(self, topic, messages):
        self._call("publish")
        with self._lock:
            self.published.append(list(messages))

    def _call(self, name):
        assert self.hold.wait(10)
        with self._lock:
            error = self._error(name)
        if error is not None:
            raise error

    def _error(self, name):
        return self.errors[name].pop(0) if self.errors[name] else self.forever.get(name)

    def _serve(self, most, pull):
        if pull.done():
            return
        if not self._ready:
            self._parked.append((most, pull))
            return
        some, self._ready = self._ready[:most], self._ready[most:]
        response = types.PullResponse.pb()()
        response.received_messages.extend(some)
        pull.set_result(response)


def eventually(condition, secs=5.0):
    """Waits for what another thread does; gives whether it came."""
    deadline = time.monotonic() + secs
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def threads(*names):
    """The threads of ours that are alive, whose names start with one of these words."""
    names = names or ("scoreline-pull", "scoreline-keep", "scoreline-settle", "scoreline-close")
    return [thread for thread in threading.enumerate() if thread.name.startswith(names)]
