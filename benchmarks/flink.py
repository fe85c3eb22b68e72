"""Turns rows into predictions in one process and on a Flink cluster, and times streams on it.

The cluster is that of the tests (tests/flink/cluster.py): JobManager, TaskManagers with a slot each
and their pools of Python workers are processes of this one machine, so parallelism 2 has no more
cores than parallelism 1, nor has the in-process runner. What is compared is the job's own time:
on Flink what its REST interface calls the duration, in process from the plan to the report. What a
cluster takes to start, and a command to reach it, is not in it. Before anything is timed both must
write the same.

Streams are given a bundle time (--max_bundle_time_mills): latency at 100 messages a second from the
emulator and back, and the CPU time of TaskManagers and workers while nothing comes.

The table goes to stdout and, after every row, to benchmarks/work/flink.md; progress to stderr.

::

    python benchmarks/flink.py                    # everything, the better part of an hour
    python benchmarks/flink.py --only 'batch-*'   # some rows, by name
    python benchmarks/flink.py --small            # a functional pass, no figures to keep
"""

import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import goals
from fresh_emulator import Emulator
from goals import Goal, Size, Table
from inputs import BYTES_PER_ROW, WORK, need_disk
from measure import Command, Sample, Spread, run
from programs import Job, command
from ratios import Ratio, check_equal
from stream_trials import Engine, Trial, on_engine

sys.path.append(str(Path(__file__).parents[1] / "tests" / "flink"))
from cluster import Cluster
from processes import cpu_secs, resident_bytes

_ROWS = 20_000_000
_LOOK_SECS = 0.2
_BUNDLE_MILLIS = (20, 100, 1_000)
_PER_SEC = 100.0
_STREAM_SECS, _IDLE_SECS = 60.0, 30.0
_TABLE = Table(
    WORK / "flink.md",
    "Flink 1.19.3 on the same two cores, LogisticRegression of 20 features",
    ("apache-beam", "pyarrow", "numpy", "pandas", "scikit-learn"),
    "Seconds are those of the job itself. CPU seconds and peak RSS on Flink are those of the "
    "TaskManagers and of the largest Python worker.",
)


@cache
def _batches(size: Size) -> Mapping[str, list[Sample]]:
    """Runs the job in process and on one cluster with one slot and with two, in turn."""
    job = Job("logistic", size.rows(_ROWS))
    here = command("scoreline", job)
    need_disk(3 * job.num_rows * BYTES_PER_ROW)
    with _cluster() as cluster:
        there = {slots: _on_flink(cluster, job, slots) for slots in (1, 2)}
        for each in there.values():
            check_equal(here, each)
        found: dict[str, list[Sample]] = {"in-process": [], "flink-1": [], "flink-2": []}
        for number in range(size.rounds):
            samples = {"in-process": _in_process(here)}
            samples |= {f"flink-{slots}": _timed(cluster, each) for slots, each in there.items()}
            for name, sample in samples.items():
                print(f"  {number + 1}/{size.rounds} {name}: {sample}", file=sys.stderr, flush=True)
                found[name].append(sample)
    return found


@contextmanager
def _cluster(**environment: str) -> Iterator[Cluster]:
    """A cluster whose workers have these variables; it goes with all that it wrote."""
    WORK.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=WORK, prefix="flink-") as folder,
        Cluster(Path(folder) / "cluster", environment) as cluster,
    ):
        yield cluster


def _on_flink(cluster: Cluster, job: Job, slots: int) -> Command:
    """Turns a job into the command that submits it; workers do not know relative paths."""
    made = command("scoreline", job, *cluster.flags(f"--parallelism={slots}"))
    assert made.output is not None
    name = f"flink-{slots}-{job.num_rows}"
    output = made.output.with_name(name)
    argv = tuple(str(output) if word == str(made.output) else word for word in made.argv)
    return Command(name, argv, output)


def _in_process(each: Command) -> Sample:
    """Runs a command; its seconds are those from the plan to the report."""
    sample = run(each, keep_output=True)
    assert each.output is not None
    (path,) = each.output.glob("_run/*/report.json")
    secs = json.loads(path.read_text())["duration_secs"]
    shutil.rmtree(each.output)
    return replace(sample, wall_secs=secs)


def _timed(cluster: Cluster, each: Command) -> Sample:
    """Runs a command; its figures are the cluster's."""
    known = set(cluster.rest.jobs())
    before = _cpu_secs(cluster)
    with _peak(cluster) as peak:
        run(each)
    (job,) = set(cluster.rest.jobs()) - known
    secs = cluster.rest.duration_secs(job)
    return Sample(secs, _cpu_secs(cluster) - before, max(peak), "")


def _cpu_secs(cluster: Cluster) -> float:
    """The CPU seconds of all TaskManagers and workers so far, those that have ended included."""
    running = [each for pod in cluster.pods for each in (pod.taskmanager, pod.pool)]
    return sum(cpu_secs(each.pid, children=True) for each in running)


@contextmanager
def _peak(cluster: Cluster) -> Iterator[list[int]]:
    """Looks at the workers meanwhile; the list gets the highest memory of each."""
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_SECS):
            for pid in cluster.workers():
                with suppress(OSError, AssertionError):  # it has ended
                    peaks[pid] = resident_bytes(pid, peak=True)

    thread = threading.Thread(target=look)
    thread.start()
    found = [0]
    try:
        yield found
    finally:
        ended.set()
        thread.join()
        found += peaks.values()


def _ratio(slots: int) -> Callable[[Size], Ratio]:
    """Returns what measures the job's time on so many slots ÷ its time in process."""

    def measure(size: Size) -> Ratio:
        found = _batches(size)
        names = (f"flink-{slots}", "in-process")
        above, below = ([each.wall_secs for each in found[name]] for name in names)
        by_round = [over / under for over, under in zip(above, below, strict=True)]
        middle = Spread.of(above).median / Spread.of(below).median
        samples = {name: found[name] for name in names}
        return Ratio(Spread(middle, min(by_round), max(by_round)), samples)

    return measure


@cache
def _streams(size: Size) -> Mapping[int, list[Trial]]:
    """Runs a stream with each bundle time in turn, each on a cluster and an emulator of its own."""
    secs, idle_secs = (3.0, 3.0) if size.small else (_STREAM_SECS, _IDLE_SECS)
    found: dict[int, list[Trial]] = {millis: [] for millis in _BUNDLE_MILLIS}
    for number in range(size.rounds):
        for millis in _BUNDLE_MILLIS:
            trial = on_engine(partial(_engine, millis), _PER_SEC, secs, idle_secs)
            said = json.dumps({"bundle_millis": millis, **trial.figures})
            print(f"  {number + 1}/{size.rounds} {said[:400]}", file=sys.stderr, flush=True)
            found[millis].append(trial)
    return found


@contextmanager
def _engine(millis: int, emulator: Emulator) -> Iterator[Engine]:
    with _cluster(**emulator.environment) as cluster:
        flags = cluster.flags(f"--max_bundle_time_mills={millis}")

        def used_secs() -> float:
            pids = [*(pod.taskmanager.pid for pod in cluster.pods), *cluster.workers()]
            return sum(map(cpu_secs, pids))

        yield Engine(tuple(flags), used_secs)


def _p50_millis(trial: Trial) -> float:
    return 1_000 * float(trial.figures["published"]["p50"])


def _p99_millis(trial: Trial) -> float:
    return 1_000 * float(trial.figures["published"]["p99"])


def _idle_percent(trial: Trial) -> float:
    return 100 * float(trial.figures["cores"])


_FIGURES = {
    "p50": ("p50 at 100 msg/s, ms", _p50_millis),
    "p99": ("p99 at 100 msg/s, ms", _p99_millis),
    "idle": ("idle, % of one core", _idle_percent),
}


def _of_streams(name: str, millis: int, must: float | None, aim: float | None) -> Goal:
    """Returns the row of a figure of the streams with a bundle time."""
    title, figure = _FIGURES[name]

    def measure(size: Size) -> Ratio:
        trials = _streams(size)[millis]
        samples = {f"{millis} ms": [trial.sample for trial in trials]}
        return Ratio(Spread.of(map(figure, trials)), samples)

    return Goal(f"{name}-{millis}", f"bundles of {millis} ms: {title}", "≤", must, aim, measure)


# What a plain source of Beam's had with these bundle times: p99 154, 210 and 997 ms, and idle 94 %
# of a core with the first.
GOALS = (
    Goal("batch-1", "20,000,000 rows, one slot ÷ in process", "≤", 2, 1.3, _ratio(1)),
    Goal("batch-2", "20,000,000 rows, two slots ÷ in process", "≤", 2, 1.3, _ratio(2)),
    _of_streams("p50", 20, None, None),
    _of_streams("p99", 20, 154, None),
    _of_streams("idle", 20, 94, 25),
    _of_streams("p50", 100, None, None),
    _of_streams("p99", 100, 210, 200),
    _of_streams("idle", 100, 50, 25),
    _of_streams("p50", 1_000, None, None),
    _of_streams("p99", 1_000, 997, 200),
    _of_streams("idle", 1_000, 50, 25),
)


if __name__ == "__main__":
    sys.exit(goals.main(GOALS, _TABLE, __doc__.splitlines()[0]))
