"""Turns a command that runs until it is told to stop into one that can be watched meanwhile.

As in measure.py only the standard library is imported.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from measure import Command, Sample

_END_SECS = 60.0
_LOOK_SECS = 0.002


class Live:
    """A command that runs.

    Args:
        process: of the command, the leader of a session of its own.
        stderr: what it says.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", name: str, stderr: IO[str]):
        self._process = process
        self._name = name
        self._stderr = stderr
        self._began = time.perf_counter()
        self._sample: Sample | None = None

    def cpu_secs(self) -> float:
        """Returns the CPU seconds of all its threads so far; Linux only."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        user, system = int(stat[11]), int(stat[12])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    def check(self) -> None:
        """Raises RuntimeError if it has ended."""
        if self._ended():
            raise self._error("ended by itself")

    def stall(self, secs: float) -> None:
        """Holds the program for so long, as a busy machine does."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(secs)
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> Sample:
        """Asks it to end and waits; its `wall_secs` are those from SIGTERM to the end.

        Raises:
            RuntimeError: it ended with an error, or not in time.
        """
        self.check()
        began = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        while not self._ended():
            if time.perf_counter() - began > _END_SECS:
                raise self._error(f"did not end within {_END_SECS:.0f} s of SIGTERM")
            time.sleep(_LOOK_SECS)
        assert self._sample is not None
        if self._process.returncode != 0:
            raise self._error(f"ended with {self._process.returncode}")
        drain_secs = time.perf_counter() - began
        return Sample(drain_secs, self._sample.cpu_secs, self._sample.peak_rss_bytes, "")

    def _ended(self) -> bool:
        if self._sample is None:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                cpu_secs = usage.ru_utime + usage.ru_stime
                wall_secs = time.perf_counter() - self._began
                self._sample = Sample(wall_secs, cpu_secs, usage.ru_maxrss * 1024, "")
        return self._sample is not None

    def _error(self, what: str) -> RuntimeError:
        self._stderr.seek(0)
        return RuntimeError(f"{self._name} {what}:\n{self._stderr.read()[-2000:]}")


@contextlib.contextmanager
def live(command: Command) -> Iterator[Live]:
    """Starts a command; nothing that it started outlives the block."""
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **command.environment},
            start_new_session=True,
        )
        started = Live(process, command.name, stderr)
        try:
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.returncode is None:
                process.wait()
