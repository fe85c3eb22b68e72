import threading

import pytest

from scoreline.transforms.drain import is_draining, on_drain, request_drain, reset_drain


@pytest.fixture(autouse=True)
def _reset():
    reset_drain()
    yield
    reset_drain()


def test_a_drain_wakes_everybody_who_asked_for_it():
    woken = []
    forget_first = on_drain(lambda: woken.append("first"))
    forget_second = on_drain(lambda: woken.append("second"))
    assert not is_draining()
    request_drain()
    assert is_draining()
    assert woken == ["first", "second"]
    forget_first()
    forget_first()  # twice is as good as once
    request_drain()
    assert woken == ["first", "second", "second"]
    forget_second()
    request_drain()
    assert len(woken) == 3


def test_another_stream_can_start_after_a_drain():
    request_drain()
    reset_drain()
    assert not is_draining()


def test_whoever_is_woken_may_leave():
    forgets = []
    forgets.append(on_drain(lambda: forgets[0]()))
    caller = threading.Thread(target=request_drain, daemon=True)
    caller.start()
    caller.join(5)
    assert not caller.is_alive()
