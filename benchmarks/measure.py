"""Turns commands into seconds, CPU seconds and peak memory: whole processes, taking turns.

Only the standard library is imported here and in what imports this: a child's ``ru_maxrss`` starts
at the high-water mark of the process that started it, so a large measuring process would hide the
memory of a small command. Inputs are made and outputs compared in processes of their own.
"""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

TIMEOUT_SECS = 900.0


@dataclass(frozen=True)
class Command:
    """One command to measure.

    Args:
        name: What it is called in the results.
        argv: The program and its arguments.
        output: What it writes: a folder, removed before and after each run.
        environment: Variables to set in addition to the caller's.
        timeout_secs: After so long the command and all it started are killed.
    """

    name: str
    argv: tuple[str, ...]
    output: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_secs: float = TIMEOUT_SECS


@dataclass(frozen=True)
class Sample:
    """One run of a command. `peak_rss_bytes` is of the largest process, as the kernel counts."""

    wall_secs: float
    cpu_secs: float
    peak_rss_bytes: int
    stdout: str


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the smallest and largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Turns values into their spread.

        >>> Spread.of([3, 1, 2])
        Spread(median=2, low=1, high=3)
        """
        known = list(values)
        return cls(statistics.median(known), min(known), max(known))


def run(command: Command, *, keep_output: bool = False) -> Sample:
    """Runs a command to its end and measures it.

    Raises:
        RuntimeError: it failed or ran out of time; the message ends with what it said.
    """
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        with _output(command, keep=keep_output), _deadline(command.timeout_secs) as guard:
            began = time.perf_counter()
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, **command.environment},
                start_new_session=True,
            )
            guard(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
            wall_secs = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(_failure(command, process.returncode, wall_secs, _text(stderr)))
        cpu_secs = usage.ru_utime + usage.ru_stime
        return Sample(wall_secs, cpu_secs, _bytes(usage.ru_maxrss), _text(stdout))


def alternate(commands: Sequence[Command], rounds: int) -> dict[str, list[Sample]]:
    """Runs all commands in turn, `rounds` times over, so that a slow minute hits all alike."""
    samples: dict[str, list[Sample]] = {command.name: [] for command in commands}
    for number in range(rounds):
        for command in commands:
            sample = run(command)
            samples[command.name].append(sample)
            print(
                f"  {number + 1}/{rounds} {command.name}: {sample.wall_secs:.2f} s, "
                f"{sample.cpu_secs:.2f} s CPU, {sample.peak_rss_bytes / 2**20:.0f} MiB",
                file=sys.stderr,
                flush=True,
            )
    return samples


@contextlib.contextmanager
def _output(command: Command, *, keep: bool) -> Iterator[None]:
    if command.output is None:
        yield
        return
    shutil.rmtree(command.output, ignore_errors=True)
    try:
        yield
    finally:
        if not keep:
            shutil.rmtree(command.output, ignore_errors=True)


@contextlib.contextmanager
def _deadline(timeout_secs: float) -> Iterator[Callable[[int], None]]:
    """Yields a function that names the group of processes to kill when the time is over.

    The group is killed on the way out too: nothing that a command started outlives it.
    """
    groups: list[int] = []
    timer = threading.Timer(timeout_secs, _kill, [groups])
    timer.daemon = True
    timer.start()
    try:
        yield groups.append
    finally:
        timer.cancel()
        _kill(groups)


def _kill(groups: Sequence[int]) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _failure(command: Command, code: int, wall_secs: float, stderr: str) -> str:
    why = f"ended with {code}"
    if code == -signal.SIGKILL and wall_secs >= command.timeout_secs:
        why = f"took longer than {command.timeout_secs:.0f} s and was killed"
    return f"{command.name} {why}: {' '.join(command.argv)}\n{stderr[-2000:]}"


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _bytes(ru_maxrss: int) -> int:
    return ru_maxrss if sys.platform == "darwin" else ru_maxrss * 1024
