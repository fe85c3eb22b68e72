"""Runs the command line with a mishap at a chosen moment, again and again.

A request is a line of JSON on stdin: `folder` to work in, `words` of the command line, `env` to
set, `err` (a file for its stderr), and the mishap. At the `count`-th call of the function `where`
(`package.module.function`) that has `part` in one of its arguments, `when` (before or after) it has
done its work, the process gets the signal `number`. The answer is a line with how it ended.

Each command runs in a process of its own, forked from this one, which has imported everything
already and started nothing: that is all that it saves.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

IMPORTED = (
    "apache_beam.runners.portability.fn_api_runner",
    "scoreline.pipelines.launch",
    "sklearn.linear_model",
)


def wreck(number: int, where: str, part: str, count: int, when: str) -> None:
    """Replaces the function by one that does its work and brings the mishap about."""
    owner, function = _find(where)
    real: Callable[..., Any] = getattr(owner, function)
    calls = 0

    def wrecked(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += any(part in str(argument) for argument in args)
        strikes = calls == count and any(part in str(argument) for argument in args)
        if strikes and when == "before":
            os.kill(os.getpid(), number)
        result = real(*args, **kwargs)
        if strikes and when == "after":
            os.kill(os.getpid(), number)
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


def _run(
    folder: str,
    words: list[str],
    err: str,
    mishap: dict[str, Any],
    env: dict[str, str] | None = None,
) -> None:
    os.chdir(folder)
    os.environ.update(env or {})
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    wreck(**mishap)
    sys.argv = ["scoreline", *words]
    cli.console()


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    from scoreline.pipelines import cli

    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
