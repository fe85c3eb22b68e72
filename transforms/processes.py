"""Names a process so that another one can tell whether it still runs."""

import os
import socket
import time
from pathlib import Path
from typing import Any

_STALE_SECS = 60.0


def this_process() -> dict[str, Any]:
    """Names this process, and says that it lives now."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "system": _system(),
        "pid": pid,
        "pid_started": _started_at(pid),
        "at": time.time(),
    }


def is_alive(process: dict[str, Any]) -> bool:
    """Whether a process that named itself still runs, as far as can be told from here."""
    if process["system"] == _system():
        started = _started_at(process["pid"])
        return started is not None and started == process["pid_started"]
    return bool(time.time() - process["at"] < _STALE_SECS)


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
