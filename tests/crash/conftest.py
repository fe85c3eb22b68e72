"""Real commands, in processes of their own, that come to a sudden end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from emulator import Emulator

sys.path.append(str(Path(__file__).parents[1] / "bigquery"))  # the emulator of BigQuery

from bq_emulator import BigQueryEmulator, bigquery_fixture
from live import Scene
from running import Ended, numbers, write
from stream_process import Starter, start_afresh
from sudden import BIG, SMALL, WRECK, Moment, Popen


@pytest.fixture(scope="session")
def big_file(tmp_path_factory: Any) -> Path:
    """A million rows in fifty row groups."""
    return write(tmp_path_factory.mktemp("big") / "in.parquet", numbers(BIG), row_group_size=20_000)


@pytest.fixture
def small_file(workdir: Path) -> Path:
    """Rows in four row groups, the first of them with a dead letter."""
    table = numbers(SMALL)
    values = table["a"].to_pylist()
    table = table.set_column(0, "a", pa.array([None, *values[1:]]))
    return write(workdir / "in.parquet", table, row_group_size=SMALL // 4)


@pytest.fixture(scope="module")
def bq() -> Iterator[BigQueryEmulator]:
    """An emulator of BigQuery of this module."""
    yield from bigquery_fixture()


def bigquery_variables() -> dict[str, str]:
    """What a command needs to find that emulator, if there is one."""
    return {name: value for name, value in os.environ.items() if name.startswith("BIGQUERY_")}


@pytest.fixture(scope="session")
def wrecker() -> Iterator[Popen]:
    """A process of `wreck.py`."""
    with subprocess.Popen(
        [sys.executable, WRECK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def wreck(wrecker: Popen, workdir: Path) -> Callable[..., Ended]:
    """Runs a command in `workdir` that gets a signal at a moment: see `Moment`."""

    def run(number: signal.Signals, moment: Moment, *words: str) -> Ended:
        err = workdir / "stderr.txt"
        err.unlink(missing_ok=True)
        mishap = {"number": number, **moment._asdict()}
        places = {"folder": str(workdir), "err": str(err)}
        request = {**places, "words": words, "env": bigquery_variables(), "mishap": mishap}
        assert wrecker.stdin is not None
        assert wrecker.stdout is not None
        wrecker.stdin.write(json.dumps(request) + "\n")
        wrecker.stdin.flush()
        return Ended(int(wrecker.stdout.readline()), "", err.read_text())

    return run


@pytest.fixture
def start(workdir: Path) -> Iterator[Callable[..., Popen]]:
    """Starts a Python program in `workdir`; it does not outlive the test."""
    started: list[Popen] = []

    def run(*words: str | os.PathLike[str]) -> Popen:
        command = [sys.executable, *map(os.fspath, words)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    """A process that starts commands quickly."""
    starter = Starter()
    yield starter
    starter.close()


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, emulator: Emulator, workdir: Path, classifier_file: Path
) -> Iterator[Scene]:
    """Topics of its own on the emulator, and the streams and publishers between them.

    A test that takes long starts commands as a person does.
    """
    is_long = request.node.get_closest_marker("soak") is not None
    start = start_afresh if is_long else request.getfixturevalue("starter")
    with Scene(emulator, start, workdir, classifier_file) as scene:
        yield scene
