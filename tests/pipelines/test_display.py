"""What a person sees, on a terminal and in a log."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
import warnings
from pathlib import Path

import pytest
from running import alike, write

from scoreline.pipelines import display as display_module
from scoreline.pipelines.display import Display
from scoreline.transforms.telemetry import Telemetry

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SLOW = ["--preprocess", "odd_models:slow", "--allow-code"]


def on_terminal(words: list[str], columns: int, **env: str) -> tuple[int, str]:
    """Runs the command line on a terminal of this width; gives its exit code and all it showed."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"TERM": "xterm", "PYTHONPATH": str(Path(__file__).parent), **env}
    process = subprocess.Popen(
        [sys.executable, "-m", "scoreline", *words],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=environment,
    )
    os.close(inner)
    shown = b""
    while chunk := _read(outer):
        shown += chunk
    os.close(outer)
    return process.wait(), shown.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.fixture
def words(workdir: Path, classifier_file: Path) -> list[str]:
    folder = "a-folder-with-a-long-name/and-another-one-below-it/and-so-on"
    table = alike([None, *[1.0] * 30])
    write(workdir / folder / "customers.parquet", table, row_group_size=8)
    return [
        *("score", "--model", str(classifier_file), "--allow-pickle"),
        *("--input", f"{folder}/*.parquet", "--output", f"{folder}-scores", *SLOW),
    ]


def test_a_bar_then_a_table_that_fits(words: list[str]) -> None:
    code, shown = on_terminal(words, columns=70)

    assert code == 0, shown
    assert "━" in shown
    assert re.search(r"\d+ of 31 rows  \d+ rows/s", ESCAPES.sub("", shown))
    table = shown.rsplit("\x1b[?25h", 1)[1]
    assert "\x1b[1mread" in table
    lines = ESCAPES.sub("", table).strip().splitlines()
    values = dict(line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2)
    assert values["read"] == "31 rows"
    assert values["predicted"] == "30"
    example = values["predict/model_error"]
    assert example.startswith("1   e.g. …/customers.parquet#0: after ")
    assert example.endswith("…")
    assert all(len(line) <= 70 for line in lines[: lines.index(next(filter(_is_time, lines)))])
    # What can be copied is whole.
    output = words[words.index("--output") + 1]
    assert values["predictions"] == output
    assert values["report"].startswith(f"{output}/_run/")
    assert f'read_table("{output}/_dead_letters"' in table


def _is_time(line: str) -> bool:
    return line.startswith("time")


def test_no_color(words: list[str]) -> None:
    code, shown = on_terminal(words, columns=100, NO_COLOR="1")
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*m", shown)
    assert "predicted" in shown


def test_what_another_process_reads_is_not_counted(words: list[str]) -> None:
    flags = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    code, shown = on_terminal([*words, *flags], columns=100)
    assert code == 0, shown
    assert "31 rows" in shown
    assert "rows/s" not in ESCAPES.sub("", shown).split("read ", 1)[0]


def wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    err = ""
    deadline = time.monotonic() + 5
    while text not in err and time.monotonic() < deadline:
        time.sleep(0.01)
        err += capsys.readouterr().err
    return err


@pytest.mark.parametrize(
    ("total", "is_seen", "line"),
    [
        (1000, True, "0 of 1,000 rows, 0 rows/s"),
        (1000, False, "scoring 1,000 rows for 0 s"),
        (None, True, "\n0 rows, 0 rows/s"),
        (None, False, "scoring rows for 0 s"),
    ],
)
def test_a_log_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    total: int | None,
    is_seen: bool,
    line: str,
) -> None:
    monkeypatch.setattr(display_module, "_PLAIN_SECS", 0.01)
    with Display().progress(total, is_seen=is_seen):
        assert line in wait_for(line, capsys)


def test_quiet_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(quiet=True)
    threads = threading.active_count()
    with display.progress(1000):
        assert threading.active_count() == threads
    display.stop()
    display.note("hello")
    assert capsys.readouterr().err == ""


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = Display().warning
        warnings.warn("overflow\n  encountered", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "RuntimeWarning: overflow encountered\n"


def test_a_reader_that_has_gone_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    Display().note("hello")


def test_the_bar_is_drawn_here_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same as on the terminals above, in this process."""
    monkeypatch.setattr(display_module, "_REFRESH_SECS", 0.001)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    display = Display()
    for is_seen in (True, False):
        with display.progress(7, is_seen=is_seen):
            time.sleep(0.1)
    assert "7 rows" in capsys.readouterr().err


def test_a_dumb_terminal_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    with Display().progress(7):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


@pytest.fixture
def telemetry() -> Telemetry:
    """Of a stream that has scored 7 messages."""
    telemetry = Telemetry()
    telemetry.set_state("pulling")
    telemetry.count("read", 7)
    telemetry.model_version = "abc"
    return telemetry


def test_a_log_gets_a_status_line_now_and_then(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display().stream_status(0.01, telemetry):
        shown = wait_for("messages/s, p50 -, p99 -, oldest in hand -, dead letters 0", capsys)
        assert "model abc\n" in shown
        telemetry.set_state("retrying", "503")
        assert "retrying (503): 0 messages/s" in wait_for("retrying", capsys)


def test_quiet_shows_no_status(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    with Display(quiet=True).stream_status(0.001, telemetry):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_one_line_that_lives(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display_module, "_LIVE_SECS", 0.005)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    display = Display()
    with display.stream_status(3600, telemetry):
        shown = wait_for("messages/s", capsys)
        display.note("a note stands above it")
        telemetry.set_state("draining")
        shown += wait_for("draining: ", capsys)
    shown += capsys.readouterr().err
    lines = ESCAPES.sub("", shown).replace("\r", "\n").splitlines()
    assert "a note stands above it" in lines
    assert all(len(line) <= 60 for line in lines)
    assert shown.endswith("\x1b[2K")  # the line is gone when the summary comes
