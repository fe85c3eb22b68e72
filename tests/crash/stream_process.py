"""A process of the command line under test, started afresh or forked from one that is ready."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Command:
    """What to start.

    Attributes:
        words: of the command line.
        folder: to work in.
        env: variables to set.
        err: a file for what it says.
        raising: the arguments of `raising.disturb`, if it is to be disturbed.
    """

    words: Sequence[str]
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    err: Path = Path("stderr.txt")
    raising: Sequence[str] = ()


class Process(Protocol):
    """What is known of a process."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""


class Start(Protocol):
    """How a command is started."""

    def __call__(self, command: Command) -> Process:
        """Starts a command."""


def start_afresh(command: Command) -> "subprocess.Popen[bytes]":
    """Starts a command as a person does."""
    program = (
        [str(HERE / "raising.py"), *command.raising] if command.raising else ["-m", "scoreline"]
    )
    with command.err.open("w") as err:
        return subprocess.Popen(
            [sys.executable, *program, *command.words],
            cwd=command.folder,
            env=os.environ | {"PYTHONPATH": str(HERE)} | command.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
        )


class Starter:
    """A process of `starter.py`: it starts commands within a tenth of a second."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "starter.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, command: Command) -> Process:
        """Starts a command."""
        request = {
            "words": list(command.words),
            "folder": str(command.folder),
            "env": command.env,
            "path": str(HERE),
            "err": str(command.err),
            "raising": list(command.raising),
        }
        return Forked(self, self.ask(request))

    def ask(self, request: dict[str, Any]) -> Any:
        """Sends a request, and gives the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends it; what it has started goes on."""
        self._process.kill()
        self._process.communicate()


class Forked:
    """A process that a starter has started."""

    def __init__(self, starter: Starter, pid: int):
        self.pid = pid
        self._starter = starter
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self._code is None:
            self._code = self._starter.ask({"poll": self.pid})
        return self._code


class Stream:
    """A running command."""

    def __init__(self, start: Start, command: Command):
        self._err = command.err
        self._err.touch()
        self._process = start(command)

    @property
    def pid(self) -> int:
        """The process's."""
        return self._process.pid

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def ended(self) -> bool:
        """Whether it has ended."""
        return self.code() is not None

    def err(self) -> str:
        """What it has said so far."""
        return self._err.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if not self.ended():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, if it still runs."""
        self.signal(signal.SIGKILL)
        self.wait(30.0)

    def wait(self, secs: float) -> int:
        """Waits for its end; gives the exit code."""
        deadline = time.monotonic() + secs
        while (code := self.code()) is None:
            assert time.monotonic() < deadline, f"it goes on after {secs:g} s: {self.err()}"
            time.sleep(0.01)
        return code

    def drain(self, secs: float = 30.0) -> float:
        """SIGTERM, and a good end; gives how many seconds that took."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        code = self.wait(secs)
        assert code == 0, f"it ended with {code}: {self.err()}"
        return time.monotonic() - started
