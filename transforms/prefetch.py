"""Runs an iterator ahead of its consumer, so that reading overlaps with predicting."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_DEPTH = 2  # items that wait; more would only cost memory, as both sides work in whole batches
_POLL_SECS = 0.1  # how soon the thread notices that nobody wants more


def prefetch(items: Iterable[T]) -> Generator[T, None, None]:
    """Yields the items in order while a thread makes the next ones; raises what the thread raised.

    >>> list(prefetch(iter([1, 2, 3])))
    [1, 2, 3]
    """
    producer = _Producer(items)
    try:
        yield from producer.take()
    finally:
        producer.stop()


class _End:
    def __init__(self, error: BaseException | None = None):
        self.error = error


class _Producer(Generic[T]):
    def __init__(self, items: Iterable[T]):
        self._items = items
        self._waiting: queue.Queue[T | _End] = queue.Queue(_DEPTH)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="scoreline-prefetch", daemon=True)
        self._thread.start()

    def take(self) -> Iterator[T]:
        while not isinstance(item := self._waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(_End())
        except BaseException as error:  # handed over to the consumer, whatever it is
            self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        while not self._stopped.is_set():
            try:
                self._waiting.put(item, timeout=_POLL_SECS)
            except queue.Full:
                continue
            return True
        return False
