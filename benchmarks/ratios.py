"""Turns pairs of commands into ratios: check that both do the same, then measure in turn."""

import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inputs import poison_rows
from measure import Command, Sample, Spread, alternate, run
from programs import Job, command, imports

_COMPARE_SECS = 600
_UNORDERED = ("ray", "stock-beam")  # programs that promise no order of rows
ALLOW_ALL = ("--max-dead-letter-ratio", "1")

Samples = Mapping[str, list[Sample]]
Timed = tuple[Command, Command]  # what is timed, and the command that only imports the same


@dataclass(frozen=True)
class Ratio:
    """One measured ratio and the samples it was taken from.

    `value.median` is the ratio of the medians, its ends are of the ratios round by round.
    """

    value: Spread
    samples: Samples


def work_ratio(above: str, below: str, job: Job, rounds: int) -> Ratio:
    """Measures program ÷ program on a job: whole commands minus imports and, for Ray, its start."""
    over, under = command(above, job), command(below, job)
    any_order = above in _UNORDERED or below in _UNORDERED
    check_equal(over, under, *(["--any_order"] if any_order else []))
    return timed_ratio((over, imports(above, job)), (under, imports(below, job)), rounds)


def poison_ratio(clean: Job, poisoned: Job, rounds: int) -> Ratio:
    """Measures scoreline on a poisoned file ÷ scoreline on the clean one, minus imports."""
    over, under = command("scoreline", poisoned, *ALLOW_ALL), command("scoreline", clean)
    check_equal(under, over, "--poison", str(poison_rows(poisoned.num_rows)))
    start = imports("scoreline", clean)
    return timed_ratio((over, start), (under, start), rounds)


def timed_ratio(over: Timed, under: Timed, rounds: int) -> Ratio:
    """Measures the time of one command ÷ that of another, each minus that of its imports."""
    commands = {command.name: command for command in (*over, *under)}  # they may share imports
    samples = alternate(list(commands.values()), rounds)
    above, below = (
        _work_secs(samples[command.name], samples[start.name]) for command, start in (over, under)
    )
    return _ratio(above, below, samples)


def wall_ratio(over: Command, under: Command, rounds: int) -> Ratio:
    """Measures the time of one whole command ÷ that of another."""
    return _whole_ratio(over, under, rounds, lambda sample: sample.wall_secs)


def memory_ratio(over: Command, under: Command, rounds: int) -> Ratio:
    """Measures the peak memory of one whole command ÷ that of another."""
    return _whole_ratio(over, under, rounds, lambda sample: float(sample.peak_rss_bytes))


def check_equal(one: Command, other: Command, *arguments: str) -> None:
    """Runs two commands and raises RuntimeError unless compare.py finds their outputs equal."""
    outputs = [each.output for each in (one, other) if each.output]
    try:
        for each in (one, other):
            print(f"  checking {each.name}", file=sys.stderr, flush=True)
            run(each, keep_output=True)
        program = Path(__file__).with_name("compare.py")
        argv = [sys.executable, str(program), *map(str, outputs), *arguments]
        found = subprocess.run(argv, capture_output=True, text=True, timeout=_COMPARE_SECS)
    finally:
        for output in outputs:
            shutil.rmtree(output, ignore_errors=True)
    if found.returncode != 0:
        said = found.stderr.strip() or f"compare.py ended with {found.returncode}"
        raise RuntimeError(said)


def _whole_ratio(
    over: Command, under: Command, rounds: int, figure: Callable[[Sample], float]
) -> Ratio:
    samples = alternate([over, under], rounds)
    above, below = ([figure(each) for each in samples[name.name]] for name in (over, under))
    return _ratio(above, below, samples)


def _work_secs(samples: Sequence[Sample], imports_only: Sequence[Sample]) -> list[float]:
    import_secs = Spread.of(sample.wall_secs for sample in imports_only).median
    return [each.wall_secs - import_secs - _ray_start_secs(each) for each in samples]


def _ray_start_secs(sample: Sample) -> float:
    said = re.search(r"^ray_start_secs=(\S+)$", sample.stdout, re.M)
    return float(said[1]) if said else 0.0


def _ratio(above: Sequence[float], below: Sequence[float], samples: Samples) -> Ratio:
    """Turns the figures of each round into a ratio: NaN where what is left of one is not positive.

    A command on few rows can take no longer than its imports did; that says nothing of its work.
    """
    middles = (Spread.of(above).median, Spread.of(below).median)
    if min(middles) <= 0:
        return Ratio(Spread(math.nan, math.nan, math.nan), samples)
    middle = middles[0] / middles[1]
    pairs = zip(above, below, strict=True)
    by_round = [over / under for over, under in pairs if min(over, under) > 0] or [middle]
    return Ratio(Spread(middle, min(by_round), max(by_round)), samples)
