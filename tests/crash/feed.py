"""A publisher in a process of its own, and the account of what became of its messages.

    python feed.py ADDRESS TOPIC LOG --rate 2000 --bad-every 50

publishes messages with the ids 0, 1, 2, ... at a steady rate until SIGTERM, through whatever
happens to the emulator. LOG gets a line of JSON for each confirmed request: {"first": the id of its
first message, "message_ids": the queue's own ids}.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))  # when run as a program
from emulator import Client

RATE = 2_000  # messages per second
_REQUESTS_PER_SEC = 20
_RETRY_SECS = 0.1

# What may be wrong with a message, in turn.
BAD = ("malformed", "empty", "not utf-8", "text for a number", "null", "not an object")


def message(number: int, bad_every: int = 0) -> bytes:
    """The message with an id; each `bad_every`-th cannot be scored, in another way each time."""
    a, b, c = ((number * step) % 2_003 / 1_000 - 1 for step in (7, 13, 29))
    good = {"id": number, "a": round(a, 3), "b": round(b, 3), "c": round(c, 3)}
    if not is_bad(number, bad_every):
        return json.dumps(good).encode()
    return {
        "malformed": b'{"id": %d, "a": ' % number,
        "empty": b"",
        "not utf-8": b'{"id": %d, "a": "\xff\xfe"}' % number,
        "text for a number": json.dumps(good | {"a": "many"}).encode(),
        "null": json.dumps(good | {"b": None}).encode(),
        "not an object": b"[%d]" % number,
    }[BAD[number // bad_every % len(BAD)]]


def is_bad(number: int, bad_every: int) -> bool:
    """Whether the message with an id cannot be scored."""
    return bool(bad_every) and number % bad_every == bad_every - 1


class Feed:
    """A running publisher; it does not outlive its parent.

    Args:
        address: the emulator's.
        topic: the path of what it publishes to.
        log: a file for what was confirmed.
        rate: messages per second.
        bad_every: see `message`.
        copies: how often each message is published.
    """

    def __init__(
        self,
        address: str,
        topic: str,
        log: Path,
        *,
        rate: float = RATE,
        bad_every: int = 0,
        copies: int = 1,
    ):
        self.log = log
        self.bad_every = bad_every
        flags = [f"--rate={rate}", f"--bad-every={bad_every}", f"--copies={copies}"]
        self._process = subprocess.Popen(
            [sys.executable, __file__, address, topic, str(log), *flags],
            stdin=subprocess.DEVNULL,
        )

    def stop(self) -> dict[str, int]:
        """Ends it after the request that it is at; gives all that was published."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        assert code == 0, f"the publisher ended with code {code}"
        return self.published()

    def kill(self) -> None:
        """Ends it, if it still runs."""
        self._process.kill()
        self._process.wait()

    def published(self) -> dict[str, int]:
        """The id in the payload by the queue's own id, of all that was confirmed so far."""
        return read_log(self.log)


def read_log(log: Path) -> dict[str, int]:
    """Reads the file of a publisher, which may be at work."""
    found: dict[str, int] = {}
    text = log.read_text() if log.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        entry = json.loads(line)
        found |= {id_: entry["first"] + at for at, id_ in enumerate(entry["message_ids"])}
    return found


@dataclass
class Account:
    """What became of messages: the rows that came out, by the queue's id of their message.

    Args:
        bad_every: see `message`.
    """

    bad_every: int = 0
    scored: Counter[str] = field(default_factory=Counter)
    dead_lettered: Counter[str] = field(default_factory=Counter)
    scored_numbers: Counter[int] = field(default_factory=Counter)
    _read: set[Path] = field(default_factory=set)

    def add_scored(self, row_ids: Sequence[str], numbers: Sequence[int]) -> None:
        """Notes predictions, by their row ids and the ids of their payloads."""
        self.scored.update(message_id(row_id) for row_id in row_ids)
        self.scored_numbers.update(numbers)

    def add_dead_letters(self, row_ids: Sequence[str]) -> None:
        """Notes dead letters."""
        self.dead_lettered.update(message_id(row_id) for row_id in row_ids)

    def read_predictions(self, folder: Path) -> None:
        """Notes the files of predictions that have come since it was last called."""
        for path in self._new(folder):
            table = pq.read_table(path, columns=["row_id", "id"])
            self.add_scored(table["row_id"].to_pylist(), table["id"].to_pylist())

    def read_dead_letters(self, folder: Path) -> None:
        """Notes the files of dead letters that have come since it was last called."""
        for path in self._new(folder):
            self.add_dead_letters(pq.read_table(path, columns=["row_id"])["row_id"].to_pylist())

    def pull_predictions(self, client: Client, subscription: str, quiet_secs: float = 1.0) -> None:
        """Notes the predictions in a topic that have come since it was last called."""
        for each in client.pull_all(subscription, quiet_secs):
            number = int(json.loads(each.data)["id"])
            self.add_scored([each.attributes["row_id"]], [number])

    def missing(self, published: dict[str, int]) -> set[str]:
        """The messages of which nothing has come out, by the queue's ids."""
        return published.keys() - self.found()

    def duplicated(self) -> int:
        """How many rows there are beyond one for each message."""
        rows = self.scored + self.dead_lettered
        return rows.total() - len(rows)

    def found(self) -> set[str]:
        """The messages of which something has come out, by the queue's ids."""
        return set(self.scored) | set(self.dead_lettered)

    def without(self, other: "Account") -> "Account":
        """A new account, of files that another one has not read."""
        return Account(other.bad_every, _read=set(other._read))

    def check(
        self,
        published: dict[str, int],
        *,
        max_duplicates: int,
        title: str,
        are_all_confirmed: bool = True,
    ) -> None:
        """Prints the account; fails if anything is lost, invented, or in the wrong place.

        Args:
            published: what was confirmed to the publisher.
            max_duplicates: how many rows there may be beyond one for each message.
            title: of what is printed.
            are_all_confirmed: False if a request may have arrived whose answer was lost.
        """
        lost = self.missing(published)
        print(f"\n{title}: {self.summary(published)}")
        assert published, "nothing was published"
        assert not lost, f"{len(lost)} lost, such as {sorted(lost, key=int)[:5]}"
        if are_all_confirmed:
            assert self.found() <= published.keys()
        bad = {id_ for id_, number in published.items() if is_bad(number, self.bad_every)}
        assert self.dead_lettered.keys() & published.keys() == bad
        assert self.scored.keys() & published.keys() == published.keys() - bad
        assert self.duplicated() <= max_duplicates

    def summary(self, published: dict[str, int]) -> str:
        """The account in a line."""
        return (
            f"published {len(published):,}, scored {len(self.scored):,}, "
            f"dead-lettered {len(self.dead_lettered):,}, duplicated {self.duplicated():,}, "
            f"lost {len(self.missing(published)):,}"
        )

    def _new(self, folder: Path) -> list[Path]:
        paths = sorted(path for path in folder.glob("part-*.parquet") if path not in self._read)
        self._read.update(paths)
        return paths


def message_id(row_id: str) -> str:
    """The queue's id of the message that a row was made of.

    >>> message_id("projects/p/subscriptions/s#17")
    '17'
    """
    return row_id.rpartition("#")[2]


def main() -> None:
    """Publishes until SIGTERM, or until the parent is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("topic")
    parser.add_argument("log", type=Path)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--bad-every", type=int, default=0)
    parser.add_argument("--copies", type=int, default=1)
    flags = parser.parse_args()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def has_ended() -> bool:
        return bool(stopped) or os.getppid() != parent

    client = Client(flags.address)
    size = max(1, round(flags.rate / _REQUESTS_PER_SEC))
    started, first, lost_secs = time.monotonic(), 0, 0.0
    with flags.log.open("a") as log:
        while not has_ended():
            payloads = [message(first + at, flags.bad_every) for at in range(size)]
            for _ in range(flags.copies):
                ids = _publish(client, flags.topic, payloads, first, has_ended)
                log.write(json.dumps({"first": first, "message_ids": ids}) + "\n")
                log.flush()
            first += size
            behind = time.monotonic() - started - lost_secs - first / flags.rate
            if behind > 0.5:  # a pause is not made up for: that would be a surge
                lost_secs += behind
            time.sleep(max(0.0, -behind))
    secs = time.monotonic() - started
    print(f"the publisher sent {first / secs:,.0f} messages a second", flush=True)


def _publish(
    client: Client,
    topic: str,
    payloads: list[bytes],
    first: int,
    has_ended: Callable[[], bool],
) -> list[str]:
    """Publishes until it is confirmed; an attempt that was not may have arrived, too.

    An empty payload is refused by the service unless there is an attribute.
    """
    attributes = [{"number": str(first + at)} for at in range(len(payloads))]
    while not has_ended():
        try:
            return client.publish(topic, payloads, attributes, timeout_secs=5)
        except grpc.RpcError:
            time.sleep(_RETRY_SECS)
    return []


if __name__ == "__main__":
    main()
