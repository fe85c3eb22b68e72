"""Turns nothing into a running BigQuery emulator: each measurement has one of its own.

It is that of the tests (tests/bigquery/bq_emulator.py), as a process, and so is the double of the
write service: only the standard library is imported here (see measure.py).
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROJECT = "scoreline-tests"

_FOLDER = Path(__file__).parents[1] / "tests" / "bigquery"
_END_SECS = 30.0


@contextmanager
def fresh_bigquery() -> Iterator[Mapping[str, str]]:
    """Runs an empty emulator; gives the variables that clients find it by.

    Raises:
        RuntimeError: it did not start, or cannot be installed.
    """
    with _running("bq_emulator.py", 2) as variables:
        yield variables


@contextmanager
def dropping_double() -> Iterator[Mapping[str, str]]:
    """Runs a write service that drops all rows; gives the variable that clients find it by."""
    with _running("write_double.py", 1) as variables:
        yield variables


@contextmanager
def _running(program: str, num_variables: int) -> Iterator[Mapping[str, str]]:
    argv = [sys.executable, str(_FOLDER / program)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            yield _variables(process, num_variables)
        finally:
            process.terminate()
            process.wait(_END_SECS)


def _variables(process: "subprocess.Popen[str]", number: int) -> dict[str, str]:
    """What it says when it is up: a line for each variable, `export NAME=value`."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    while len(found) < number:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"it did not start: {process.args}")
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            found[name] = value
    return found
