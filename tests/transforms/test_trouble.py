import logging
import threading
import time

import pytest

from scoreline.transforms import trouble as trouble_module
from scoreline.transforms.trouble import Trouble


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(trouble_module, "time", clock)
    return clock


def test_waits_double_up_to_a_limit(clock):
    trouble = Trouble("s", max_wait_secs=1.0)
    waits = []
    for _ in range(7):
        waits.append(trouble.failed("no"))
        clock.now += waits[-1]
    assert waits == pytest.approx([0.1, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_threads_that_fail_together_do_not_wait_longer(clock):
    trouble = Trouble("s")
    assert [trouble.failed("no") for _ in range(8)] == [0.1] * 8


def test_it_begins_anew_after_a_success(clock):
    trouble = Trouble("s")
    trouble.failed("no")
    clock.now += 5
    assert trouble.failed("no") == 5
    trouble.succeeded()
    assert (trouble.reason, trouble.secs()) == ("", 0.0)
    assert trouble.failed("no") == 0.1


def test_it_is_said_once_when_it_begins_and_once_when_it_ends(caplog, clock):
    trouble = Trouble("the topic")
    with caplog.at_level(logging.INFO):
        trouble.succeeded()
        trouble.failed("UNAVAILABLE: no")
        trouble.failed("UNAVAILABLE: still no")
        clock.now += 2.5
        assert trouble.secs() == 2.5
        assert trouble.reason == "UNAVAILABLE: still no"
        trouble.succeeded()
        trouble.succeeded()
    assert [record.getMessage() for record in caplog.records] == [
        "the topic does not answer, retrying: UNAVAILABLE: no",
        "the topic answers again after 2.5 s",
    ]


def test_who_succeeds_while_another_thread_fails_is_told_of_last():
    told, is_failing, may_go_on = [], threading.Event(), threading.Event()

    def tell(reason):
        if reason:
            is_failing.set()
            assert may_go_on.wait(5)
        told.append(reason)

    trouble = Trouble("s", on_trouble=tell)
    threads = [threading.Thread(target=trouble.failed, args=("no",))]
    threads[0].start()
    assert is_failing.wait(5)
    threads.append(threading.Thread(target=trouble.succeeded))
    threads[1].start()
    threads[1].join(0.1)
    may_go_on.set()
    for thread in threads:
        thread.join(5)
    assert told == ["no", ""]
    assert trouble.reason == ""


def test_nobody_is_told_of_what_goes_well():
    told = []
    Trouble("s", on_trouble=told.append).succeeded()
    assert told == []


def test_a_real_clock_moves():
    trouble = Trouble("s")
    trouble.failed("no")
    time.sleep(0.01)
    assert trouble.secs() > 0
