"""Starts the command line in processes that are forked from this one, which has imported it.

A request is a line of JSON on stdin. `{"words", "folder", "env", "path", "err", "raising"}` starts
a command in a folder, with variables, a folder to import from, a file for its stderr, and what
`raising.disturb` is to do, if anything; the answer is its pid. `{"poll"}` asks for the exit code of
a pid; it is null while that runs. With a variable `AGAIN` the command is given twice in one
process, and what `Deduplicate` has learnt in the first run is known in the second: as if a runner
tried a failed bundle again with the same DoFn, which the in-process one does not.

All that this saves is the time to import: three seconds of a core for each start.
"""

import functools
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from raising import disturb

IMPORTED = (
    "apache_beam.runners.portability.fn_api_runner",
    "scoreline.pipelines.stream",
    "sklearn.linear_model",
)


def start(request: dict[str, Any]) -> int:
    """Forks a process for a command; gives its pid."""
    child = os.fork()
    if not child:
        _run(**request)
    return child


def poll(pid: int) -> int | None:
    """The exit code of a command, negative for a signal; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _run(
    words: list[str], folder: str, env: dict[str, str], path: str, err: str, raising: list[Any]
) -> None:
    os.chdir(folder)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.environ.update(env)
    sys.path.insert(0, path)
    if raising:
        where, count, marker = raising
        disturb(where, int(count), Path(marker))
    sys.argv = ["scoreline", *words]
    if "AGAIN" in env:
        deduplicate.Window = functools.cache(deduplicate.Window)  # type: ignore[misc, assignment]
        assert cli.main(words) == 1
    cli.console()


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    from scoreline.pipelines import cli
    from scoreline.transforms import deduplicate

    for line in sys.stdin:
        asked = json.loads(line)
        answer = poll(asked["poll"]) if "poll" in asked else start(asked)
        print(json.dumps(answer), flush=True)
