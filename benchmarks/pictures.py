"""Turns measured runs into the pictures of docs/performance.md.

===========  ===================================================================================
``batch``    rows/s against the most rows of a batch: where the default comes from
``threads``  rows/s against Beam's threads in one process: where the default comes from
``rows``     time against rows from 10^4 to 5*10^7, with a line through the largest run
===========  ===================================================================================

Every point is the median of whole commands minus the median of importing what they import. The
figures are kept in benchmarks/work/pictures.json and drawn to docs/pictures/*.svg. matplotlib is
needed for drawing only::

    python benchmarks/pictures.py                    # measure and draw all, half an hour
    python benchmarks/pictures.py --only batch rows  # some of them
    python benchmarks/pictures.py --draw             # draw what was measured before
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from inputs import BYTES_PER_ROW, WORK, need_disk
from measure import Command, Spread, alternate
from programs import Job, command, imports

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BATCH_ROWS = (1_024, 4_096, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288)
THREADS = (1, 2, 4)
ROWS = (10_000, 100_000, 1_000_000, 10_000_000, 50_000_000)
ROUNDS = 3

_MEASURED = WORK / "pictures.json"
_FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
_FEW_ROWS = {"logistic": 5_000_000, "trees": 1_000_000}  # seconds of work, not more

Curve = list[tuple[int, float]]  # (x, seconds of work or rows/s)
Curves = dict[str, Curve]


def batch_size(rounds: int) -> Curves:
    """Measures rows/s of scoreline and of the loop against the rows of a batch."""
    curves: Curves = {}
    for model, num_rows in _FEW_ROWS.items():
        job = Job(model, num_rows)
        for program in ("scoreline", "loop"):
            points = [(rows, _batch_command(program, job, rows)) for rows in BATCH_ROWS]
            curves[f"{program}, {model}"] = _rates(program, job, points, rounds)
    return curves


def threads(rounds: int) -> Curves:
    """Measures rows/s of scoreline against the threads of Beam's in-process runner."""
    curves: Curves = {}
    for model, num_rows in _FEW_ROWS.items():
        job = Job(model, num_rows)
        points = [(number, _threads_command(job, number)) for number in THREADS]
        curves[f"scoreline, {model}"] = _rates("scoreline", job, points, rounds)
    return curves


def rows(rounds: int) -> Curves:
    """Measures the seconds of scoreline and of the loop against the number of rows."""
    need_disk(2 * ROWS[-1] * BYTES_PER_ROW)
    curves: Curves = {}
    for program in ("scoreline", "loop"):
        jobs = [Job("logistic", number) for number in ROWS]
        points = [(job.num_rows, command(program, job)) for job in jobs]
        curves[program] = _work_secs(program, jobs[0], points, rounds)
    return curves


def _batch_command(program: str, job: Job, max_batch_rows: int) -> Command:
    label, given = f"batch-{max_batch_rows}", str(max_batch_rows)
    if program == "scoreline":
        plain = command(program, job)
        return replace(
            plain,
            name=f"{plain.name}-{label}",
            environment={"SCORELINE_MAX_BATCH_ROWS": given},
        )
    plain = command(program, job, "--batch_rows", given)
    return replace(plain, name=f"{plain.name}-{label}")


def _threads_command(job: Job, number: int) -> Command:
    flags = ("--direct_num_workers", str(number), "--direct_running_mode", "multi_threading")
    plain = command("scoreline", job, *flags)
    return replace(plain, name=f"{plain.name}-threads-{number}")


def _work_secs(program: str, job: Job, points: Sequence[tuple[int, Command]], rounds: int) -> Curve:
    start = imports(program, job)
    samples = alternate([start, *(each for _, each in points)], rounds)
    medians = {
        name: Spread.of(sample.wall_secs for sample in runs).median
        for name, runs in samples.items()
    }
    return [(x, medians[each.name] - medians[start.name]) for x, each in points]


def _rates(program: str, job: Job, points: Sequence[tuple[int, Command]], rounds: int) -> Curve:
    return [(x, job.num_rows / secs) for x, secs in _work_secs(program, job, points, rounds)]


def draw_rates(axes: "Axes", curves: Curves, x_label: str) -> None:
    """Draws rows/s against something that doubles."""
    for name, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), marker="o", label=name)
    axes.set_xscale("log", base=2)
    axes.set_xlabel(x_label)
    axes.set_ylabel("rows/s")
    axes.set_ylim(bottom=0)


def draw_rows(axes: "Axes", curves: Curves) -> None:
    """Draws seconds against rows and, for each program, the line of equal speed.

    A run on few rows can take no longer than its imports did, and then has no place on the axis.
    """
    for name, points in curves.items():
        curve = [(number, secs) for number, secs in points if secs > 0]
        (line,) = axes.loglog(*zip(*curve, strict=True), marker="o", label=name)
        last_rows, last_secs = curve[-1]
        straight = [number * last_secs / last_rows for number, _ in curve]
        colour = line.get_color()
        axes.loglog([x for x, _ in curve], straight, linestyle=":", color=colour)
    axes.set_xlabel("rows")
    axes.set_ylabel("seconds, without imports (dotted: time = rows x constant)")


PICTURES: dict[str, tuple[Callable[[int], Curves], Callable[["Axes", Curves], None]]] = {
    "batch": (batch_size, lambda axes, curves: draw_rates(axes, curves, "most rows of a batch")),
    "threads": (threads, lambda axes, curves: draw_rates(axes, curves, "threads")),
    "rows": (rows, draw_rows),
}


def draw(name: str, curves: Curves) -> Path:
    """Turns the curves of one picture into its SVG file."""
    try:
        import matplotlib
    except ImportError:
        sys.exit(f"{_MEASURED} is kept; drawing it needs: pip install matplotlib, then --draw")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = name  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    PICTURES[name][1](axes, curves)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _FOLDER.mkdir(parents=True, exist_ok=True)
    path = _FOLDER / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def measured() -> dict[str, Curves]:
    """Returns what was measured before, by picture."""
    return json.loads(_MEASURED.read_text()) if _MEASURED.exists() else {}


def measure(names: Iterable[str], rounds: int) -> None:
    """Measures pictures and keeps each as soon as it is done."""
    for name in names:
        known = measured() | {name: PICTURES[name][0](rounds)}
        WORK.mkdir(exist_ok=True)
        _MEASURED.write_text(json.dumps(known, indent=1))


def main() -> None:
    """Reads the command line, measures and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PICTURES), default=list(PICTURES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    args = parser.parse_args()
    if not args.draw:
        measure(args.only, args.rounds)
    for name, curves in measured().items():
        if name in args.only:
            print(draw(name, curves))


if __name__ == "__main__":
    main()
