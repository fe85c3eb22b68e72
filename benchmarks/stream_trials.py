"""Turns a program and a load into what was measured: one emulator, one run, one set of figures.

As in measure.py only the standard library is imported: publisher, subscriber and the arithmetic are
programs of their own.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fresh_emulator import ACK_DEADLINE_SECS, INPUT, INPUT_TOPIC, OUTPUT, Emulator, fresh_emulator
from inputs import WORK
from live import Live, live
from measure import Command, Sample, run
from schedule import Phase, total
from stream_programs import bundles, script, stream

WARM_SECS = 5.0  # of a steady rate, before latencies count

_READY = ("100:0.1", "--first-id", str(10**9))  # ten messages that collect.py leaves out
_READY_SECS = 90.0
_IDLE = ("--stop-when-idle-secs", "5")
# Several pulls at a time of a large backlog make the emulator much slower than one, and it pauses
# for seconds.
_PATIENT = ("--stop-when-idle-secs", "30")
_WAVE, _WAVE_SECS = 100_000, 12.0  # messages, and seconds between two waves of a backlog
_PROGRAM_SECS = 900.0
_LATE_SECS = 1.0  # a publisher that is further behind does not publish at the rate that is claimed
_SETTLE_SECS = 5.0  # after the start, before idle CPU counts
_BUNDLES_SECS = 3_600.0  # for many bundles: with a batch each takes 5 to 15 ms
_WARM_BUNDLES = 5_000  # before memory counts
# Before that: what gathers in so long makes the largest batches that a program gets, and what they
# take of memory is kept. Without it a busy machine does that at any time, which looks like a leak.
_STALLS_SECS = (12.0, 12.0)
_STALL_EVERY_SECS = 20.0
_BUNDLES_PER = 20_000
_BUNDLE_RATE = 200.0  # messages a second, one a request: more than there are bundles


@dataclass(frozen=True)
class Trial:
    """What one run of a program gave."""

    sample: Sample
    figures: dict[str, Any]


@dataclass(frozen=True)
class Engine:
    """Where scoreline's stream runs, if not in its own process.

    Attributes:
        flags: that send it there.
        cpu_secs: gives the CPU seconds of what reads and scores there, so far.
    """

    flags: tuple[str, ...]
    cpu_secs: Callable[[], float]


@dataclass(frozen=True)
class _Bench:
    """A fresh emulator and a folder."""

    emulator: Emulator
    folder: Path

    def run(self, *argv: str) -> str:
        """Runs a program beside the one that is measured; returns what it says."""
        ended = subprocess.run(
            argv,
            env=os.environ | dict(self.emulator.environment),
            capture_output=True,
            text=True,
            timeout=_PROGRAM_SECS,
        )
        if ended.returncode:
            raise RuntimeError(f"{' '.join(argv[1:3])}: {ended.stderr[-2000:]}")
        return ended.stdout

    @contextmanager
    def start(self, *argv: str) -> Iterator["subprocess.Popen[str]"]:
        """Starts a program beside the one that is measured."""
        environment = os.environ | dict(self.emulator.environment)
        with subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def publish(self, *words: str) -> dict[str, Any]:
        """Publishes a schedule; raises RuntimeError if the machine was too busy for it."""
        said: dict[str, Any] = json.loads(self.run(*script("publish.py", INPUT_TOPIC, *words)))
        if said["late_secs"] > _LATE_SECS:
            raise RuntimeError(
                f"the publisher was {said['late_secs']:.1f} s behind: the machine is too busy"
            )
        return said

    def arrays(self, name: str) -> Path:
        """The file with what a subscription gave."""
        return self.folder / f"{name}.npz"

    def figures(self, what: str, *words: str) -> dict[str, Any]:
        """Turns what was collected into figures."""
        found: dict[str, Any] = json.loads(self.run(*script("figures.py", what, *words)))
        return found


def backlog(program: str, num_messages: int, secs: float | None = None) -> Trial:
    """Scores what waits in a subscription: messages a second, scored and published.

    Args:
        program: one of `stream_programs.PROGRAMS`.
        num_messages: how many wait.
        secs: how long to run; by default until nothing has come for a while.
    """
    with _bench() as bench:
        bench.publish("--backlog", str(num_messages))
        if secs is None:
            command = stream(program, bench.emulator, bench.folder, *_IDLE)
            sample, wanted = run(command), num_messages
        else:
            sample, wanted = _run_for(stream(program, bench.emulator, bench.folder), secs), 0
        said = _collect(bench, OUTPUT, wanted, idle_secs=5)
        figures = bench.figures("rate", str(bench.arrays("out"))) | said
        if wanted and figures["messages"] != wanted:
            raise RuntimeError(f"{program} published {figures['messages']} of {wanted} messages")
        return Trial(sample, figures)


def latency(program: str, per_sec: float, secs: float) -> Trial:
    """Scores messages at a steady rate: percentiles of the time from publish to published."""
    phases = (Phase(per_sec, WARM_SECS), Phase(per_sec, secs))
    return _fed(program, phases, "latency")


def on_engine(
    start: Callable[[Emulator], AbstractContextManager[Engine]],
    per_sec: float,
    secs: float,
    idle_secs: float,
) -> Trial:
    """Has scoreline wait on an engine, then score at a steady rate there.

    Gives the figures of `latency`, and `cores` of the engine while nothing came.

    Args:
        start: the engine, whose workers are to know the emulator.
        per_sec: messages a second.
        secs: of them.
        idle_secs: before them.
    """
    phases = (Phase(per_sec, WARM_SECS), Phase(per_sec, secs))
    with (
        _bench() as bench,
        start(bench.emulator) as engine,
        _ready("scoreline", bench, total(phases), *engine.flags) as (started, collector),
    ):
        time.sleep(_SETTLE_SECS)
        before, began = engine.cpu_secs(), time.perf_counter()
        time.sleep(idle_secs)
        cores = (engine.cpu_secs() - before) / (time.perf_counter() - began)
        words = [phase.word for phase in phases]
        bench.publish(*words)
        _said(collector)
        sample = started.stop()
        figures = bench.figures("latency", str(bench.arrays("out")), *words)
        return Trial(sample, figures | {"cores": cores})


def surge(phases: Sequence[Phase]) -> Trial:
    """Has scoreline go through a surge: p99 over time, and when it is back."""
    return _fed("scoreline", phases, "surge")


def memory(num_messages: int) -> Trial:
    """Has scoreline work off a backlog whose predictions nobody keeps: its peak memory.

    What is beyond the first hundred thousand is published while it works: so many wait at a time
    that flow control is what bounds its memory, and the emulator, which looks through all that wait
    for each pull, does not slow down to 800 messages a second.
    """
    waves = [
        ("--backlog", str(min(_WAVE, num_messages - first)), "--first-id", str(first))
        for first in range(0, num_messages, _WAVE)
    ]
    with _bench(keep_output=False) as bench, ThreadPoolExecutor(1) as pool:
        bench.publish(*waves[0])
        publishing = pool.submit(_publish_waves, bench, waves[1:])
        argv = stream("scoreline", bench.emulator, bench.folder, *_PATIENT, pull_threads=1)
        sample = run(argv)
        publishing.result()
        rows = _report(bench)["rows"]
        if rows["predicted"] != num_messages:
            raise RuntimeError(f"scoreline reports {rows} of {num_messages} messages")
        return Trial(sample, {"messages": num_messages})


def _publish_waves(bench: _Bench, waves: Sequence[Sequence[str]]) -> None:
    for wave in waves:
        time.sleep(_WAVE_SECS)
        bench.publish(*wave)


def idle(secs: float) -> Trial:
    """Has scoreline wait for messages that do not come: its CPU seconds a second."""
    with _bench() as bench, _ready("scoreline", bench, 0) as (program, _):
        time.sleep(_SETTLE_SECS)
        before, began = program.cpu_secs(), time.perf_counter()
        time.sleep(secs)
        cores = (program.cpu_secs() - before) / (time.perf_counter() - began)
        return Trial(program.stop(), {"cores": cores})


def drain(per_sec: float, secs: float) -> Trial:
    """Stops scoreline while messages come: how long it takes and what it leaves behind.

    The sample's `wall_secs` are those from SIGTERM to the end of the process.
    """
    with _bench() as bench, _ready("scoreline", bench, 0) as (program, collector):
        argv = script("publish.py", INPUT_TOPIC, Phase(per_sec, 10 * secs).word)
        with bench.start(*argv) as publisher:
            time.sleep(secs)
            sample, ended = program.stop(), time.time()
            publisher.terminate()
            published = json.loads(_said(publisher))["published"]
        _collect(bench, INPUT, 0, idle_secs=1.5 * ACK_DEADLINE_SECS, name="in")
        collector.terminate()
        _said(collector)
        paths = (str(bench.arrays("in")), str(bench.arrays("out")))
        left = bench.figures("leftovers", *paths, str(published), str(ended))
        if left["lost"]:
            raise RuntimeError(f"messages were lost, or are leased for longer: {left}")
        return Trial(sample, left)


def many_bundles(num_bundles: int) -> Trial:
    """Has scoreline run many short bundles: how its own memory grows, in bytes per 20,000 of them.

    Raises:
        RuntimeError: it does not end well, or its report does not hold all messages.
    """
    with _bench(keep_output=False) as bench:
        command = bundles(bench.emulator, bench.folder)
        words = (Phase(_BUNDLE_RATE, 2 * _BUNDLES_SECS).word, "--per-request", "1")
        with live(command) as program:
            with bench.start(*script("publish.py", INPUT_TOPIC, *words)) as publisher:
                for secs in _STALLS_SECS:
                    time.sleep(_STALL_EVERY_SECS)
                    program.stall(secs)
                counts = _wait_for_bundles(bench, program, num_bundles)
                publisher.terminate()
                published = json.loads(_said(publisher))["published"]
            time.sleep(_SETTLE_SECS)
            sample = program.stop()
        rows = _report(bench)["rows"]
        if rows["predicted"] < published:
            raise RuntimeError(f"scoreline reports {rows} of {published} messages")
        warm = [line for line in counts if line[0] >= min(_WARM_BUNDLES, num_bundles // 10)]
        numbers, *sizes = zip(*warm, strict=True)
        resident, own = (
            statistics.linear_regression(numbers, size).slope * _BUNDLES_PER for size in sizes
        )
        figures = {"bundles": counts[-1][0], "bytes_per_20000": own, "resident": resident}
        return Trial(sample, figures | {"counts": counts[:: max(1, len(counts) // 100)]})


@contextmanager
def _bench(*, keep_output: bool = True) -> Iterator[_Bench]:
    WORK.mkdir(exist_ok=True)
    with (
        fresh_emulator(keep_output=keep_output) as emulator,
        tempfile.TemporaryDirectory(dir=WORK, prefix="stream-") as folder,
    ):
        yield _Bench(emulator, Path(folder))


@contextmanager
def _ready(
    program: str, bench: _Bench, num_messages: int, *more: str
) -> Iterator[tuple[Live, "subprocess.Popen[str]"]]:
    """Runs a program and a subscriber to its output; the first predictions have come."""
    words = (OUTPUT, "--to", str(bench.arrays("out")), "--messages", str(num_messages))
    collect = script("collect.py", *words, "--idle-secs", str(_READY_SECS))
    with (
        live(stream(program, bench.emulator, bench.folder, *more)) as started,
        bench.start(*collect) as collector,
    ):
        bench.publish(*_READY)
        assert collector.stdout is not None
        if collector.stdout.readline() != "ready\n":
            started.check()
            raise RuntimeError(f"{program} published nothing within {_READY_SECS:.0f} s")
        yield started, collector


def _fed(program: str, phases: Sequence[Phase], what: str) -> Trial:
    """Feeds a program by a schedule and takes figures of what came out."""
    words = [phase.word for phase in phases]
    with _bench() as bench, _ready(program, bench, total(phases)) as (started, collector):
        bench.publish(*words)
        _said(collector)
        sample = started.stop()
        return Trial(sample, bench.figures(what, str(bench.arrays("out")), *words))


def _run_for(command: Command, secs: float) -> Sample:
    with live(command) as program:
        time.sleep(secs)
        return program.stop()


def _collect(
    bench: _Bench, subscription: str, num_messages: int, *, idle_secs: float, name: str = "out"
) -> dict[str, Any]:
    words = (subscription, "--to", str(bench.arrays(name)), "--messages", str(num_messages))
    said = bench.run(*script("collect.py", *words, "--idle-secs", str(idle_secs)))
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def _said(process: "subprocess.Popen[str]") -> str:
    """Waits for the end of a program beside and returns its last line."""
    said, _ = process.communicate(timeout=_PROGRAM_SECS)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    return said.splitlines()[-1]


def _report(bench: _Bench) -> dict[str, Any]:
    """Reads the report that scoreline has left."""
    (path,) = (bench.folder / "runs").rglob("report.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _wait_for_bundles(bench: _Bench, program: Live, num_bundles: int) -> list[tuple[int, ...]]:
    """Waits for so many bundles; returns what bundles.py has written, line by line."""
    path = bench.folder / "bundles.txt"
    deadline = time.monotonic() + _BUNDLES_SECS
    while time.monotonic() < deadline:
        program.check()
        lines = path.read_text().splitlines() if path.exists() else []
        if lines and int(lines[-1].split()[0]) >= num_bundles:
            return [tuple(map(int, line.split())) for line in lines]
        time.sleep(1)
    raise RuntimeError(f"scoreline ran fewer than {num_bundles} bundles: {lines[-1:]}")
