import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.prefetch import prefetch


def no_thread_left():
    return not [thread for thread in threading.enumerate() if thread.name == "scoreline-prefetch"]


@given(st.lists(st.integers()))
def test_items_come_in_order(items):
    assert list(prefetch(items)) == items
    assert no_thread_left()


def test_nothing_starts_before_the_first_item_is_wanted():
    prefetch([1])
    assert no_thread_left()


def test_items_are_made_ahead_but_only_a_few():
    made = []

    def make():
        for number in range(100):
            made.append(number)
            yield number

    items = prefetch(make())
    assert next(items) == 0
    time.sleep(0.2)
    assert 2 <= len(made) <= 5
    items.close()
    assert no_thread_left()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), MemoryError()])
def test_the_error_of_the_thread_is_raised_behind_the_items_that_came_before(error):
    def make():
        yield 1
        yield 2
        raise error

    seen = []
    with pytest.raises(type(error)) as raised:  # noqa: PT012
        for item in prefetch(make()):
            seen.append(item)
    assert seen == [1, 2]
    assert raised.value is error
    assert no_thread_left()


def test_whoever_stops_early_leaves_no_thread_and_no_open_source():
    closed = []

    def make():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    for item in prefetch(make()):
        if item == 3:
            break
    assert no_thread_left()
    assert closed == [True]


def test_an_error_of_the_consumer_ends_the_thread():
    items = prefetch(iter(range(1000)))
    next(items)
    with pytest.raises(RuntimeError, match="mine"):
        items.throw(RuntimeError("mine"))
    assert no_thread_left()
