"""Lets one process at a time decide what happens at an output."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scoreline.transforms.storage import is_local, make_folder


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Waits for, then holds the lock of a local folder, which is made if need be.

    The kernel gives the lock up when the process ends, however it ends, and it leaves no file. On
    an object store there is none: there the heartbeats alone tell two runs apart.
    """
    if not is_local(folder):
        yield
        return
    descriptor = _lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: str) -> int:
    while True:
        make_folder(folder)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # a run that failed has just removed it
        with suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_still(folder, descriptor):
            return descriptor
        os.close(descriptor)


def _is_still(folder: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(Path(folder).stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
