import json
import time
from pathlib import Path
from typing import Any

import pytest

from scoreline.pipelines import heartbeat as module
from scoreline.pipelines.heartbeat import Heartbeat
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.processes import is_alive


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
