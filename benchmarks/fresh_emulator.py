"""Turns nothing into a running Pub/Sub emulator: each measurement has one of its own.

Only the standard library is imported (see measure.py): topics and subscriptions are made over HTTP.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROJECT = "scoreline-bench"
INPUT_TOPIC = f"projects/{PROJECT}/topics/transactions"
INPUT = f"projects/{PROJECT}/subscriptions/transactions-to-score"
OUTPUT_TOPIC = f"projects/{PROJECT}/topics/scores"
OUTPUT = f"projects/{PROJECT}/subscriptions/scores-to-count"
ACK_DEADLINE_SECS = 10  # the least that Pub/Sub allows: a lease left behind shows soonest

_READY_SECS = 60.0  # it takes 4 s on an idle machine
_CALL_SECS = 10.0
_END_SECS = 10.0


@dataclass(frozen=True)
class Emulator:
    """A running emulator, with the topics and subscriptions that are named above.

    Attributes:
        host: where it listens, as clients are told in PUBSUB_EMULATOR_HOST.
    """

    host: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a client finds it by."""
        return {"PUBSUB_EMULATOR_HOST": self.host, "GOOGLE_CLOUD_PROJECT": PROJECT}

    def add_topic(self, path: str) -> None:
        """Adds a topic; what is published to it while it has no subscription is gone."""
        self._put(path, {})

    def add_subscription(self, path: str, topic: str) -> None:
        """Adds a subscription that gets what is published from now on."""
        self._put(path, {"topic": topic, "ackDeadlineSeconds": ACK_DEADLINE_SECS})

    def answers(self) -> bool:
        """Whether it is up."""
        with suppress(OSError), urllib.request.urlopen(f"http://{self.host}/", timeout=1):
            return True
        return False

    def _put(self, path: str, body: Mapping[str, object]) -> None:
        request = urllib.request.Request(
            f"http://{self.host}/v1/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=_CALL_SECS):
            pass


@contextmanager
def fresh_emulator(*, keep_output: bool = True) -> Iterator[Emulator]:
    """Runs an emulator, empty but for the topics and their subscriptions.

    Args:
        keep_output: whether predictions are kept for a subscriber; they are dropped otherwise.

    Raises:
        RuntimeError: it is not installed, ended, or did not answer in time.
    """
    if shutil.which("gcloud") is None:
        raise RuntimeError(
            "the Pub/Sub emulator is needed: install the Google Cloud CLI and Java, then run "
            "gcloud components install beta pubsub-emulator"
        )
    with tempfile.TemporaryDirectory(prefix="scoreline-emulator-") as folder, _port() as port:
        emulator = Emulator(f"127.0.0.1:{port}")
        log = Path(folder) / "log"
        with _started(emulator, Path(folder), log) as process:
            _wait_until_ready(emulator, process, log)
            emulator.add_topic(INPUT_TOPIC)
            emulator.add_topic(OUTPUT_TOPIC)
            emulator.add_subscription(INPUT, INPUT_TOPIC)
            if keep_output:
                emulator.add_subscription(OUTPUT, OUTPUT_TOPIC)
            yield emulator


@contextmanager
def _port() -> Iterator[int]:
    """Gives a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    yield port


@contextmanager
def _started(emulator: Emulator, folder: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs the program; all that it started ends with the block."""
    argv = ["gcloud", "beta", "emulators", "pubsub", "start", "--quiet", f"--project={PROJECT}"]
    argv += [f"--host-port={emulator.host}", f"--data-dir={folder}"]
    with (
        log.open("wb") as said,
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # gcloud, the script that it starts, and Java
            env=os.environ | {"CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1"},
        ) as process,
    ):
        try:
            yield process
        finally:
            _end(process, emulator)


def _wait_until_ready(emulator: Emulator, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECS
    while time.monotonic() < deadline and process.poll() is None:
        if emulator.answers():
            return
        time.sleep(0.1)
    raise RuntimeError(f"the Pub/Sub emulator did not start: {log.read_text()[-2000:]}")


def _end(process: "subprocess.Popen[bytes]", emulator: Emulator) -> None:
    """Ends the whole group: Java lives a little longer than the script that started it."""
    _signal(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_SECS
    while (process.poll() is None or emulator.answers()) and time.monotonic() < deadline:
        time.sleep(0.1)
    _signal(process.pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
