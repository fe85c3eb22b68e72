"""Turns Parquet into predictions in four ways and prints how they compare: `make bench`.

Every row of the table is a ratio of whole commands in processes of their own, taking turns. What
two programs write is compared before either is timed. The table goes to stdout and, after every
row, to benchmarks/work/parquet.md; progress goes to stderr.

::

    python benchmarks/parquet.py                        # everything, the better part of an hour
    python benchmarks/parquet.py --only 'loop-*' help   # some rows, by name
    python benchmarks/parquet.py --small                # a functional pass, no figures to keep
"""

import sys
from collections.abc import Callable

import goals
import programs
from goals import Goal, Size, Table
from inputs import BYTES_PER_ROW, WORK, need_disk
from programs import Job
from ratios import Ratio, memory_ratio, poison_ratio, wall_ratio, work_ratio

_TABLE = Table(
    WORK / "parquet.md",
    "Parquet → Parquet, 20 float32 columns",
    ("apache-beam", "pyarrow", "numpy", "pandas", "scikit-learn"),
)


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


if __name__ == "__main__":
    sys.exit(goals.main(GOALS, _TABLE, __doc__.splitlines()[0]))
