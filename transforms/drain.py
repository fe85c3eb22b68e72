"""The wish to end a stream: asked for once in a process, heard by every reader in it.

A stream on the in-process runner has no other end: Beam waits until its reader says that nothing
will come any more.
"""

import threading
from collections.abc import Callable

_requested = threading.Event()
_wakers: list[Callable[[], None]] = []
_lock = threading.Lock()


def request_drain() -> None:
    """Has every reader of this process stop pulling and end; it does nothing a second time."""
    _requested.set()
    with _lock:
        wakers = list(_wakers)
    for wake in wakers:
        wake()


def is_draining() -> bool:
    """Whether a drain was asked for."""
    return _requested.is_set()


def on_drain(wake: Callable[[], None]) -> Callable[[], None]:
    """Has a drain call `wake`; gives a function that takes this back."""
    with _lock:
        _wakers.append(wake)

    def forget() -> None:
        with _lock:
            if wake in _wakers:
                _wakers.remove(wake)

    return forget


def reset_drain() -> None:
    """Forgets an earlier drain, before another stream starts in the same process."""
    _requested.clear()
