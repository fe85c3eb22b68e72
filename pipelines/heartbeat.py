"""Shows that a run lives: a small file beside its staged parts, written again and again."""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from scoreline.transforms.commit import HEARTBEAT
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.storage import absolute, join, remove, remove_scratch, write_json

_BEAT_SECS = 10.0
_STALE_SECS = 60.0


class Heartbeat:
    """The heartbeat of one run, from `start` to `stop`.

    Args:
        layout: where the run writes.
        run_id: the run's name.
        is_shared: whether others may write there at the same time, as streams may.
    """

    def __init__(self, layout: FileLayout, run_id: str, *, is_shared: bool = False):
        self._is_shared = is_shared
        self._path = join(layout.own_folder(run_id), HEARTBEAT)
        self._run_id = run_id
        self._run_folder = absolute(layout.run_folder(run_id))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="scoreline-heartbeat", daemon=True)

    def start(self) -> None:
        """Writes the first beat, then goes on in a thread."""
        self._write(_this_process())
        self._thread.start()

    def stop(self, *, leave: bool = False) -> None:
        """Ends the beat and removes the file, or leaves one that says that the run is dead."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        if not leave:
            remove(self._path)
            remove_scratch(self._path)
            return
        with suppress(OSError):  # what wants to be told may be a full disk; the process ends anyway
            self._write({**_this_process(), "pid_started": None, "at": 0})

    def _beat(self) -> None:
        while not self._stopped.wait(_BEAT_SECS):
            with suppress(OSError):  # a disk that is full for a moment
                self._write(_this_process())

    def _write(self, process: dict[str, Any]) -> None:
        run = {
            "run_id": self._run_id,
            "run_folder": self._run_folder,
            "is_shared": self._is_shared,
        }
        write_json(self._path, run | process)


def is_alive(heartbeat: dict[str, Any]) -> bool:
    """Whether the process that wrote a heartbeat still runs, as far as can be told from here."""
    if heartbeat["system"] == _system():
        started = _started_at(heartbeat["pid"])
        return started is not None and started == heartbeat["pid_started"]
    return bool(time.time() - heartbeat["at"] < _STALE_SECS)


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "system": _system(),
        "pid": pid,
        "pid_started": _started_at(pid),
        "at": time.time(),
    }


def _system() -> str:
    """Names what process ids are counted in: containers may share a host name, not this."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started_at(pid: int) -> str | None:
    """When a process started, in the kernel's own ticks; None if there is none of this id."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "unknown" if not Path("/proc/self").exists() and _exists(pid) else None
    state, *rest = stat.rsplit(")", 1)[1].split()
    return None if state == "Z" else rest[18]  # a zombie has ended, whoever has not noticed


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
