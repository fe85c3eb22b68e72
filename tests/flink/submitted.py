"""A command that a user has started, and all that it starts: job servers, Prism, workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from running import Ended


class Submission:
    """A running command, in a process group of its own.

    Args:
        process: the command.
        err: the file of its stderr.
    """

    def __init__(self, process: "subprocess.Popen[str]", err: Path):
        self._process = process
        self._err = err

    @property
    def pid(self) -> int:
        """The command's, not that of what it has started."""
        return self._process.pid

    def err(self) -> str:
        """What it has said so far."""
        return self._err.read_text()

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command, as a supervisor does."""
        self._process.send_signal(number)

    def wait(self, secs: float = 150.0) -> Ended:
        """Waits for its end, and gives what it said."""
        try:
            out, _ = self._process.communicate(timeout=secs)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on after {secs:g} s: {self.err()}") from None
        return Ended(self._process.returncode, out, self.err())

    def end(self) -> None:
        """kill -9, with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate(timeout=30)


def submit(
    words: Sequence[str], folder: Path, err: Path, env: Mapping[str, str] | None = None
) -> Submission:
    """Starts a command of scoreline.

    Args:
        words: after `scoreline`.
        folder: to work in.
        err: a file for its stderr.
        env: variables in addition to this process's.
    """
    with err.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "scoreline", *words],
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    return Submission(process, err)
