"""Turns what a subscription gives into arrays: a subscriber in a process of its own.

::

    python benchmarks/collect.py SUBSCRIPTION --to arrays.npz --messages 2000 --idle-secs 20

It ends when so many different messages have come, when none has come for some seconds, or on
SIGTERM. It prints `ready` when the first has come, and at last one line of JSON: what the messages
look like. Arrays, with an element for each delivery: `tx_id`, `sent`, `prediction` (NaN where there
is none), `published` (the time that the server has put on the message) and `received`. Messages
that only tell that a program is ready, with ids from READY_ID on, are left out.
"""

import argparse
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from pubsub_calls import PubsubCalls

READY_ID = 10**9
_THREADS = 2

Row = tuple[int, float, float, float, float]


class Collector:
    """Pulls and acknowledges until enough has come."""

    def __init__(self, subscription: str, num_messages: int):
        self._calls = PubsubCalls()
        self._subscription = subscription
        self._num_messages = num_messages
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._seen: set[int] = set()
        self._looks: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
        self._last = time.monotonic()
        self._is_ready = False
        self.done = threading.Event()

    def run(self, idle_secs: float) -> None:
        """Pulls in threads until `done` is set, by enough messages, by silence or from outside."""
        for _ in range(_THREADS):
            threading.Thread(target=self._work, daemon=True).start()
        while not self.done.wait(0.1):
            if time.monotonic() - self._last > idle_secs:
                self.done.set()

    def save(self, path: Path) -> None:
        """Writes the arrays and prints what the messages look like."""
        with self._lock:
            rows, looks = list(self._rows), sorted(self._looks)
        names = ("tx_id", "sent", "prediction", "published", "received")
        columns = zip(*rows, strict=True) if rows else ((),) * len(names)
        np.savez(path, **dict(zip(names, map(np.array, columns), strict=True)))
        print(json.dumps({"deliveries": len(rows), "looks": looks}), flush=True)

    def _work(self) -> None:
        while not self.done.is_set():
            received = self._calls.pull(self._subscription)
            now = time.time()
            if received:
                self._calls.acknowledge(self._subscription, [each.ack_id for each in received])
                self._note([each.message for each in received], now)

    def _note(self, messages: list[Any], now: float) -> None:
        rows: list[Row] = []
        looks = set()
        for message in messages:
            body = orjson.loads(message.data)
            published = message.publish_time.seconds + message.publish_time.nanos / 1e9
            rows.append(
                (body["tx_id"], body["sent"], body.get("prediction", np.nan), published, now)
            )
            looks.add((tuple(body), tuple(sorted(message.attributes))))
        with self._lock:
            self._last = time.monotonic()
            self._rows += [row for row in rows if row[0] < READY_ID]
            self._looks |= looks
            self._seen.update(row[0] for row in rows if row[0] < READY_ID)
            if not self._is_ready:
                print("ready", flush=True)
                self._is_ready = True
            if 0 < self._num_messages <= len(self._seen):
                self.done.set()


def main() -> None:
    """Reads the command line, collects and saves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("subscription")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--idle-secs", type=float, default=30.0)
    args = parser.parse_args()
    collector = Collector(args.subscription, args.messages)
    signal.signal(signal.SIGTERM, lambda *_: collector.done.set())
    collector.run(args.idle_secs)
    collector.save(args.to)
    os._exit(0)  # threads wait in calls


if __name__ == "__main__":
    main()
