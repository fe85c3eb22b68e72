"""What becomes of a service's answers before the start; with a service: test_stream_preflight."""

from collections.abc import Iterator
from typing import Any

import google.auth.exceptions as auth
import pytest
from refused import Refused

from scoreline.pipelines import ask_pubsub as asking
from scoreline.pipelines.ask_pubsub import ask_pubsub
from scoreline.pipelines.errors import NoAnswerError, UsageError


class Clock:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, secs: float) -> None:
        self.waits.append(secs)
        self.now += secs


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asking, "time", clock)
    return clock


def answers(*given: Any) -> Any:
    """A service that gives these answers one after the other, the last one for ever."""
    left: Iterator[Any] = iter(given)

    def ask() -> Any:
        answer = next(left, given[-1])
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


OUTAGES = [
    Refused("UNAVAILABLE"),
    Refused("DEADLINE_EXCEEDED"),
    auth.TransportError("no route to the credential server"),
    auth.RefreshError("it is busy", retryable=True),  # type: ignore[no-untyped-call]
    ConnectionResetError("reset"),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda error: type(error).__name__)
def test_an_outage_that_ends_in_time_costs_time_only(
    clock: Clock, caplog: pytest.LogCaptureFixture, outage: Exception
) -> None:
    assert ask_pubsub("--input x", "roles", answers(outage, outage, 7)) == 7
    assert clock.waits == [0.5, 0.5]
    (record,) = caplog.records
    begin = "--input x: Pub/Sub does not answer, trying again for 60 s: "
    assert record.getMessage().startswith(begin)


def test_an_outage_that_stays_is_no_mistake_of_the_users(clock: Clock) -> None:
    with pytest.raises(NoAnswerError, match=r"not answer for 5\d s: UNAVAILABLE: no"):
        ask_pubsub("--input x", "roles", answers(Refused("UNAVAILABLE", "no")))
    assert NoAnswerError.exit_code == 1
    assert clock.waits[:5] == [0.5, 0.5, 1.0, 2.0, 4.0]
    assert max(clock.waits) == 10


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Refused("NOT_FOUND"), "there is none of this name"),
        (Refused("PERMISSION_DENIED"), "no permission: it takes roles"),
        (Refused("INVALID_ARGUMENT"), "no such name is possible"),
        (Refused("FAILED_PRECONDITION", "odd"), "Pub/Sub refuses: FAILED_PRECONDITION: odd"),
        (Refused("UNAUTHENTICATED"), "cannot talk to Pub/Sub: UNAUTHENTICATED"),
        (auth.RefreshError("revoked"), "cannot talk to Pub/Sub: RefreshError: revoked. For"),  # type: ignore[no-untyped-call]
        (ValueError("a bad key file."), "cannot talk to Pub/Sub: ValueError: a bad key file. For"),
    ],
    ids=str,
)
def test_what_does_not_pass_is_said_at_once(clock: Clock, error: Exception, said: str) -> None:
    with pytest.raises(UsageError, match=f"--input x: {said}"):
        ask_pubsub("--input x", "roles", answers(error))
    assert clock.waits == []
