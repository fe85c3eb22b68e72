"""Runs the command line with a mishap at a chosen moment.

    python wreck.py WHAT WHERE[:PART] COUNT WHEN -- score --model ...

At the COUNTth call of the function WHERE (`package.module.function`) that has PART in one of its
arguments, WHEN (before or after) it has done its work, WHAT happens: `kill` ends the process as
kill -9 does; `int` and `term` send a signal.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

SIGNALS = {"kill": signal.SIGKILL, "int": signal.SIGINT, "term": signal.SIGTERM}


def wreck(what: str, where: str, count: int, when: str) -> None:
    """Replaces the function by one that does its work and brings the mishap about."""
    name, _, part = where.partition(":")
    owner, function = _find(name)
    real: Callable[..., Any] = getattr(owner, function)
    calls = 0

    def strike() -> None:
        os.kill(os.getpid(), SIGNALS[what])

    def wrecked(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        is_meant = any(part in str(argument) for argument in args)
        calls += is_meant
        if is_meant and calls == count and when == "before":
            strike()
        result = real(*args, **kwargs)
        if is_meant and calls == count and when == "after":
            strike()
        return result

    setattr(owner, function, wrecked)


def _find(name: str) -> tuple[Any, str]:
    """The module or class that holds a function, and the function's name in it."""
    owner, _, function = name.rpartition(".")
    try:
        return importlib.import_module(owner), function
    except ModuleNotFoundError:
        module, _, class_ = owner.rpartition(".")
        return getattr(importlib.import_module(module), class_), function


if __name__ == "__main__":
    split = sys.argv.index("--")
    what, where, count, when = sys.argv[1:split]
    wreck(what, where, int(count), when)
    sys.argv = ["scoreline", *sys.argv[split + 1 :]]
    from scoreline.pipelines.cli import console

    console()
