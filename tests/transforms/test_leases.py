import time

import grpc
import pytest
from fake_pubsub import SUBSCRIPTION, Refused, eventually, threads

from scoreline.transforms import leases as leases_module
from scoreline.transforms.leases import Leases, is_transient, reason


@pytest.fixture
def make(fake, monkeypatch):
    """Leases of a fake service, with short waits; they end with the test."""
    monkeypatch.setattr(leases_module, "_LOOK_SECS", 0.01)
    made = []

    def make(deadline_secs=10.0, max_lease_secs=600.0):
        made.append(Leases(fake, SUBSCRIPTION, deadline_secs, max_lease_secs))
        return made[-1]

    yield make
    fake.errors.clear()
    fake.forever.clear()
    monkeypatch.setattr(leases_module, "_CLOSED_SECS", 0.0)
    for each in made:
        each.close()


def test_what_was_acknowledged_is_not_in_hand_any_more(make, fake):
    leases = make()
    first, second = leases.add(["a", "b"], 50.0), leases.add(["c"], 40.0)
    assert (leases.num_messages, leases.oldest()) == (3, 40.0)
    leases.acknowledge([second])
    assert leases.settled(5)
    assert (leases.num_messages, leases.oldest()) == (2, 50.0)
    leases.hand_back([first])
    assert leases.settled(5)
    assert (leases.num_messages, leases.oldest()) == (0, None)
    assert (fake.acknowledged, fake.handed_back) == (["c"], ["a", "b"])


def test_nothing_to_tell_is_not_told(make, fake):
    leases = make()
    leases.acknowledge([])
    leases.hand_back([])
    assert leases.settled(1)
    assert (fake.acknowledged, fake.extended) == ([], [])


def test_it_takes_a_service_that_answers_to_be_settled(make, fake):
    leases = make()
    fake.hold.clear()
    leases.acknowledge([leases.add(["a"], 0.0)])
    assert not leases.settled(0.05)
    assert leases.num_messages == 1
    fake.hold.set()
    assert leases.settled(5)


def test_an_acknowledgement_that_fails_is_tried_again(make, fake, caplog):
    leases = make()
    fake.errors["acknowledge"] = [Refused("UNAVAILABLE"), Refused("PERMISSION_DENIED")]
    leases.acknowledge([leases.add(["a"], 0.0)])
    assert leases.settled(5)
    assert fake.acknowledged == ["a"]
    began, ended = [record.getMessage() for record in caplog.records]
    assert began.startswith(f"acknowledging to {SUBSCRIPTION} does not answer, retrying: UNAVAI")
    assert ended.startswith(f"acknowledging to {SUBSCRIPTION} answers again after 0.")


def test_acknowledging_is_given_up_when_the_messages_are_not_ours_any_more(make, fake, caplog):
    leases = make(max_lease_secs=0.15)
    fake.forever["acknowledge"] = Refused("UNAVAILABLE", "on\ntwo lines")
    leases.acknowledge([leases.add(["a", "b"], 0.0)])
    assert leases.settled(5)
    assert (fake.acknowledged, leases.num_messages) == ([], 0)
    assert (
        f"{SUBSCRIPTION}: 2 messages are left to be redelivered: UNAVAILABLE: on two lines"
        in caplog.text
    )


def test_handing_back_that_fails_is_tried_again(make, fake, caplog):
    leases = make()
    fake.errors["extend"] = [Refused("UNAVAILABLE"), Refused("DEADLINE_EXCEEDED")]
    leases.hand_back([leases.add(["a"], 0.0)])
    assert leases.settled(5)
    assert (fake.handed_back, leases.num_messages) == (["a"], 0)
    assert not caplog.records


@pytest.mark.parametrize("code", ["UNAVAILABLE", "PERMISSION_DENIED"])  # for a while; at once
def test_handing_back_is_given_up_as_a_lease_ends_by_itself(make, fake, caplog, monkeypatch, code):
    secs = 0.3 if code == "UNAVAILABLE" else 60
    monkeypatch.setattr(leases_module, "_HAND_BACK_SECS", secs)
    leases = make()
    fake.forever["extend"] = Refused(code)
    leases.hand_back([leases.add(["a"], 0.0)])
    assert leases.settled(5)
    assert fake.handed_back == []
    assert leases.num_messages == 0
    assert "1 messages are left to be redelivered" in caplog.text


def test_leases_are_extended_while_messages_are_in_hand(make, fake):
    leases = make(deadline_secs=0.4)
    started = time.monotonic()
    held, other = leases.add(["a", "b"], 0.0), leases.add(["c"], 0.0)
    assert eventually(lambda: len(fake.extended) >= 3)
    before = started
    for ids, secs, at in fake.extended[:3]:
        assert (sorted(ids), secs) == (["a", "b", "c"], 0.4)
        assert at - before < 0.4  # no lease has ended in between
        before = at
    leases.acknowledge([held, other])
    assert leases.settled(5)
    count = len(fake.extended)
    time.sleep(0.3)
    assert len(fake.extended) <= count + 1  # one may have been under way


def test_an_extension_that_fails_is_tried_again_soon(make, fake, caplog):
    leases = make(deadline_secs=0.8)
    fake.errors["extend"] = [Refused("UNAVAILABLE")]
    lease = leases.add(["a"], 0.0)
    assert eventually(lambda: fake.extended)
    assert fake.extended[0][2] - lease.taken_at < 0.8
    assert eventually(lambda: "answers again" in caplog.text)
    assert caplog.text.count(f"extending leases of {SUBSCRIPTION} does not answer") == 1


def test_a_message_is_not_held_for_ever(make, fake, caplog):
    leases = make(deadline_secs=0.05, max_lease_secs=0.2)
    leases.add(["a", "b"], 0.0)
    assert eventually(lambda: leases.num_messages == 0)
    assert "2 messages were in hand for" in caplog.text
    time.sleep(0.02)
    count = len(fake.extended)
    time.sleep(0.1)
    assert len(fake.extended) == count


def test_what_was_given_up_may_still_be_acknowledged(make, fake):
    leases = make(max_lease_secs=0.02)
    lease = leases.add(["a"], 0.0)
    assert eventually(lambda: leases.num_messages == 0)
    leases.acknowledge([lease])
    assert leases.settled(5)
    assert (fake.acknowledged, leases.num_messages) == (["a"], 0)


def test_the_last_bundle_is_acknowledged_although_its_reader_has_closed(make, fake):
    """The reader closes first, then the sinks flush, and only then is the mark finalized."""
    leases = make(deadline_secs=0.1)
    lease = leases.add(["a"], 0.0)
    leases.close()
    time.sleep(0.1)
    extended = len(fake.extended)
    assert eventually(lambda: len(fake.extended) > extended)
    leases.acknowledge([lease])
    assert leases.settled(2)
    assert fake.acknowledged == ["a"]


def test_leases_of_a_closed_reader_are_left_to_end(make, fake, monkeypatch):
    monkeypatch.setattr(leases_module, "_CLOSED_SECS", 0.1)
    leases = make()
    leases.add(["a"], 0.0)
    leases.close()
    assert eventually(lambda: leases.num_messages == 0)


def test_leases_are_kept_while_a_reader_is_there_although_no_more_comes(make, fake, monkeypatch):
    monkeypatch.setattr(leases_module, "_CLOSED_SECS", 0.0)
    leases = make()
    lease = leases.add(["a"], 0.0)
    leases.end()
    time.sleep(0.2)
    assert leases.num_messages == 1
    leases.acknowledge([lease])
    assert leases.settled(5)
    assert fake.acknowledged == ["a"]


def test_what_is_done_is_acknowledged_although_its_lease_was_given_up(make, fake, monkeypatch):
    monkeypatch.setattr(leases_module, "_CLOSED_SECS", 0.0)
    before = len(threads())
    leases = make()
    lease = leases.add(["a"], 0.0)
    leases.close()
    assert eventually(lambda: leases.num_messages == 0 and len(threads()) == before)
    leases.acknowledge([lease])
    assert leases.settled(5)
    assert fake.acknowledged == ["a"]
    assert eventually(lambda: len(threads()) == before)


def test_what_comes_after_it_has_closed_is_left_to_be_redelivered(make, fake):
    leases = make()
    leases.close()
    late = leases.add(["a"], 0.0)
    leases.hand_back([late])
    assert leases.settled(1)
    assert (leases.num_messages, fake.extended) == (0, [])


def test_threads_end(make):
    before = threads()  # of another test, perhaps, about to end
    leases = make()
    mine = set(threads()) - set(before)
    assert len(mine) == 2
    lease = leases.add(["a"], 0.0)
    leases.close()
    leases.acknowledge([lease])
    assert eventually(lambda: not mine & set(threads()))


def test_idle_leases_cost_nothing(make):
    started = time.process_time()
    for _ in range(20):
        make()
    time.sleep(0.2)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(
    ("error", "text", "transient"),
    [
        (Refused("UNAVAILABLE", "a  b\nc"), "UNAVAILABLE: a b c", True),
        (Refused("PERMISSION_DENIED", "no"), "PERMISSION_DENIED: no", False),
        (grpc.RpcError("odd"), "RpcError: odd", False),
    ],
)
def test_what_a_service_answered_is_one_line(error, text, transient):
    assert reason(error) == text
    assert is_transient(error) is transient
