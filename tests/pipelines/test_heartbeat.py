import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scoreline.pipelines import heartbeat as module
from scoreline.pipelines.heartbeat import Heartbeat, is_alive
from scoreline.transforms.layout import FileLayout


def beat_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out/_run/r1/heartbeat.json").read_text())
    return found


def test_it_beats_until_it_stops(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT_SECS", 0.01)
    heartbeat = Heartbeat(FileLayout("out", report="runs"), "r1")
    heartbeat.start()
    first = beat_of(workdir)
    assert is_alive(first)
    assert first["run_id"] == "r1"
    assert first["run_folder"] == str(workdir / "runs/r1")
    deadline = time.monotonic() + 5
    while beat_of(workdir)["at"] == first["at"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert beat_of(workdir)["at"] > first["at"]
    heartbeat.stop()
    assert not list((workdir / "out/_run/r1").iterdir())


def test_it_can_leave_word_that_it_is_dead(workdir: Path) -> None:
    heartbeat = Heartbeat(FileLayout("out"), "r1")
    heartbeat.start()
    heartbeat.stop(leave=True)
    assert not is_alive(beat_of(workdir))


def test_a_full_disk_does_not_stop_it(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT_SECS", 0.01)
    tried = []
    heartbeat = Heartbeat(FileLayout("out"), "r1")
    heartbeat.start()

    def fail(*args: Any) -> None:
        tried.append(args)
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "write_json", fail)
    deadline = time.monotonic() + 5
    while len(tried) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    heartbeat.stop(leave=True)
    assert len(tried) > 3


def test_a_process_that_has_ended_is_dead(workdir: Path) -> None:
    script = (
        "import sys; from scoreline.pipelines.heartbeat import _this_process; import json; "
        "print(json.dumps(_this_process()), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        beat = json.loads(process.stdout.readline())
        assert is_alive(beat)
        process.kill()
        # A zombie until somebody waits for it.
        deadline = time.monotonic() + 5
        while is_alive(beat) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_alive(beat)
    assert not is_alive(beat)


def test_another_process_of_the_same_id_is_not_it() -> None:
    beat = module._this_process()
    assert is_alive(beat)
    assert not is_alive(beat | {"pid_started": "0"})


def test_elsewhere_only_the_time_counts() -> None:
    beat = {"host": "x", "system": "elsewhere", "pid": os.getpid(), "pid_started": "1"}
    assert is_alive(beat | {"at": time.time() - 30})
    assert not is_alive(beat | {"at": time.time() - 61})


def test_systems_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Path, *args: Any) -> str:
        raise FileNotFoundError(self)

    exists = Path.exists
    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(Path, "exists", lambda self: str(self) != "/proc/self" and exists(self))
    beat = module._this_process()
    assert beat["system"] == socket.gethostname()
    assert beat["pid_started"] == "unknown"
    assert is_alive(beat)
    assert not is_alive(beat | {"pid": 2**22 + 1})

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(beat)
