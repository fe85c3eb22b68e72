"""Turns a schedule into messages: a publisher in a process of its own.

A message is a JSON object of about 420 bytes: `tx_id`, its place in the schedule; `sent`, the
seconds since 1970 when its request was begun; and the features f00..f19 of data.py's models, drawn
from a seed and repeated every 10,000 messages.

::

    python benchmarks/publish.py TOPIC 100:20 5000:20         # messages per second : seconds
    python benchmarks/publish.py TOPIC --backlog 100000       # as fast as they are taken
    python benchmarks/publish.py TOPIC 400:3600 --per-request 1

SIGTERM ends it after the request that it is at. The last line on stdout says how many messages were
taken, for how long it ran, and how far behind its schedule it was at most.
"""

import argparse
import json
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pubsub_calls import MAX_MESSAGES, PubsubCalls, PubsubMessage
from schedule import Phase

FEATURES = tuple(f"f{number:02d}" for number in range(20))
DIFFERENT = 10_000  # rows; then they repeat

_SEED = 20_240_609
_TICK_SECS = 0.01  # how often a request goes out, if there is more than one message for it
_IN_FLIGHT = 32  # requests


def features() -> list[bytes]:
    """Returns the part of each different message that no clock changes."""
    values = np.random.default_rng(_SEED).standard_normal((DIFFERENT, len(FEATURES)))
    rows = np.round(values, 6).tolist()
    texts = (json.dumps(dict(zip(FEATURES, row, strict=True)))[1:] for row in rows)
    return [text.encode() for text in texts]


class Publisher:
    """Publishes messages one after the other, a few requests at a time."""

    def __init__(self, topic: str, first_id: int):
        self._calls = PubsubCalls()
        self._topic = topic
        self._features = features()
        self._waiting: deque[Any] = deque()
        self._next_id = first_id
        self._stopped = False
        self.published = 0

    def stop(self) -> None:
        """Has the schedule end after this request."""
        self._stopped = True

    def backlog(self, num_messages: int) -> None:
        """Publishes messages as fast as they are taken."""
        while self.published < num_messages and not self._stopped:
            self._publish(min(MAX_MESSAGES, num_messages - self.published))
        self._wait(0)

    def steady(self, phases: Sequence[Phase], per_request: int) -> float:
        """Publishes messages when they are due; returns the seconds it was late at most.

        Args:
            phases: when they are due.
            per_request: how many to wait for before a request goes out, at the least.
        """
        latest = 0.0
        for count, due in _requests(phases, per_request):
            late = time.monotonic() - due
            if late < 0:
                time.sleep(-late)
            latest = max(latest, late)
            if self._stopped:
                break
            self._publish(count)
        self._wait(0)
        return latest

    def _publish(self, count: int) -> None:
        self._wait(_IN_FLIGHT - 1)
        now = time.time()
        messages = [
            PubsubMessage(
                data=b'{"tx_id": %d, "sent": %.6f, %b'
                % (number, now, self._features[number % DIFFERENT])
            )
            for number in range(self._next_id, self._next_id + count)
        ]
        self._waiting.append(self._calls.start_publish(self._topic, messages))
        self._next_id += count
        self.published += count

    def _wait(self, most: int) -> None:
        """Waits until at most so many requests are under way; raises what went wrong."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()


def _requests(phases: Sequence[Phase], per_request: int) -> Iterator[tuple[int, float]]:
    """Turns a schedule into requests: how many messages, and when by the monotonic clock.

    All times are counted from the start: a request that is late does not make the next ones late.
    """
    begins = time.monotonic()
    for phase in phases:
        tick_secs = max(
            _TICK_SECS if per_request == 0 else 0.0, max(1, per_request) / phase.per_sec
        )
        sent, tick = 0, 0
        while sent < phase.messages:
            due = min(phase.messages, int((tick + 1) * tick_secs * phase.per_sec + 0.5))
            if due > sent:
                yield due - sent, begins + tick * tick_secs
            sent, tick = due, tick + 1
        begins += phase.secs


def main() -> None:
    """Reads the command line and publishes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("topic")
    parser.add_argument("phases", nargs="*", type=Phase.of)
    parser.add_argument("--backlog", type=int, default=0)
    parser.add_argument("--first-id", type=int, default=0)
    parser.add_argument("--per-request", type=int, default=0)
    args = parser.parse_args()
    publisher = Publisher(args.topic, args.first_id)
    signal.signal(signal.SIGTERM, lambda *_: publisher.stop())
    began = time.monotonic()
    publisher.backlog(args.backlog)
    late = publisher.steady(args.phases, args.per_request)
    said = {"published": publisher.published, "secs": time.monotonic() - began, "late_secs": late}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
