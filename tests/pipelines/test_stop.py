"""Ends of the process, with the end itself replaced; the real ones are in tests/crash."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoreline.pipelines import stop


class Exited(BaseException):
    pass


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    codes: list[int] = []

    def exit_(code: int) -> None:
        codes.append(code)
        raise Exited

    monkeypatch.setattr(os, "_exit", exit_)
    monkeypatch.setattr(stop, "_kill_descendants", lambda pid: None)
    monkeypatch.setattr(stop, "_ended_by", None)
    monkeypatch.setattr(stop, "_undo", None)
    monkeypatch.setattr(stop, "_drain", None)  # of a stream that ran in this process before
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup = signal.set_wakeup_fd(-1)
    yield codes
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_undoes_the_run_and_ends_the_process(
    exits: list[int], capfd: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    stop.undo_on_signals(lambda: "all undone.")
    with pytest.raises(Exited):
        stop._handle(number, None)
    assert exits == [code]
    assert capfd.readouterr().err == "scoreline: interrupted: all undone.\n"


def test_before_a_run_there_is_nothing_to_undo(
    exits: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exited):
        stop._handle(signal.SIGINT, None)
    assert capfd.readouterr().err == "scoreline: interrupted: nothing was started.\n"


def test_an_undo_that_hangs_does_not_keep_the_process(
    exits: list[int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stop, "_UNDO_SECS", 0.01)
    forever = threading.Event()
    stop.undo_on_signals(lambda: str(forever.wait()))
    with pytest.raises(Exited):
        stop._handle(signal.SIGINT, None)
    assert "the same command removes what is left" in capfd.readouterr().err
    forever.set()


def test_an_undo_that_fails_does_not_either(
    exits: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        raise OSError("gone")

    stop.undo_on_signals(fail)
    with pytest.raises(Exited):
        stop._handle(signal.SIGINT, None)
    assert capfd.readouterr().err == (
        "scoreline: interrupted: the same command removes what is left, and starts anew.\n"
    )


def test_a_second_signal_does_not_disturb_the_first(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "_ended_by", threading.get_ident())
    stop._handle(signal.SIGINT, None)
    assert exits == []


def test_a_main_thread_that_runs_no_python_is_ended_by_another(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "_PATIENCE_SECS", 0.01)
    read, write = os.pipe()
    os.write(write, bytes([signal.SIGTERM]))
    with pytest.raises(Exited):
        stop._watch(read)
    assert exits == [143]
    os.close(read)
    os.close(write)


def test_the_main_thread_waits_while_another_ends_the_process(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waited(Exception):
        pass

    class Forever:
        def wait(self) -> None:
            raise Waited

    monkeypatch.setattr(stop, "_ended_by", -1)
    monkeypatch.setattr(threading, "Event", Forever)
    with pytest.raises(Waited):
        stop._handle(signal.SIGINT, None)


def test_installing(exits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and `&` in a script do
    monkeypatch.setattr(stop, "_watch", lambda read: os.close(read))
    stop.end_on_signals()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is stop._handle


def test_descendants_are_killed() -> None:
    script = "import subprocess, sys; sys.exit(subprocess.call(['sleep', '60']))"
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        deadline = time.monotonic() + 10
        children: list[int] = []
        while not children and time.monotonic() < deadline:
            listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            children = [int(child) for child in listed.split()]
        stop._kill_descendants(process.pid)
        assert process.wait(10) != 0  # its child is gone
    assert not Path(f"/proc/{children[0]}").exists()
