"""Turns a surge from 100 to 5,000 messages a second into p99 over time, and draws it.

Run by streaming.py, or by itself; matplotlib is needed for drawing only::

    python benchmarks/surge.py          # measure once and draw docs/pictures/surge.svg
    python benchmarks/surge.py --draw   # draw what was measured before
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inputs import WORK
from schedule import Phase
from stream_trials import Trial, backlog
from stream_trials import surge as surge_trial

WINDOW_SECS = 1.0  # as in figures.py: what the time until p99 is back is measured in

_PHASES = (Phase(100, 15), Phase(5_000, 20), Phase(100, 30))
_SMALL_PHASES = (Phase(100, 6), Phase(1_000, 3), Phase(100, 6))
_BACKLOG, _SMALL_BACKLOG = 50_000, 3_000
_MEASURED = WORK / "surge.json"
_PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "surge.svg"

Figures = dict[str, Any]


def measure(*, small: bool = False) -> Trial:
    """Measures a surge; its figure `ratio` is the time until p99 is back ÷ (excess ÷ spare rate).

    The excess is what had been sent and not published when the surge ended. The spare rate is that
    at which scoreline works off a backlog, less the messages that go on coming. Nothing shorter
    than a window can be seen, so excess ÷ spare rate counts as one at the least.
    """
    phases = _SMALL_PHASES if small else _PHASES
    capacity = backlog("scoreline", _SMALL_BACKLOG if small else _BACKLOG).figures["per_sec"]
    trial = surge_trial(phases)
    spare = capacity - phases[-1].per_sec
    expected = max(WINDOW_SECS, trial.figures["excess"] / spare)
    found = {
        "ratio": trial.figures["back_secs"] / expected,
        "spare_per_sec": spare,
        "expected_secs": expected,
    }
    return Trial(trial.sample, found | trial.figures)


def keep(found: Sequence[Figures]) -> None:
    """Keeps the surge with the middle ratio for the picture."""
    middle = sorted(found, key=lambda figures: figures["ratio"])[len(found) // 2]
    WORK.mkdir(exist_ok=True)
    _MEASURED.write_text(json.dumps(middle))


def draw() -> Path:
    """Draws p99 and p50 over time, and below them the rate at which predictions came."""
    try:
        import matplotlib
    except ImportError:
        sys.exit(f"{_MEASURED} is kept; drawing it needs: pip install matplotlib, then --draw")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "surge"  # the same figures give the same file
    from matplotlib import pyplot

    measured: Figures = json.loads(_MEASURED.read_text())
    figure, (upper, lower) = pyplot.subplots(
        2, figsize=(7, 5.5), sharex=True, layout="constrained", height_ratios=[2, 1]
    )
    at, p99, p50 = zip(*measured["windows"], strict=True)
    upper.plot(at, p99, label="p99")
    upper.plot(at, p50, label="p50")
    upper.axhline(measured["calm_p99"], linestyle=":", label="worst p99 before the surge")
    upper.set_ylabel("seconds from publish to published")
    upper.set_yscale("log")
    lower.plot(*zip(*measured["published"], strict=True), label="predictions/s")
    lower.set_ylabel("predictions/s")
    lower.set_xlabel("seconds since the surge began")
    for axes in (upper, lower):
        axes.axvspan(0, measured["surge_secs"], alpha=0.1, label="surge")
        axes.grid(visible=True, alpha=0.3)
    upper.legend()
    _PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(_PICTURE, metadata={"Date": None})
    pyplot.close(figure)
    return _PICTURE


def main() -> None:
    """Reads the command line, measures and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    parser.add_argument("--small", action="store_true", help="a short surge, to see that it works")
    args = parser.parse_args()
    if not args.draw:
        keep([measure(small=args.small).figures])
    print(draw())


if __name__ == "__main__":
    main()
