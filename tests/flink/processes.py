"""A process of a cluster: its log, its end by its pid, its children, its memory."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_END_SECS = 15.0


class Running:
    """A process in a group of its own, started by the constructor.

    Args:
        name: in messages, and of its log.
        words: its program and arguments.
        folder: for its log, `NAME.log`, which is appended to.
        env: variables in addition to this process's.
    """

    def __init__(
        self, name: str, words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
    ):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process and of its group."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9 of the process alone: what it has started goes on."""
        self._process.kill()
        self._process.wait(_END_SECS)

    def end(self) -> None:
        """Ends it and all that it has started: by SIGTERM, and by SIGKILL what is left then."""
        self._signal_group(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECS)
        self._signal_group(signal.SIGKILL)
        self._process.wait(_END_SECS)

    def wait_until(self, condition: Callable[[], bool], what: str, secs: float = 60.0) -> None:
        """Waits until something is so, as long as it runs.

        Raises:
            RuntimeError: it has ended, or the time is over; with the end of its log.
        """
        deadline = time.monotonic() + secs
        while not condition():
            if not self.is_alive() or time.monotonic() > deadline:
                how = "runs" if self.is_alive() else f"ended with {self._process.returncode}"
                raise RuntimeError(
                    f"{self.name} {how}, and not within {secs:g} s: {what}. Its log says:\n"
                    f"{self.said()[-3_000:]}"
                )
            time.sleep(0.05)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def children(self) -> list[int]:
        """The processes that it has started and that still run."""
        return [pid for pid in _pids() if _parent(pid) == self.pid]

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def resident_bytes(pid: int, *, peak: bool = False) -> int:
    """The memory of a process that is its own or shared, now or at its highest."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, f"process {pid} has no memory any more"
    return int(found[1]) * 1024


def cpu_secs(pid: int, *, children: bool = False) -> float:
    """The CPU time that a process has used; with that of its children that have ended, if asked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(map(int, fields[11 : 15 if children else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def listens(address: str, port: int) -> bool:
    """Whether something accepts connections."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def free_port(*addresses: str) -> int:
    """A port that nothing listens on now at any of these addresses of the loopback device.

    Raises:
        OSError: an address is not there, or no port is free.
    """
    for _ in range(20):
        with socket.socket() as first:
            first.bind((addresses[0], 0))
            port: int = first.getsockname()[1]
            with suppress(OSError):
                for address in addresses[1:]:
                    with socket.socket() as other:
                        other.bind((address, port))
                return port
    raise OSError(f"no port is free at all of {addresses}")


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent(pid: int) -> int:
    """The parent of a process; -1 if it has ended, be it as a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if fields[0] == "Z" else int(fields[1])
