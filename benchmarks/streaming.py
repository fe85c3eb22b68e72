"""Turns messages into published predictions in three ways and prints how they compare.

Publisher, subscriber and the program that is measured are processes of their own, on one machine
with a Pub/Sub emulator that was started for this run alone: its speed says nothing of the service.
Before anything is timed scoreline and the loop without Beam must publish the same. The table goes
to stdout and, after every row, to benchmarks/work/streaming.md; all figures of each run go to
benchmarks/work/streaming.jsonl, progress goes to stderr.

::

    python benchmarks/streaming.py                        # everything, the better part of an hour
    python benchmarks/streaming.py --only 'backlog-*'     # some rows, by name
    python benchmarks/streaming.py --small                # a functional pass, no figures to keep

The picture of the surge is drawn by surge.py.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import goals
import surge
from goals import Goal, Size, Table
from inputs import WORK
from measure import Spread
from ratios import Ratio
from stream_programs import PROGRAMS
from stream_trials import Trial, backlog, drain, idle, latency, many_bundles, memory

_BACKLOG = 100_000
_STOCK_SECS = 30.0  # of that backlog: it would take minutes
_NORMAL, _BUSY = 100.0, 2_000.0  # messages a second
_NORMAL_SECS, _BUSY_SECS = 30.0, 60.0
_IDLE_SECS = 30.0
_DRAIN_SECS = 10.0
_BUNDLES = 55_000

_TABLE = Table(
    WORK / "streaming.md",
    "Pub/Sub emulator, 420 bytes of JSON a message, LogisticRegression of 20 features",
    ("apache-beam", "google-cloud-pubsub", "grpcio", "pyarrow", "orjson", "scikit-learn"),
    "Rates are of predictions between the first and the last that was published. Latencies run "
    "from the publisher's own clock, before its request, to the time that the server has put on "
    "the prediction. Stock Beam runs for 30 s of the backlog. Seconds of whole commands that "
    "were stopped are those from SIGTERM to the end. Peak RSS is that with one pull at a time: "
    "the emulator hands out a million messages to several pulls only slowly. What grows over "
    "bundles is RSS without the pages of files: the kernel drops and reads those as it likes.",
)

Trials = Mapping[str, Sequence[Trial]]


def _alternate(trials: Mapping[str, Callable[[], Trial]], rounds: int) -> Trials:
    """Runs trials in turn, `rounds` times over, and keeps a line of each."""
    found: dict[str, list[Trial]] = {name: [] for name in trials}
    WORK.mkdir(exist_ok=True)
    for number in range(rounds):
        for name, run in trials.items():
            trial = run()
            found[name].append(trial)
            line = json.dumps({"trial": name, **trial.figures})
            print(f"  {number + 1}/{rounds} {line[:400]}", file=sys.stderr, flush=True)
            with _TABLE.path.with_suffix(".jsonl").open("a") as file:
                file.write(line + "\n")
    return found


def _ratio(trials: Trials, above: str, below: str, figure: Callable[[Trial], float]) -> Ratio:
    """Turns the figures of two kinds of trials into the ratio of their medians."""
    over, under = ([figure(trial) for trial in trials[name]] for name in (above, below))
    by_round = [one / other for one, other in zip(over, under, strict=True)]
    middle = Spread.of(over).median / Spread.of(under).median
    samples = {name: [trial.sample for trial in trials[name]] for name in (above, below)}
    return Ratio(Spread(middle, min(by_round), max(by_round)), samples)


def _value(trials: Trials, name: str, figure: Callable[[Trial], float]) -> Ratio:
    """Turns the figures of one kind of trials into their median, as it is."""
    spread = Spread.of(figure(trial) for trial in trials[name])
    return Ratio(spread, {name: [trial.sample for trial in trials[name]]})


@cache
def _backlogs(size: Size) -> Trials:
    num_messages = 3_000 if size.small else _BACKLOG
    stock_secs = 15.0 if size.small else _STOCK_SECS
    _check_equal()
    trials = {
        name: lambda name=name: backlog(  # type: ignore[misc]
            name, num_messages, stock_secs if name == "stock-stream" else None
        )
        for name in PROGRAMS
    }
    return _alternate(trials, size.rounds)


def _check_equal() -> None:
    """Raises RuntimeError unless scoreline and the loop publish the same for the same messages."""
    print("  checking that the programs publish the same", file=sys.stderr, flush=True)
    one, other = (backlog(name, 1_000).figures for name in ("scoreline", "stream-loop"))
    if one["digest"] != other["digest"]:
        raise RuntimeError("scoreline's predictions and the loop's differ")
    looks = [{(*sorted(body), *names) for body, names in each["looks"]} for each in (one, other)]
    if looks[0] != looks[1]:
        raise RuntimeError(f"scoreline publishes {one['looks']}, the loop {other['looks']}")


def _backlog_ratio(below: str) -> Callable[[Size], Ratio]:
    return lambda size: _ratio(
        _backlogs(size), "scoreline", below, lambda trial: float(trial.figures["per_sec"])
    )


@cache
def _latencies(size: Size) -> Trials:
    normal, busy = (3.0, 3.0) if size.small else (_NORMAL_SECS, _BUSY_SECS)
    trials = {
        "scoreline-100": lambda: latency("scoreline", _NORMAL, normal),
        "stock-stream-100": lambda: latency("stock-stream", _NORMAL, normal),
        "scoreline-2000": lambda: latency("scoreline", _BUSY, busy),
    }
    return _alternate(trials, size.rounds)


def _p99(trial: Trial) -> float:
    return float(trial.figures["published"]["p99"])


def _latency_ratio(above: str, below: str) -> Callable[[Size], Ratio]:
    return lambda size: _ratio(_latencies(size), above, below, _p99)


def _surge(size: Size) -> Ratio:
    """The time until p99 is back ÷ excess ÷ spare rate, which the goal allows twice."""
    trials = _alternate({"scoreline-surge": lambda: surge.measure(small=size.small)}, size.rounds)
    surge.keep([trial.figures for trial in trials["scoreline-surge"]])
    return _value(trials, "scoreline-surge", lambda trial: float(trial.figures["ratio"]))


def _memory(size: Size) -> Ratio:
    large, small = (20_000, 2_000) if size.small else (1_000_000, 10_000)
    names = (f"scoreline-{large}", f"scoreline-{small}")
    trials = {names[0]: lambda: memory(large), names[1]: lambda: memory(small)}
    found = _alternate(trials, size.rounds)
    return _ratio(found, *names, lambda trial: float(trial.sample.peak_rss_bytes))


def _bundles(size: Size) -> Ratio:
    """Once, whatever the rounds: it is one long series."""
    number = 1_000 if size.small else _BUNDLES
    found = _alternate({"scoreline-bundles": lambda: many_bundles(number)}, 1)
    return _value(
        found, "scoreline-bundles", lambda trial: float(trial.figures["bytes_per_20000"]) / 1e6
    )


def _idle(size: Size) -> Ratio:
    secs = 5.0 if size.small else _IDLE_SECS
    found = _alternate({"scoreline-idle": lambda: idle(secs)}, size.rounds)
    return _value(found, "scoreline-idle", lambda trial: 100 * float(trial.figures["cores"]))


@cache
def _drains(size: Size) -> Trials:
    secs = 3.0 if size.small else _DRAIN_SECS
    return _alternate({"scoreline-drain": lambda: drain(_BUSY, secs)}, size.rounds)


def _drain(size: Size) -> Ratio:
    return _value(_drains(size), "scoreline-drain", lambda trial: trial.sample.wall_secs)


def _left(size: Size) -> Ratio:
    return _value(_drains(size), "scoreline-drain", lambda trial: float(trial.figures["leased"]))


GOALS = (
    Goal(
        "backlog-stock",
        "messages/s of a backlog of 100,000 ÷ stock Beam's",
        "≥",
        20,
        40,
        _backlog_ratio("stock-stream"),
    ),
    Goal(
        "backlog-loop",
        "the same ÷ a loop without Beam, with as many threads",
        "≥",
        0.7,
        0.85,
        _backlog_ratio("stream-loop"),
    ),
    Goal(
        "latency-stock",
        "p99 at 100 msg/s ÷ stock Beam's",
        "≤",
        1.0,
        0.8,
        _latency_ratio("scoreline-100", "stock-stream-100"),
    ),
    Goal(
        "latency-busy",
        "p99 at 2,000 msg/s over 60 s ÷ at 100 msg/s",
        "≤",
        2,
        1.3,
        _latency_ratio("scoreline-2000", "scoreline-100"),
    ),
    Goal(
        "surge",
        "100 → 5,000 msg/s for 20 s: time until p99 is back ÷ (excess ÷ spare rate)",
        "≤",
        2,
        None,
        _surge,
    ),
    Goal("memory", "peak RSS, backlog of 1,000,000 ÷ 10,000", "≤", 1.1, 1.02, _memory),
    Goal("bundles", "MB of memory per 20,000 bundles, over 55,000 (one run)", "≤", 1, 0, _bundles),
    Goal("idle", "idle: % of one core", "≤", 5, 2, _idle),
    Goal("drain", "seconds from SIGTERM to the end under 2,000 msg/s", "≤", 1, None, _drain),
    Goal("left", "messages left leased after it", "≤", 0, None, _left),
)


if __name__ == "__main__":
    sys.exit(goals.main(GOALS, _TABLE, __doc__.splitlines()[0]))
