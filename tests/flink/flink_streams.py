"""A stream on a cluster: its topics, its publisher, and the account of what came out."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator import Emulator
from feed import Account, Feed
from submitted import Submission

RATE = 200.0  # messages a second
BAD_EVERY = 50
ACK_DEADLINE_SECS = 10  # the least that Pub/Sub allows
START_SECS = 90.0  # until something is scored; 20 s on an idle machine
FOUND_SECS = 90.0  # until all is found, once nothing disturbs any more


class Traffic:
    """A topic of its own with a publisher, and what a stream makes of it in a folder.

    Args:
        emulator: running.
        start: starts `scoreline score` with a model.
        folder: for the output `out` and the publisher's log.
    """

    def __init__(self, emulator: Emulator, start: Callable[..., Submission], folder: Path):
        name = uuid.uuid4().hex[:8]
        self._start = start
        self._emulator = emulator
        self.folder = folder
        self.topic = emulator.client.create_topic(f"tx-{name}")
        self.subscription = emulator.client.create_subscription(
            f"scorer-{name}", self.topic, ACK_DEADLINE_SECS
        )
        self.account = Account(BAD_EVERY)
        self._feed: Feed | None = None

    def publish(self, rate: float = RATE) -> None:
        """Starts the publisher."""
        log = self.folder / "feed.jsonl"
        self._feed = Feed(self._emulator.address, self.topic, log, rate=rate, bad_every=BAD_EVERY)

    def stop_publishing(self) -> dict[str, int]:
        """Ends the publisher; gives all that it has published."""
        assert self._feed is not None
        return self._feed.stop()

    def close(self) -> None:
        """Ends the publisher, if it still runs."""
        if self._feed is not None:
            self._feed.kill()

    def score(self, *flags: str) -> Submission:
        """Starts a stream from the topic to `out`."""
        words = ["--input", f"pubsub://{self.subscription}", "--output", str(self.output)]
        return self._start(*words, "--keep", "id", "--types", "id=int64", *flags)

    @property
    def output(self) -> Path:
        """The folder of predictions and dead letters."""
        return self.folder / "out"

    def read(self) -> int:
        """Notes the files that have come; gives how many messages are found in all."""
        if self.output.exists():
            self.account.read_predictions(self.output)
            self.account.read_dead_letters(self.output / "_dead_letters")
        return len(self.account.found())

    def wait_for_more(
        self, stream: Submission, messages: int = 1, secs: float = START_SECS
    ) -> None:
        """Waits until something has come of so many messages more than now."""
        wanted = self.read() + messages
        self._wait(lambda: self.read() >= wanted, stream, f"{messages} more messages", secs)

    def wait_for_all(self, stream: Submission, published: dict[str, int]) -> None:
        """Waits until something has come of each message."""

        def is_whole() -> bool:
            self.read()
            return not self.account.missing(published)

        self._wait(is_whole, stream, "all messages", FOUND_SECS)

    def _wait(
        self, condition: Callable[[], Any], stream: Submission, what: str, secs: float
    ) -> None:
        deadline = time.monotonic() + secs
        while not condition():
            assert stream.is_running(), f"it ended: {stream.err()}"
            found = len(self.account.found())
            assert time.monotonic() < deadline, f"not {what}, {found} in all: {stream.err()}"
            time.sleep(0.2)

    def left(self) -> int:
        """How many messages a new subscriber gets, once every lease has ended."""
        time.sleep(ACK_DEADLINE_SECS + 1)
        return len(self._emulator.client.pull_all(self.subscription, quiet_secs=1.0))
