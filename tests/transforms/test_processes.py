import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scoreline.transforms.processes import is_alive, this_process


def test_a_process_that_has_ended_is_dead(workdir: Path) -> None:
    script = (
        "import sys; from scoreline.transforms.processes import this_process; import json; "
        "print(json.dumps(this_process()), flush=True); sys.stdin.read()"
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
    beat = this_process()
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
    beat = this_process()
    assert beat["system"] == socket.gethostname()
    assert beat["pid_started"] == "unknown"
    assert is_alive(beat)
    assert not is_alive(beat | {"pid": 2**22 + 1})

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(beat)
