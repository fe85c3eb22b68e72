import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.map_in_order import map_in_order


def no_thread_left():
    return not [t for t in threading.enumerate() if t.name.startswith("scoreline-map")]


@given(st.lists(st.integers()), st.integers(1, 4))
def test_results_come_in_order(items, num_threads):
    assert list(map_in_order(str, items, num_threads)) == [str(item) for item in items]
    assert no_thread_left()


def test_a_slow_item_does_not_let_the_next_ones_pass():
    def work(secs):
        time.sleep(secs)
        return secs

    assert list(map_in_order(work, [0.05, 0, 0.02, 0], 2)) == [0.05, 0, 0.02, 0]


def test_threads_work_at_the_same_time():
    both = threading.Barrier(2, timeout=10)
    assert len(list(map_in_order(lambda _: both.wait(), range(4), 2))) == 4


def test_items_are_taken_ahead_but_only_a_few():
    taken = []
    results = map_in_order(str, (taken.append(i) or i for i in range(100)), 2)
    assert taken == []
    assert next(results) == "0"
    assert len(taken) == 3
    results.close()
    assert no_thread_left()


@pytest.mark.parametrize("error", [ValueError("broken"), MemoryError()])
def test_an_error_of_the_items_is_raised_behind_the_results_before_it(error):
    def items():
        yield 1
        yield 2
        raise error

    seen = []
    with pytest.raises(type(error)) as raised:  # noqa: PT012
        for result in map_in_order(str, items(), 2):
            seen.append(result)
    assert seen == ["1", "2"]
    assert raised.value is error
    assert no_thread_left()


def test_an_error_of_the_function_is_raised_behind_the_results_before_it():
    seen = []
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for result in map_in_order(lambda item: 6 // item, [1, 2, 0, 3], 2):
            seen.append(result)
    assert seen == [6, 3]
    assert no_thread_left()


def test_whoever_stops_early_leaves_no_thread_and_no_open_source():
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    for result in map_in_order(str, items(), 2):
        if result == "3":
            break
    del result
    assert no_thread_left()
    assert closed == [True]
