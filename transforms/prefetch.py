"""Runs an iterator ahead of its consumer, so that reading overlaps with predicting."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# One item being made while one waits: more only costs memory, as both sides work in batches.
_DEPTH = 2


class _End:
    def __init__(self, error: BaseException | None = None):
        self.error = error


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yields the items in order while a thread makes the next ones; raises what the thread raised.

    >>> list(prefetch(iter([1, 2, 3])))
    [1, 2, 3]
    """
    waiting: queue.Queue[T | _End] = queue.Queue(_DEPTH)
    stopped = threading.Event()

    def put(item: T | _End) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # handed over to the consumer, whatever it is
            put(_End(error))
        else:
            put(_End())

    thread = threading.Thread(target=work, name="scoreline-prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
