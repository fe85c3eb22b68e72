"""Applies a function to items in several threads and gives the results in the items' order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(function: Callable[[T], R], items: Iterable[T], num_threads: int) -> Iterator[R]:
    """Yields the result of each item, in order, while threads work on the next few.

    It pays where the function leaves Python's lock to others for most of its time, as Arrow and
    numpy do. An error, of the items or of the function, is raised behind the results of all items
    before it.

    Args:
        function: is called by several threads at once.
        items: taken by the consumer's thread, `num_threads` ahead of what it wants.
        num_threads: at least 1.

    >>> list(map_in_order(str, [1, 2, 3], num_threads=2))
    ['1', '2', '3']
    """
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="scoreline-map")
    begun: deque[Future[R]] = deque()
    try:
        for result in _begin(function, items, pool):
            begun.append(result)
            if len(begun) > num_threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(
    function: Callable[[T], R], items: Iterable[T], pool: ThreadPoolExecutor
) -> Iterator[Future[R]]:
    """Gives the items to the threads; an error of the items becomes the last result."""
    try:
        for item in items:
            yield pool.submit(function, item)
    except Exception as error:
        failed: Future[R] = Future()
        failed.set_exception(error)
        yield failed
