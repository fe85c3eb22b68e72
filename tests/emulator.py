"""The official Pub/Sub emulator on a port of this machine, and a client that knows no retries.

    with Emulator(folder) as emulator:
        topic = emulator.client.create_topic("tx")
        subscription = emulator.client.create_subscription("scorer", topic)
        emulator.client.publish(topic, [b"{}"])

The emulator keeps topics, subscriptions and messages in memory only: after `kill` and `start` it
is empty. `pause` and `resume` keep them.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from google.pubsub_v1 import types

PROJECT = "scoreline-tests"
_READY_SECS = 60.0  # it takes 4 s on an idle machine
_CALL_SECS = 20.0
_MAX_MESSAGES = 1_000  # of one publish request
_MAX_BYTES = 9_000_000  # of one publish request, which may have 10 MB
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
_INSTALL = {
    "gcloud": "install the Google Cloud CLI: https://cloud.google.com/sdk/docs/install",
    "java": "install a Java runtime, version 17 or newer, such as the package openjdk-17-jre",
}
_COMPONENT = (
    "install the emulator: gcloud components install beta pubsub-emulator"
    " (or the package google-cloud-cli-pubsub-emulator)"
)


def missing() -> str | None:
    """What to install before the emulator can be started; None if nothing is missing."""
    advice = [_INSTALL[program] for program in _INSTALL if shutil.which(program) is None]
    gcloud = shutil.which("gcloud")
    platform = Path(gcloud or "").resolve().parent.parent / "platform"
    is_there = not platform.is_dir() or (platform / "pubsub-emulator").is_dir()
    if gcloud is None or not is_there:
        advice.append(_COMPONENT)
    return f"no Pub/Sub emulator here: {'; '.join(advice)}" if advice else None


def require_emulator() -> None:
    """Skips a test where the emulator cannot be started; fails it where services are required."""
    import pytest  # the demo does without

    reason = missing()
    if reason is None:
        return
    if os.environ.get("SCORELINE_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def emulator_fixture() -> Iterator["Emulator"]:
    """A running emulator: the body of a fixture of any scope."""
    require_emulator()
    with Emulator() as emulator:
        yield emulator


class Emulator:
    """A process of the emulator, on one port for all its starts.

    Args:
        folder: for its log and data; None makes one that goes with `close`.
        port: a free one by default.
    """

    def __init__(self, folder: Path | None = None, port: int | None = None):
        self._own = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="pubsub-")) if folder is None else folder
        self.port = free_port() if port is None else port
        self.address = f"127.0.0.1:{self.port}"
        self.client = Client(self.address)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Emulator":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process and the process group of the running emulator."""
        assert self._process is not None, "the emulator was not started"
        return self._process.pid

    def start(self) -> None:
        """Starts it, and waits until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time.
        """
        (data := self.folder / "data").mkdir(parents=True, exist_ok=True)
        words = ["gcloud", "beta", "emulators", "pubsub", "start", "--quiet"]
        words += [f"--project={PROJECT}", f"--host-port={self.address}", f"--data-dir={data}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # gcloud, the script that it starts, and Java
                env=os.environ | {"CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1"},
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """Ends it as Ctrl-C does."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends it without a warning."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Has it do nothing: connections stay open, calls get no answer."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Has it go on after `pause`."""
        os.killpg(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Ends it, if it runs."""
        self.client.close()
        if self._process is not None:
            self._end(signal.SIGKILL)
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self.folder / "emulator.log"

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process.pid, number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            number = signal.SIGKILL
        # What the group's leader has left behind: Java, which ends a little later or not at all.
        deadline = time.monotonic() + 5
        while _answers(self.port) and time.monotonic() < deadline:
            time.sleep(0.05)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_SECS
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(self.port) and self.client.is_ready():
                return
            time.sleep(0.05)
        code = self._process.poll()
        self._end(signal.SIGKILL)
        ended = "did not answer" if code is None else f"ended with code {code}"
        log = self._log.read_text(errors="replace")[-2_000:]
        raise RuntimeError(f"the Pub/Sub emulator {ended}; {_COMPONENT}. Its log says:\n{log}")


class Client:
    """Calls to an emulator, in plain protocol buffers; errors are grpc.RpcError.

    Args:
        address: host and port, as in PUBSUB_EMULATOR_HOST.
    """

    def __init__(self, address: str):
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._create_topic = self._call("Publisher/CreateTopic", types.Topic)
        self._delete_topic = self._call("Publisher/DeleteTopic", None)
        self._list_topics = self._call("Publisher/ListTopics", types.ListTopicsResponse)
        self._publish = self._call("Publisher/Publish", types.PublishResponse)
        self._create_subscription = self._call("Subscriber/CreateSubscription", types.Subscription)
        self._delete_subscription = self._call("Subscriber/DeleteSubscription", None)
        self._pull = self._call("Subscriber/Pull", types.PullResponse)
        self._acknowledge = self._call("Subscriber/Acknowledge", None)
        self._modify = self._call("Subscriber/ModifyAckDeadline", None)

    def is_ready(self) -> bool:
        """Whether it answers within a second."""
        try:
            request = types.ListTopicsRequest.pb()(project=f"projects/{PROJECT}")
            self._list_topics(request, timeout=1.0)
        except grpc.RpcError:
            return False
        return True

    def create_topic(self, name: str) -> str:
        """Makes a topic, and gives its path."""
        path = f"projects/{PROJECT}/topics/{name}"
        self._create_topic(types.Topic.pb()(name=path), timeout=_CALL_SECS)
        return path

    def create_subscription(self, name: str, topic: str, ack_deadline_secs: int = 10) -> str:
        """Makes a subscription of a topic, given by its path, and gives its own path."""
        path = f"projects/{PROJECT}/subscriptions/{name}"
        request = types.Subscription.pb()(
            name=path, topic=topic, ack_deadline_seconds=ack_deadline_secs
        )
        self._create_subscription(request, timeout=_CALL_SECS)
        return path

    def delete_topic(self, path: str) -> None:
        """Deletes a topic; its subscriptions stay, and get nothing any more."""
        self._delete_topic(types.DeleteTopicRequest.pb()(topic=path), timeout=_CALL_SECS)

    def delete_subscription(self, path: str) -> None:
        """Deletes a subscription with all that waits in it."""
        request = types.DeleteSubscriptionRequest.pb()(subscription=path)
        self._delete_subscription(request, timeout=_CALL_SECS)

    def publish(
        self,
        topic: str,
        payloads: Sequence[bytes],
        attributes: Sequence[Mapping[str, str]] | None = None,
        *,
        timeout_secs: float = _CALL_SECS,
    ) -> list[str]:
        """Publishes messages in as many requests as it takes; gives their ids."""
        message = types.PubsubMessage.pb()
        all_attributes = [{}] * len(payloads) if attributes is None else attributes
        messages = [
            message(data=payload, attributes=own)
            for payload, own in zip(payloads, all_attributes, strict=True)
        ]
        ids: list[str] = []
        for some in _requests(messages):
            request = types.PublishRequest.pb()(topic=topic, messages=some)
            ids += self._publish(request, timeout=timeout_secs).message_ids
        return ids

    def pull(
        self, subscription: str, max_messages: int = 1_000, *, wait: bool = False
    ) -> list[Any]:
        """One pull: ReceivedMessages, at most 100 however many are asked for.

        Args:
            subscription: its path.
            max_messages: at most so many.
            wait: for a message to come, instead of giving none at once.
        """
        request = types.PullRequest.pb()(
            subscription=subscription, max_messages=max_messages, return_immediately=not wait
        )
        return list(self._pull(request, timeout=_CALL_SECS).received_messages)

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """Acknowledges deliveries."""
        request = types.AcknowledgeRequest.pb()(subscription=subscription, ack_ids=ack_ids)
        self._acknowledge(request, timeout=_CALL_SECS)

    def hand_back(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """Ends leases, as their expiry does: the messages are delivered again at once."""
        request = types.ModifyAckDeadlineRequest.pb()(
            subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=0
        )
        self._modify(request, timeout=_CALL_SECS)

    def pull_all(self, subscription: str, quiet_secs: float = 1.0) -> list[Any]:
        """Pulls and acknowledges until nothing has come for some seconds; PubsubMessages.

        What another process has leased does not come: wait out its ack deadline first.
        """
        found: list[Any] = []
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < quiet_secs:
            received = self.pull(subscription)
            if received:
                self.acknowledge(subscription, [each.ack_id for each in received])
                found += [each.message for each in received]
                quiet_since = time.monotonic()
            else:
                time.sleep(0.02)
        return found

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _call(self, name: str, answer: Any) -> Any:
        parse: Callable[[bytes], Any] = bytes if answer is None else answer.pb().FromString
        return self._channel.unary_unary(
            f"/google.pubsub.v1.{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=parse,
        )


def free_port() -> int:
    """A port of the loopback device that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _requests(messages: list[Any]) -> Iterator[list[Any]]:
    """Cuts messages into what one publish request may hold."""
    some: list[Any] = []
    size = 0
    for message in messages:
        length = message.ByteSize() + 8
        if some and (len(some) == _MAX_MESSAGES or size + length > _MAX_BYTES):
            yield some
            some, size = [], 0
        some.append(message)
        size += length
    if some:
        yield some


def _answers(port: int) -> bool:
    """Whether something listens on a port of the loopback device."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def main() -> None:
    """Runs an emulator until Ctrl-C: `python tests/emulator.py [PORT]`."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with Emulator(port=port) as emulator:
        print(f"export PUBSUB_EMULATOR_HOST={emulator.address}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
