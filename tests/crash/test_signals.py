"""Ctrl-C and SIGTERM: a prompt end, the right exit code, nothing final and nothing left over."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running import Ended, files_below
from sklearn.linear_model import LogisticRegression
from sudden import (
    CLOSED,
    SMALL,
    Moment,
    Popen,
    check_complete,
    command,
    wait_for_handlers,
    wait_for_run,
)

Start = Callable[..., Popen]
Score = Callable[..., Ended]
Wreck = Callable[..., Ended]

ODD_MODELS = Path(__file__).parents[1] / "pipelines"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that make a run take some seconds."""
    monkeypatch.setenv("PYTHONPATH", str(ODD_MODELS))
    return ["--preprocess", "odd_models:slow", "--allow-code"]


@pytest.mark.parametrize(
    ("number", "code", "mode"),
    [
        (signal.SIGINT, 130, "in_memory"),
        (signal.SIGTERM, 143, "in_memory"),
        (signal.SIGINT, 130, "multi_threading"),
        (signal.SIGTERM, 143, "multi_processing"),
    ],
)
def test_in_the_middle_of_a_run(
    start: Start,
    workdir: Path,
    big_file: Path,
    classifier_file: Path,
    slow: list[str],
    number: signal.Signals,
    code: int,
    mode: str,
) -> None:
    Path("in.parquet").symlink_to(big_file)
    flags = [*slow, f"--direct_running_mode={mode}", "--direct_num_workers=2"]
    process = start("-m", "scoreline", *command(classifier_file, *flags))
    wait_for_run(process, Path("out"))
    time.sleep(2.0 if mode == "multi_processing" else 0.5)

    before = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)

    assert time.monotonic() - before < 5
    assert process.returncode == code, err
    assert err.endswith(
        "scoreline: interrupted: nothing was made final; the same command starts anew.\n"
    )
    assert not Path("out").exists()


def test_while_beam_is_imported(
    start: Start, workdir: Path, big_file: Path, classifier_file: Path
) -> None:
    Path("in.parquet").symlink_to(big_file)
    process = start("-m", "scoreline", *command(classifier_file))
    wait_for_handlers(process)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "scoreline: interrupted: nothing was started.\n"
    assert not Path("out").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_while_files_are_made_final(
    wreck: Wreck,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
    classifier_file: Path,
    number: signal.Signals,
    code: int,
) -> None:
    moment = Moment("scoreline.transforms.commit.move", 2)
    interrupted = wreck(number, moment, *command(classifier_file))
    assert interrupted.code == code, interrupted.err
    assert "give the same command again, and it completes the run" in interrupted.err

    ended = score()

    assert ended.code == 0
    assert "completed run" in ended.err
    check_complete(Path("out"), SMALL, classifier, dead=1)


@pytest.mark.parametrize(
    "moment",
    [
        Moment("scoreline.transforms.commit.write_text", when="after", part="_SUCCESS"),
        Moment("scoreline.pipelines.display.Display.summary"),
    ],
)
def test_when_all_is_done(
    wreck: Wreck,
    small_file: Path,
    classifier: LogisticRegression,
    classifier_file: Path,
    moment: Moment,
) -> None:
    ended = wreck(signal.SIGINT, moment, *command(classifier_file))
    assert ended.code == 130
    assert "the run had just finished: its output is complete" in ended.err
    check_complete(Path("out"), SMALL, classifier, dead=1)


def test_deep_in_the_models_own_code(
    start: Start, small_file: Path, classifier_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own handlers wait until such a call returns."""
    monkeypatch.setenv("PYTHONPATH", str(ODD_MODELS))
    flags = ["--preprocess", "odd_models:stuck", "--allow-code"]
    process = start("-m", "scoreline", *command(classifier_file, *flags))
    wait_for_run(process, Path("out"))
    time.sleep(0.5)
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - before < 5
    assert not Path("out").exists()


def test_on_a_terminal_the_bar_goes_and_the_cursor_comes_back(
    workdir: Path, big_file: Path, classifier_file: Path, slow: list[str]
) -> None:
    Path("in.parquet").symlink_to(big_file)
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "scoreline", *command(classifier_file, *slow)],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    wait_for_run(process, Path("out"))  # type: ignore[arg-type]
    time.sleep(0.7)
    os.killpg(process.pid, signal.SIGINT)
    shown = b""
    while chunk := _read(outer):
        shown += chunk
    assert process.wait(10) == 130
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert shown.rstrip().endswith(b"the same command starts anew.")
    os.close(outer)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def test_of_two_runs_into_one_output_exactly_one_succeeds(
    start: Start, workdir: Path, big_file: Path, classifier_file: Path, slow: list[str]
) -> None:
    Path("in.parquet").symlink_to(big_file)
    words = command(classifier_file, *slow)
    both = [start("-m", "scoreline", *words) for _ in range(2)]
    ended = {process.pid: (process.communicate(timeout=60), process) for process in both}
    by_code = {process.returncode: (pid, err) for pid, ((_, err), process) in ended.items()}
    assert sorted(by_code) == [0, 2], ended
    winner, _ = by_code[0]
    _, said = by_code[2]
    assert f"is writing to out now (process {winner} on " in said
    assert "Wait until it ends, or choose another --output" in said
    assert pq.read_table("out").num_rows == 1_000_000
    assert [Path(name).name for name in files_below(Path("out"))] == [*CLOSED, "part-00000.parquet"]
