"""Turns batches into predictions, and prints how that compares to the library's own predict.

Both start from the same table in Arrow's memory, 65,536 rows of 20 columns. The library's side is
what a person would write: `table.to_pandas()` and `predict`; ours is `Model.score`, which a worker
calls. Both run in one process of their own, in turns, after a check that they say the same. The
last rows are memory: eight threads that share a model against one. The table goes to stdout and,
after every row, to benchmarks/work/handlers.md.

::

    python benchmarks/handlers.py                     # everything, a few minutes
    python benchmarks/handlers.py --only 'xgboost*'   # some rows, by name
    python benchmarks/handlers.py --small             # a functional pass, no figures to keep
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import goals
from goals import Goal, Size, Table
from inputs import WORK
from measure import Command, Sample, Spread, run
from ratios import Ratio, memory_ratio

_ROUNDS = 9  # at least: a round is two calls, each of well below a second
_SECS = 900.0
_MATRIX, _FRAME = 1.10, 1.25
_THREADS = 1.2
_HERE = Path(__file__).parent
_TABLE = Table(
    WORK / "handlers.md",
    "65,536 rows of 20 columns",
    ("pyarrow", "numpy", "pandas", "scikit-learn", "xgboost-cpu", "lightgbm", "catboost"),
    "Seconds ÷ seconds of our handler and of the library's own side, which is `table.to_pandas()` "
    "and `predict`, in turns in one process; memory is the peak of whole processes.",
)


def _time(name: str) -> Callable[[Size], Ratio]:
    def measure(size: Size) -> Ratio:
        rounds = 1 if size.small else max(_ROUNDS, size.rounds)
        argv = [sys.executable, str(_HERE / "handler_times.py"), name, str(rounds)]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=_SECS)
        if said.returncode != 0:
            raise RuntimeError(said.stderr.strip()[-2000:])
        print(said.stdout, file=sys.stderr, end="")
        ours, own = zip(
            *(map(float, line.split()) for line in said.stdout.splitlines()), strict=True
        )
        ratios = [one / other for one, other in zip(ours, own, strict=True)]
        value = Spread(statistics.median(ours) / statistics.median(own), min(ratios), max(ratios))
        return Ratio(value, {"ours": _samples(ours), "the library": _samples(own)})

    return measure


def _samples(secs: tuple[float, ...]) -> list[Sample]:
    return [Sample(each, float("nan"), 0, "") for each in secs]


def _memory(name: str) -> Callable[[Size], Ratio]:
    def measure(size: Size) -> Ratio:
        program = (sys.executable, str(_HERE / "handler_threads.py"), name)
        eight, one = (Command(f"{threads} threads", (*program, str(threads))) for threads in (8, 1))
        run(one)  # trains the model if it is not there yet
        return memory_ratio(eight, one, 1 if size.small else 3)

    return measure


_TIMED = (
    ("sklearn-matrix", "scikit-learn, a matrix", _MATRIX),
    ("sklearn-frame", "scikit-learn, a column transformer on a frame", _FRAME),
    ("sklearn-text", "scikit-learn, text", _FRAME),
    ("onnx", "ONNX, a matrix", _MATRIX),
    ("xgboost", "XGBoost, a booster", _MATRIX),
    ("xgboost-frame", "XGBoost, a classifier with categories", _FRAME),
    ("lightgbm", "LightGBM, a matrix", _MATRIX),
    ("lightgbm-frame", "LightGBM with categories", _FRAME),
    ("catboost", "CatBoost, a matrix", _MATRIX),
    ("catboost-frame", "CatBoost with categories", _FRAME),
)
_SHARED = ("sklearn-matrix", "onnx", "xgboost", "lightgbm", "catboost")
GOALS = (
    *(
        Goal(name, f"{title} ÷ its own predict", "≤", must, None, _time(name))
        for name, title, must in _TIMED
    ),
    *(
        Goal(
            f"memory-{name}",
            f"peak memory, 8 threads ÷ 1: {name}",
            "≤",
            _THREADS,
            None,
            _memory(name),
        )
        for name in _SHARED
    ),
)


if __name__ == "__main__":
    sys.exit(goals.main(GOALS, _TABLE, __doc__.splitlines()[0]))
