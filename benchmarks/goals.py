"""Turns goals, each a ratio and what it has to be, into a table: measured one by one, and kept.

The table goes to stdout and, after every row, to a file; progress goes to stderr.
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
from pathlib import Path

from measure import Sample, Spread
from ratios import Ratio

ROUNDS = 5
_SMALL = {1_000_000: 100_000, 5_000_000: 200_000, 20_000_000: 300_000, 50_000_000: 400_000}


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


@dataclass(frozen=True)
class Table:
    """What a table is of.

    Attributes:
        path: where it is kept.
        title: its first column's.
        versions: the packages whose versions stand above it.
        notes: what else a reader has to know of the figures.
    """

    path: Path
    title: str
    versions: tuple[str, ...]
    notes: str = ""

    def report(self, lines: Iterable[str], details: Iterable[str], size: Size) -> str:
        """Turns measured lines into the Markdown that is kept."""
        versions = ", ".join(f"{name} {version(name)}" for name in self.versions)
        python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
        small = " **A functional pass on small files: no figure here means anything.**"
        head = (
            f"{python}, {os.cpu_count()} cores; {versions}. Median (lowest-highest) of "
            f"{size.rounds} rounds, commands taking turns.{small if size.small else ''}"
        )
        notes = [self.notes, ""] if self.notes else []
        table = [f"| {self.title} | must | aim | measured | reached |", "|---|---|---|---|---|"]
        whole = ["| whole command | seconds | CPU seconds | peak RSS, MiB |", "|---|---|---|---|"]
        return "\n".join([head, "", *notes, *table, *lines, "", *whole, *details, ""])


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


def measure(goals: Sequence[Goal], table: Table, size: Size) -> tuple[str, bool]:
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
        text = table.report(lines, details, size)
        table.path.parent.mkdir(exist_ok=True)
        table.path.write_text(text)
    return text, whole


def main(goals: Sequence[Goal], table: Table, description: str) -> int:
    """Reads the command line and measures what it asks for."""
    parser = argparse.ArgumentParser(description=description)
    names = [goal.name for goal in goals]
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"], help=", ".join(names))
    parser.add_argument("--rounds", type=int, help=f"how often each command runs ({ROUNDS})")
    parser.add_argument("--small", action="store_true", help="small files, one round")
    args = parser.parse_args()
    unknown = [each for each in args.only if not any(fnmatchcase(n, each) for n in names)]
    if unknown:
        parser.error(f"no row is called {unknown}; there are {names}")
    chosen = [goal for goal in goals if any(fnmatchcase(goal.name, each) for each in args.only)]
    size = Size(args.rounds or (1 if args.small else ROUNDS), args.small)
    text, whole = measure(chosen, table, size)
    print(text)
    return 0 if whole else 1
