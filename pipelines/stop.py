"""Ends the process when a signal asks for it: within seconds, and without debris.

Raising from the signal handler would not do: Beam wraps, swallows or outwaits what is raised while
it runs a bundle. So nothing is raised: the run is undone and the process ends, whatever its threads
are doing.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from .errors import ExitCode

_EXIT_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
_PATIENCE_SECS = 1.5  # until the main thread runs Python again: it may be deep in a model's C code
_UNDO_SECS = 2.0  # a file system that does not answer must not keep the process from ending

NOTHING_STARTED = "nothing was started."
_UNDO_LATER = "the same command removes what is left, and starts anew."

_undo: Callable[[], str] | None = None
_drain: Callable[[], None] | None = None  # what the first signal of a stream does instead
_ended_by: int | None = None  # the thread that is ending the process


def undo_on_signals(undo: Callable[[], str]) -> None:
    """Has a signal call `undo` before the process ends, and print the sentence that it gives.

    It stays for the rest of the process, so it must be right after the run has ended, too.
    """
    global _undo
    _undo = undo


def drain_on_signals(drain: Callable[[], None]) -> None:
    """Has the first signal call `drain` and nothing else; a second one ends the process at once.

    `drain` is called in a thread of its own, even while the main thread is deep in C code.
    """
    global _drain
    _drain = drain


def end_on_signals() -> None:
    """Makes SIGINT and SIGTERM end this process. For a process of our own only."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    # The interpreter itself writes here, even while no Python code runs.
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), name="scoreline-signals", daemon=True).start()
    for number in _EXIT_CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _handle)


def _watch(read: int) -> None:
    number = os.read(read, 1)[0]
    if _drain is not None:
        _drain()
        os.read(read, 1)
        _end(signal.SIGINT)
    time.sleep(_PATIENCE_SECS)
    _end(number)


def _handle(number: int, _frame: FrameType | None) -> None:
    if _drain is None:
        _end(number)


def _end(number: int) -> None:
    global _ended_by
    if _ended_by == threading.get_ident():
        return  # a second signal: the first one's handler goes on below this call
    if _ended_by is not None:
        threading.Event().wait()  # the main thread must not go on while it is undone
    _ended_by = threading.get_ident()
    _kill_descendants(os.getpid())
    said = _undo_in_time()
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"scoreline: {said}\n".encode())
    os._exit(_EXIT_CODES[signal.Signals(number)])


def _undo_in_time() -> str:
    """Undoes in a thread: this one may hold a lock that the other waits for."""
    if _undo is None:
        return f"interrupted: {NOTHING_STARTED}"
    said: list[str] = []
    thread = threading.Thread(target=_say, args=(_undo, said), daemon=True)
    thread.start()
    thread.join(_UNDO_SECS)
    return f"interrupted: {said[0] if said else _UNDO_LATER}"


def _say(undo: Callable[[], str], said: list[str]) -> None:
    with suppress(Exception):  # whatever a file system raises: what is left is for the next run
        said.append(undo())


def _kill_descendants(pid: int) -> None:
    """Ends the worker processes that Beam started; they would write on for some seconds."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                _kill_descendants(child)
                os.kill(child, signal.SIGKILL)
