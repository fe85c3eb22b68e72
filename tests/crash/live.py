"""A stream under test: its topics, its publishers, and the processes that score them."""

import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from emulator import Emulator
from feed import Account, Feed
from front import Front
from stream_process import Command, Start, Stream

TYPES = "id=int64,a=double,b=double,c=double"  # where --preprocess hides the model's
START_SECS = 60.0  # until something is scored; 5 s on an idle machine
FOUND_SECS = 90.0  # without anything new before the rest is taken for lost; leases end in 60 s


class Scene:
    """Topics of its own on an emulator, with a front, in a folder.

    Args:
        emulator: running.
        start: how commands are started.
        folder: for outputs; commands run here.
        model: the file of a model of the columns a, b and c.
        ack_deadline_secs: of the subscription.
    """

    def __init__(
        self,
        emulator: Emulator,
        start: Start,
        folder: Path,
        model: Path,
        ack_deadline_secs: int = 10,
    ):
        self.emulator = emulator
        self.client = emulator.client
        self.folder = folder
        self._start = start
        self.model = model
        self.front = Front(emulator.address)
        self._name = uuid.uuid4().hex[:8]
        self._ack_deadline_secs = ack_deadline_secs
        self._streams: list[Stream] = []
        self._feeds: list[Feed] = []
        self.create_topics()

    def create_topics(self) -> None:
        """Makes the topics and subscriptions, with the same names each time."""
        create = self.client.create_subscription
        self.input_topic = self.client.create_topic(f"tx-{self._name}")
        self.subscription = create(
            f"scorer-{self._name}", self.input_topic, self._ack_deadline_secs
        )
        self.output_topic = self.client.create_topic(f"scores-{self._name}")
        self.scores = create(f"scores-{self._name}", self.output_topic, 600)
        self.dead_topic = self.client.create_topic(f"dead-{self._name}")
        self.dead = create(f"dead-{self._name}", self.dead_topic, 600)

    def recreate_output(self) -> None:
        """Makes the output's topic and subscription again, after `delete_topic`."""
        self.client.delete_subscription(self.scores)
        self.client.create_topic(self.output_topic.rpartition("/")[2])
        self.client.create_subscription(self.scores.rpartition("/")[2], self.output_topic, 600)

    def __enter__(self) -> "Scene":
        self.front.start()
        return self

    def __exit__(self, *_: object) -> None:
        for feed in self._feeds:
            feed.kill()
        for stream in self._streams:
            stream.kill()
        self.front.stop()

    def feed(self, **options: Any) -> Feed:
        """A publisher that goes past the front, straight to the emulator."""
        log = self.folder / f"feed-{len(self._feeds)}.jsonl"
        self._feeds.append(Feed(self.emulator.address, self.input_topic, log, **options))
        return self._feeds[-1]

    def stop_feed(self) -> dict[str, int]:
        """Ends the newest publisher; gives all that it has published."""
        return self._feeds[-1].stop()

    def to_files(self, *flags: str) -> list[str]:
        """The words of a command that writes to `out`."""
        return self._command("out", "id", "id=int64", *flags)

    def to_topic(
        self, *flags: str, dead: str = "dead", keep: str = "id", types: str = "id=int64"
    ) -> list[str]:
        """The words of a command that publishes predictions, and has reports in `runs`."""
        places = ["--dead-letters", dead, "--report", "runs"]
        return self._command(f"pubsub://{self.output_topic}", keep, types, *places, *flags)

    def to_table(self, table: str, *flags: str) -> list[str]:
        """The words of a command that writes to a table of BigQuery."""
        return self._command(f"bq://{table}", "id", "id=int64", *flags)

    def to_both(self, preprocess: str | None = None) -> list[str]:
        """The words of a command that writes to `out` and publishes, as a job file says."""
        types = dict(pair.split("=") for pair in TYPES.split(",")[: None if preprocess else 1])
        trust = {"allow_pickle": True, "allow_code": preprocess is not None}
        job = {
            "name": "both",
            "source": {
                "type": "pubsub",
                "subscription": self.subscription,
                "format": "json",
                "types": types,
            },
            "model": {"uri": str(self.model), "preprocess": preprocess, "trust": trust},
            "sinks": [
                {"type": "files", "path": "out", "keep": ["id"]},
                {"type": "pubsub", "topic": self.output_topic, "keep": ["id"]},
            ],
        }
        name = "both.yaml" if preprocess is None else "odd.yaml"
        (self.folder / name).write_text(yaml.safe_dump(job, sort_keys=False))
        return ["run", name]

    def _command(self, output: str, keep: str, types: str, *flags: str) -> list[str]:
        words = ["score", "--model", str(self.model), "--allow-pickle"]
        words += ["--input", f"pubsub://{self.subscription}", "--output", output]
        return [*words, "--keep", keep, "--types", types, *flags]

    def start(self, words: Sequence[str], raising: Sequence[str] = (), **env: str) -> Stream:
        """Starts a command; `raising` is what `raising.disturb` is to do to it."""
        err = self.folder / f"stream-{len(self._streams)}.err"
        variables = {"PUBSUB_EMULATOR_HOST": self.front.address, **env}
        command = Command(words, self.folder, variables, err, raising)
        self._streams.append(Stream(self._start, command))
        return self._streams[-1]

    def wait_until_scoring(self, stream: Stream, messages: int = 1) -> None:
        """Waits until so many more messages are acknowledged than now."""
        wanted = len(self.front.leases.acknowledged()) + messages
        self.wait(
            stream, lambda: len(self.front.leases.acknowledged()) >= wanted, "acknowledged messages"
        )

    def wait_until_in_hand(self, stream: Stream) -> int:
        """Waits until messages are in hand; says how many."""
        self.wait(stream, self.front.leases.in_hand, "messages in hand")
        return len(self.front.leases.in_hand())

    def wait(self, stream: Stream, condition: Callable[[], Any], what: str) -> None:
        """Waits until something is so, as long as the stream runs."""
        deadline = time.monotonic() + START_SECS
        while not condition():
            assert not stream.ended(), f"it ended with {stream.code()}: {stream.err()}"
            assert time.monotonic() < deadline, f"not in time: {what}. It says: {stream.err()}"
            time.sleep(0.02)

    def in_hand_while(self, stream: Stream, secs: float = START_SECS) -> int:
        """The most that was in hand at a time until the stream ended by itself."""
        most = 0
        deadline = time.monotonic() + secs
        while not stream.ended():
            assert time.monotonic() < deadline, f"it goes on after {secs:g} s: {stream.err()}"
            most = max(most, len(self.front.leases.in_hand()))
            time.sleep(0.02)
        return most

    def read_files(self, account: Account, output: str = "out") -> None:
        """Notes the files of predictions and dead letters below the output."""
        account.read_predictions(self.folder / output)
        account.read_dead_letters(self.folder / output / "_dead_letters")

    def read_topic(self, account: Account, quiet_secs: float = 0.5) -> None:
        """Notes what was published; dead letters are in files."""
        account.pull_predictions(self.client, self.scores, quiet_secs)
        for folder in ("dead", "dead/_dead_letters", "out/_dead_letters"):
            account.read_dead_letters(self.folder / folder)

    def wait_until_found(
        self,
        stream: Stream,
        account: Account,
        published: dict[str, int],
        read: Callable[[Account], None],
    ) -> None:
        """Reads outputs until something has come of each message, or nothing new comes any more.

        A busy machine takes long over what has gathered: that is late, not lost. `check` says
        what is missing; the test's own limit ends what never ends.
        """
        read(account)
        missing = len(account.missing(published))
        deadline = time.monotonic() + FOUND_SECS
        while missing and time.monotonic() < deadline and not stream.ended():
            time.sleep(0.2)
            read(account)
            before, missing = missing, len(account.missing(published))
            if missing < before:
                deadline = time.monotonic() + FOUND_SECS

    def staged(self) -> list[Path]:
        """Files of runs that did not come to their final names."""
        return [path for path in self.folder.rglob("staged/*") if path.is_file()]

    def left_in_subscription(self) -> list[Any]:
        """The messages that come to a new subscriber at once: nobody has leased them."""
        return self.client.pull_all(self.subscription, quiet_secs=0.5)
