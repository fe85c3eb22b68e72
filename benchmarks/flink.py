"""Turns rows into predictions in one process and on a Flink cluster, and times streams on it.

The cluster is that of the tests (tests/flink/cluster.py): JobManager, TaskManagers with a slot each
and their pools of Python workers are processes of this one machine, so parallelism 2 has no more
cores than parallelism 1, nor has the in-process runner. What is compared is the job's own time,
without start-up: in process from the plan to the report, on Flink from the first worker's word
that it is there (all is imported, the model is not yet loaded) to the end that Flink's REST
interface names. The rows "with the workers' start" count from the job's start on the cluster: Flink
starts new Python processes for each job. Before anything is timed both must write the same.

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
import time
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
_LOOK_SECS = 0.1
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
        found: dict[str, list[Sample]] = {}
        for number in range(size.rounds):
            samples = {"in-process": _in_process(here)}
            for slots, each in there.items():
                samples[f"flink-{slots}"], samples[f"whole-{slots}"] = _timed(cluster, each)
            for name, sample in samples.items():
                print(f"  {number + 1}/{size.rounds} {name}: {sample}", file=sys.stderr, flush=True)
                found.setdefault(name, []).append(sample)
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


def _timed(cluster: Cluster, each: Command) -> tuple[Sample, Sample]:
    """Runs a command; its figures are the cluster's, without its workers' start and with it."""
    known = set(cluster.rest.jobs())
    before = _cpu_secs(cluster)
    with _Looks(cluster, each) as looks:
        run(each)
    (job,) = set(cluster.rest.jobs()) - known
    started_at, ended_at = cluster.rest.times(job)
    cpu, peak = _cpu_secs(cluster) - before, max(looks.peaks.values(), default=0)
    if looks.first_worker_at is None:
        raise RuntimeError(f"{each.name}: no worker was seen to start")
    return (
        Sample(ended_at - looks.first_worker_at, cpu, peak, ""),
        Sample(ended_at - started_at, cpu, peak, ""),
    )


def _cpu_secs(cluster: Cluster) -> float:
    """The CPU seconds of all TaskManagers and workers so far, those that have ended included."""
    running = [each for pod in cluster.pods for each in (pod.taskmanager, pod.pool)]
    return sum(cpu_secs(each.pid, children=True) for each in running)


class _Looks:
    """Looks at the workers of a job, until the end of the `with`.

    Attributes:
        peaks: the highest memory of each process.
        first_worker_at: when the first of them wrote that it was there, in seconds since 1970.
    """

    def __init__(self, cluster: Cluster, each: Command):
        self._cluster = cluster
        assert each.output is not None
        self._output = each.output
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.peaks: dict[int, int] = {}
        self.first_worker_at: float | None = None

    def __enter__(self) -> "_Looks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECS):
            for pid in self._cluster.workers():
                with suppress(OSError, AssertionError):  # it has ended
                    self.peaks[pid] = resident_bytes(pid, peak=True)
            if self.first_worker_at is None and any(self._output.glob("_run/*/workers/*.json")):
                self.first_worker_at = time.time()


def _ratio(name: str) -> Callable[[Size], Ratio]:
    """Returns what measures the job's time on Flink ÷ its time in process."""

    def measure(size: Size) -> Ratio:
        found = _batches(size)
        names = (name, "in-process")
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


def _whole(slots: int, title: str) -> Goal:
    name = f"whole-{slots}"
    title = f"{title}, with the workers' start ÷ in process"
    return Goal(name, title, "≤", None, None, _ratio(name))


# What a plain source of Beam's had with these bundle times: p99 154, 210 and 997 ms, and idle 94 %
# of a core with the first.
GOALS = (
    Goal("batch-1", "20,000,000 rows, one slot ÷ in process", "≤", 2, 1.3, _ratio("flink-1")),
    Goal("batch-2", "20,000,000 rows, two slots ÷ in process", "≤", 2, 1.3, _ratio("flink-2")),
    _whole(1, "one slot"),
    _whole(2, "two slots"),
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
