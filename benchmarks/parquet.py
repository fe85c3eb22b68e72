"""Turns Parquet into predictions in four ways and prints how they compare: `make bench`.

Every row of the table is a ratio of whole commands in processes of their own, taking turns. What
two programs write is compared before either is timed. The table goes to stdout and, after every
row, to benchmarks/work/parquet.md; progress goes to stderr.

::

    python benchmarks/parquet.py                        # everything, the better part of an hour
    python benchmarks/parquet.py --only 'loop-*' help   # some rows, by name
    python benchmarks/parquet.py --small                # a functional pass, no figures to keep
"""

import argparse
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version

import programs
from inputs import BYTES_PER_ROW, WORK, need_disk
from measure import Sample, Spread
from programs import Job
from ratios import Ratio, memory_ratio, poison_ratio, wall_ratio, work_ratio

ROUNDS = 5
_TABLE = WORK / "parquet.md"
_SMALL = {1_000_000: 100_000, 5_000_000: 200_000, 50_000_000: 400_000}
_VERSIONS = ("apache-beam", "pyarrow", "numpy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Size:
    """How much to do: the rounds, and whether every file is replaced by a small one."""

    rounds: int
    small: bool

    def rows(self, num_rows: int) -> int:
        """Turns a row of the table's number of rows into the one to use."""
        return _SMALL[num_rows] if self.small else num_rows


@dataclass(frozen=True)
class Goal:
    """One row of the table: a ratio and what it has to be (`sign` is ≤ or ≥)."""

    name: str
    title: str
    sign: str
    must: float | None
    aim: float | None
    measure: Callable[[Size], Ratio]

    def verdict(self, value: float) -> str:
        """Turns a measured ratio into how it stands to must and aim."""
        if math.isnan(value):
            return "too short to tell"
        if self.must is None:
            return "for comparison"
        factor = 1 if self.sign == "≤" else -1
        if self.aim is not None and factor * value <= factor * self.aim:
            return "aim"
        return "must" if factor * value <= factor * self.must else "**missed**"


def _work(above: str, below: str, model: str, num_rows: int) -> Callable[[Size], Ratio]:
    return lambda size: work_ratio(above, below, Job(model, size.rows(num_rows)), size.rounds)


def _poison(model: str, clean: str, kind: str) -> Callable[[Size], Ratio]:
    def measure(size: Size) -> Ratio:
        rows = size.rows(1_000_000)
        return poison_ratio(Job(model, rows, clean), Job(model, rows, kind), size.rounds)

    return measure


def _memory(size: Size) -> Ratio:
    large, small = size.rows(50_000_000), size.rows(5_000_000)
    need_disk(2 * large * BYTES_PER_ROW)  # what is read and what is written
    over = programs.command("scoreline", Job("logistic", large))
    under = programs.command("scoreline", Job("logistic", small))
    return memory_ratio(over, under, size.rounds)


def _ten_rows(size: Size) -> Ratio:
    ten = programs.command("scoreline", Job("logistic", 10))
    return wall_ratio(ten, programs.beam_import(), size.rounds)


def _help(size: Size) -> Ratio:
    return wall_ratio(programs.scoreline_help(), programs.beam_import(), size.rounds)


def _loop_goal(
    program: str, model: str, millions: int, must: float | None, aim: float | None
) -> Goal:
    writer = "plain loop" if program == "loop" else "plain loop, floats without dictionary"
    return Goal(
        f"{program}-{model}-{millions}m",
        f"scoreline ÷ {writer}, {model}, {millions},000,000 rows",
        "≤",
        must,
        aim,
        _work("scoreline", program, model, millions * 1_000_000),
    )


def _against(program: str, title: str, model: str, must: float, aim: float) -> Goal:
    measure = _work(program, "scoreline", model, 1_000_000)
    title = f"{title}, {model}, 1,000,000 rows"
    return Goal(f"{program}-{model}", title, "≥", must, aim, measure)


GOALS = (
    _loop_goal("loop", "logistic", 1, 1.35, 1.1),
    _loop_goal("loop", "logistic", 5, 1.15, 1.0),
    _loop_goal("tuned-loop", "logistic", 1, None, None),
    _loop_goal("tuned-loop", "logistic", 5, None, None),
    _loop_goal("loop", "trees", 1, 1.15, 1.0),
    _loop_goal("loop", "trees", 5, 1.1, 1.0),
    _against("stock-beam", "stock Beam ÷ scoreline", "logistic", 8, 15),
    _against("ray", "Ray Data without its start ÷ scoreline", "logistic", 2.5, 4),
    _against("ray", "Ray Data without its start ÷ scoreline", "trees", 2.0, 2.5),
    Goal("memory", "peak RSS, 50,000,000 rows ÷ 5,000,000", "≤", 1.15, 1.05, _memory),
    Goal("ten-rows", f'10 rows ÷ `python -c "{programs.BEAM_IMPORT}"`', "≤", 1.6, 1.3, _ten_rows),
    Goal("help", "`scoreline --help` ÷ that import", "≤", 0.25, 0.1, _help),
    Goal(
        "poison-nan",
        "1 NaN per 65,536 rows (screened) ÷ clean",
        "≤",
        1.5,
        1.2,
        _poison("logistic", "clean", "nan"),
    ),
    Goal(
        "poison-overflow",
        "1 overflowing row per 65,536 (split) ÷ clean",
        "≤",
        3,
        2,
        _poison("squares", "clean", "overflow"),
    ),
    Goal(
        "poison-unseen",
        "1 unseen category per 65,536 rows (split) ÷ clean",
        "≤",
        3,
        2,
        _poison("kinds", "kinds", "unseen"),
    ),
)


def goal_line(goal: Goal, ratio: Ratio) -> str:
    """Turns a measured row into its line of the table."""
    value = ratio.value
    must, aim = (f"{goal.sign} {limit:g}" if limit else "" for limit in (goal.must, goal.aim))
    measured = f"{value.median:.2f} ({value.low:.2f}-{value.high:.2f})"
    return f"| {goal.title} | {must} | {aim} | {measured} | {goal.verdict(value.median)} |"


def sample_line(name: str, samples: Sequence[Sample]) -> str:
    """Turns the samples of one command into its line of the second table."""
    wall = Spread.of(sample.wall_secs for sample in samples)
    cpu = Spread.of(sample.cpu_secs for sample in samples)
    peak = Spread.of(sample.peak_rss_bytes / 2**20 for sample in samples)
    return (
        f"| {name} | {wall.median:.2f} ({wall.low:.2f}-{wall.high:.2f}) "
        f"| {cpu.median:.2f} | {peak.median:.0f} ({peak.low:.0f}-{peak.high:.0f}) |"
    )


def report(lines: Iterable[str], details: Iterable[str], size: Size) -> str:
    """Turns measured lines into the Markdown that is kept."""
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    small = " **A functional pass on small files: no figure here means anything.**"
    head = (
        f"{python}, {os.cpu_count()} cores; {versions}. Median (lowest-highest) of "
        f"{size.rounds} rounds, commands taking turns.{small if size.small else ''}"
    )
    table = ["| Parquet → Parquet, 20 float32 columns | must | aim | measured | reached |"]
    whole = ["| whole command | seconds | CPU seconds | peak RSS, MiB |"]
    rows = [*table, "|---|---|---|---|---|", *lines, "", *whole, "|---|---|---|---|", *details]
    return "\n".join([head, "", *rows, ""])


def measure(goals: Sequence[Goal], size: Size) -> tuple[str, bool]:
    """Measures goals one by one; returns the report and whether all could be measured."""
    lines: list[str] = []
    details: list[str] = []
    text, whole = "", True
    for goal in goals:
        print(f"{goal.name}: {goal.title}", file=sys.stderr, flush=True)
        try:
            ratio = goal.measure(size)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            print(f"  failed: {error}", file=sys.stderr, flush=True)
            lines.append(f"| {goal.title} |  |  |  | not measured |")
            whole = False
        else:
            lines.append(goal_line(goal, ratio))
            details += [sample_line(f"{goal.name}: {n}", s) for n, s in ratio.samples.items()]
        text = report(lines, details, size)
        WORK.mkdir(exist_ok=True)
        _TABLE.write_text(text)
    return text, whole


def main() -> int:
    """Reads the command line and measures what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [goal.name for goal in GOALS]
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"], help=", ".join(names))
    parser.add_argument("--rounds", type=int, help=f"how often each command runs ({ROUNDS})")
    parser.add_argument("--small", action="store_true", help="small files, one round")
    args = parser.parse_args()
    unknown = [each for each in args.only if not any(fnmatchcase(n, each) for n in names)]
    if unknown:
        parser.error(f"no row is called {unknown}; there are {names}")
    goals = [goal for goal in GOALS if any(fnmatchcase(goal.name, each) for each in args.only)]
    size = Size(args.rounds or (1 if args.small else ROUNDS), args.small)
    text, whole = measure(goals, size)
    print(text)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
