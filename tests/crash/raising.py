"""Runs the command line with an exception in it, once.

    python raising.py WHERE COUNT MARKER WORDS...

At the COUNT-th call of the function WHERE (`package.module.function`) the file MARKER is written
and, a little later, an exception is raised. A process that finds the file runs undisturbed.
"""

import functools
import pkgutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOOK_SECS = 0.5  # for the test to see what is in hand


def strike(marker: Path) -> bool:
    """Whether a fault is to happen now: the first time only."""
    if marker.exists():
        return False
    marker.touch()
    time.sleep(LOOK_SECS)
    return True


def disturb(where: str, count: int, marker: Path) -> None:
    """Replaces a function by one that raises at one call."""
    owner_name, _, name = where.rpartition(".")
    owner = pkgutil.resolve_name(owner_name)
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    @functools.wraps(real)
    def disturbed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= count and strike(marker):
            raise RuntimeError(f"injected into {where}")
        return real(*args, **kwargs)

    setattr(owner, name, disturbed)


if __name__ == "__main__":
    from scoreline.pipelines.cli import console

    disturb(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    sys.argv = ["scoreline", *sys.argv[4:]]
    sys.exit(console())
