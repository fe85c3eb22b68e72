"""Run ids, heartbeats, and what to do about a run that was interrupted.

A run that lives has a heartbeat beside its staged parts. One whose process is gone, or whose
heartbeat is older than a minute where its process cannot be seen, is interrupted: with an intent it
is rolled forward, without one its debris is removed.
"""

import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scoreline.transforms.commit import HEARTBEAT, INTENT, is_closed, roll_forward
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.storage import (
    exists,
    join,
    list_files,
    read_json,
    remove,
    remove_folder,
    write_json,
)

from .errors import UsageError

_BEAT_SECS = 10.0
_STALE_SECS = 60.0


def new_run_id() -> str:
    """A name that sorts by time and is unlike any other."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Recovery:
    """What was found of interrupted runs.

    Attributes:
        report: of the same job, which was rolled forward; its output is complete.
        notes: what was done, for the user.
    """

    report: dict[str, Any] | None
    notes: tuple[str, ...]


def recover(layout: FileLayout, fingerprint: str) -> Recovery:
    """Finishes or removes what interrupted runs left at an output.

    Raises:
        UsageError: another run is writing there now.
    """
    notes: list[str] = []
    same: dict[str, Any] | None = None
    for run_id, run_folder, heartbeat in _unfinished(layout):
        if heartbeat is not None and is_alive(heartbeat):
            raise UsageError(_busy(layout, run_id, heartbeat))
        if exists(join(run_folder, INTENT)):
            intent = read_json(join(run_folder, INTENT))
            report = roll_forward(run_folder)
            notes.append(f"finished run {run_id}, which was interrupted while it was committing")
            same = report if intent["fingerprint"] == fingerprint else same
        else:
            remove_folder(run_folder)
            notes.append(f"removed what run {run_id} left, which was interrupted before committing")
        remove_folder(layout.own_folder(run_id)) if run_folder != layout.own_folder(
            run_id
        ) else None
    return Recovery(same, tuple(notes))


def _unfinished(layout: FileLayout) -> list[tuple[str, str, dict[str, Any] | None]]:
    """(run id, run folder, heartbeat) of each run that has not ended, oldest first."""
    root = layout.own_run_root
    run_ids = {path.removeprefix(root + "/").split("/")[0] for path in list_files(root)}
    runs = []
    for run_id in sorted(run_ids):
        path = join(layout.own_folder(run_id), HEARTBEAT)
        heartbeat = read_json(path) if exists(path) else None
        run_folder = heartbeat["run_folder"] if heartbeat else layout.run_folder(run_id)
        if is_closed(run_folder):
            remove(path)
        else:
            runs.append((run_id, run_folder, heartbeat))
    return runs


def _busy(layout: FileLayout, run_id: str, heartbeat: dict[str, Any]) -> str:
    return (
        f"run {run_id} is writing to {layout.output} now (process {heartbeat['pid']} on "
        f"{heartbeat['host']}). Wait until it ends, or choose another --output."
    )


def is_alive(heartbeat: dict[str, Any]) -> bool:
    """Whether the process that wrote a heartbeat still runs, as far as can be told from here."""
    if heartbeat["host"] == socket.gethostname():
        return _started_at(heartbeat["pid"]) == heartbeat["pid_started"]
    return bool(time.time() - heartbeat["at"] < _STALE_SECS)


def _started_at(pid: int) -> str | None:
    """When a process started, in the kernel's own ticks; None if there is none of this id."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None if Path("/proc/self").exists() or not _exists(pid) else "unknown"
    return stat.rsplit(")", 1)[1].split()[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Heartbeat:
    """Shows that a run lives, from `with` to its end."""

    def __init__(self, layout: FileLayout, run_id: str):
        self._path = join(layout.own_folder(run_id), HEARTBEAT)
        self._layout = layout
        self._run_id = run_id
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="scoreline-heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        """Claims the output.

        Raises:
            UsageError: another run claimed it at the same time.
        """
        self._write()
        for run_id, _, heartbeat in _unfinished(self._layout):
            if run_id != self._run_id and heartbeat is not None and is_alive(heartbeat):
                remove_folder(self._layout.own_folder(self._run_id))
                raise UsageError(_busy(self._layout, run_id, heartbeat))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        remove(self._path)

    def _beat(self) -> None:
        while not self._stopped.wait(_BEAT_SECS):
            self._write()

    def _write(self) -> None:
        write_json(
            self._path,
            {
                "run_id": self._run_id,
                "run_folder": self._layout.run_folder(self._run_id),
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "pid_started": _started_at(os.getpid()),
                "at": time.time(),
            },
        )
