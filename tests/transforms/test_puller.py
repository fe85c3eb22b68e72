import threading
import time

import pytest
from fake_pubsub import SUBSCRIPTION, Refused, eventually, threads

from scoreline.transforms import puller as puller_module
from scoreline.transforms.leases import Leases
from scoreline.transforms.puller import Puller
from scoreline.transforms.telemetry import TELEMETRY


@pytest.fixture
def make(fake, stream):
    """Pullers from a fake service; they end with the test."""
    made = []

    def make(threads=1, max_messages=10_000, max_bytes=2**20, attributes=False, client=fake):
        leases = Leases(client, SUBSCRIPTION, 10.0, 600.0)
        puller = Puller(
            client,
            SUBSCRIPTION,
            leases,
            threads=threads,
            max_messages=max_messages,
            max_bytes=max_bytes,
            attributes=attributes,
        )
        made.append((puller, leases))
        return puller, leases

    yield make
    fake.errors.clear()
    fake.forever.clear()
    for puller, leases in made:
        puller.close()
        leases.acknowledge(list(leases._held))
        leases.close()


def soon(secs=5.0):
    return time.monotonic() + secs


def test_messages_come_field_by_field(make, fake):
    puller, leases = make(attributes=True)
    before = time.time()
    fake.deliver(b"one", b"\xff", attributes={"k": "v"}, age_secs=5, key="a")
    (pulled,) = puller.take(100, soon())
    assert len(pulled) == 2
    assert (pulled.payloads, pulled.message_ids) == ([b"one", b"\xff"], ["0", "1"])
    assert (pulled.attributes, pulled.ordering_keys) == ([(("k", "v"),)] * 2, ["a", "a"])
    assert pulled.num_bytes == 4
    assert abs(pulled.publish_micros[0] / 1e6 - before + 5) < 5
    assert pulled.lease.oldest == pulled.publish_micros[0] / 1e6
    assert list(pulled.lease.ack_ids) == ["ack0", "ack1"]
    assert leases.num_messages == 2


def test_attributes_that_nobody_wants_are_not_read(make, fake):
    puller, _ = make()
    fake.deliver(b"one", attributes={"k": "v"})
    (pulled,) = puller.take(1, soon())
    assert (pulled.attributes, pulled.ordering_keys) == (None, None)


def test_nothing_comes_before_the_time_is_up(make):
    puller, _ = make()
    started = time.monotonic()
    assert puller.take(100, started + 0.05) == []
    assert 0.05 <= time.monotonic() - started < 1
    assert puller.take(100, started) == []  # long past


def test_as_many_are_taken_as_are_asked_for_but_one_pull_at_least(make, fake):
    puller, _ = make()
    for rows in (3, 2, 2, 1):
        fake.deliver(*[b"x"] * rows)
        assert eventually(lambda: fake.parked)
    assert [len(pulled) for pulled in puller.take(1, soon())] == [3]
    assert [len(pulled) for pulled in puller.take(4, soon())] == [2, 2]
    assert [len(pulled) for pulled in puller.take(4, soon())] == [1]


def test_of_a_backlog_more_is_waited_for(make, fake, monkeypatch):
    monkeypatch.setattr(puller_module, "_GATHER_SECS", 5.0)
    puller, _ = make()
    fake.deliver(*[b"x"] * 100)
    timer = threading.Timer(0.1, lambda: fake.deliver(*[b"x"] * 50))
    timer.start()
    assert sum(map(len, puller.take(150, soon()))) == 150
    timer.join()


def test_a_few_messages_are_given_at_once(make, fake, monkeypatch):
    monkeypatch.setattr(puller_module, "_GATHER_SECS", 5.0)
    puller, _ = make()
    fake.deliver(*[b"x"] * 99)
    started = time.monotonic()
    assert sum(map(len, puller.take(1_000, soon()))) == 99
    assert time.monotonic() - started < 2


def test_what_has_waited_is_a_backlog_and_the_wait_is_short(make, fake, monkeypatch):
    monkeypatch.setattr(puller_module, "_GATHER_SECS", 0.2)
    puller, _ = make()
    fake.deliver(b"x")
    assert eventually(lambda: fake.parked)
    started = time.monotonic()
    assert sum(map(len, puller.take(1_000, soon()))) == 1
    assert 0.2 <= time.monotonic() - started < 2


def test_pulling_stops_at_so_many_messages_in_hand(make, fake):
    puller, leases = make(max_messages=5)
    fake.deliver(*[b"x"] * 9)
    taken = puller.take(100, soon())
    assert fake.pulls == [5]
    time.sleep(0.05)
    assert fake.pulls == [5]  # taken, but not done with
    leases.acknowledge(pulled.lease for pulled in taken)
    assert eventually(lambda: fake.pulls[:2] == [5, 5])
    assert [len(pulled) for pulled in puller.take(100, soon())] == [4]


def test_pulling_stops_at_so_many_bytes_not_taken(make, fake):
    puller, _ = make(max_bytes=100)
    fake.deliver(b"x" * 99)
    assert eventually(lambda: puller.num_bytes == 99)
    fake.deliver(b"x" * 99)
    assert eventually(lambda: puller.num_bytes == 198)
    fake.deliver(b"x" * 99)
    time.sleep(0.05)
    assert puller.num_bytes == 198
    puller.take(100, soon())
    assert eventually(lambda: puller.num_bytes == 99)


def test_pulling_stops_when_many_wait(make, fake, monkeypatch):
    monkeypatch.setattr(puller_module, "_MAX_QUEUE", 3)
    puller, _ = make()
    fake.deliver(*[b"x"] * 5)
    time.sleep(0.05)
    assert fake.pulls == [3]
    puller.take(100, soon())
    assert eventually(lambda: fake.pulls == [3, 3, 1])


def test_a_request_asks_for_no_more_than_the_service_gives(make, fake):
    puller, _ = make(max_messages=50_000)
    fake.deliver(b"x")
    puller.take(5_000, soon())
    fake.deliver(*[b"x"] * 100)
    assert eventually(lambda: fake.pulls[-1] == 1_000)


def test_a_request_asks_for_no_more_than_a_batch_may_have(make, fake):
    puller, _ = make()
    assert eventually(lambda: fake.pulls == [100])  # nobody has said how many
    fake.deliver(*[b"x"] * 100)
    puller.take(150, soon())
    fake.deliver(*[b"x"] * 900)
    batches = [sum(map(len, puller.take(150, soon()))) for _ in range(4)]
    assert max(batches) <= 150, "a pull is never divided"
    assert max(fake.pulls) == 150


def test_a_full_reader_waits_without_work(make, fake):
    make(threads=4, max_messages=1)
    fake.deliver(*[b"x"] * 4)
    assert eventually(lambda: len(fake.pulls) >= 4)
    started = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - started < 0.1


def test_what_was_not_taken_is_handed_back(make, fake):
    puller, leases = make()
    fake.deliver(b"a")
    assert len(puller.take(1, soon())) == 1
    ids = fake.deliver(b"b", b"c")
    assert eventually(lambda: fake.parked)
    puller.close()
    assert leases.settled(5)
    assert fake.handed_back == ids
    assert leases.num_messages == 1
    assert puller.take(1, soon()) == []
    assert puller.num_bytes == 0


def test_a_pull_that_waits_gets_some_time_and_is_cancelled_then(make, fake, monkeypatch):
    monkeypatch.setattr(puller_module, "_LAST_PULLS_SECS", 0.2)
    puller, _ = make()
    assert eventually(lambda: fake.parked)
    (waiting,) = fake.parked
    started = time.monotonic()
    puller.close()
    assert 0.2 <= time.monotonic() - started < 3
    assert waiting.cancelled()
    assert not threads("scoreline-pull")


def test_what_comes_while_it_closes_is_handed_back(make, fake, monkeypatch):
    monkeypatch.setattr(puller_module, "_LAST_PULLS_SECS", 5.0)
    puller, leases = make()
    assert eventually(lambda: fake.parked)
    puller.wake()
    ids = fake.deliver(b"late")
    puller.close()
    assert leases.settled(5)
    assert fake.handed_back == ids


def test_what_comes_after_it_has_closed_is_handed_back(make, fake, monkeypatch):
    monkeypatch.setattr(puller_module, "_LAST_PULLS_SECS", 0.01)
    puller, leases = make()
    assert eventually(lambda: fake.parked)
    monkeypatch.setattr(type(fake.parked[0]), "cancel", lambda self: False)  # too late for that
    puller.close()
    assert threads("scoreline-pull")
    ids = fake.deliver(b"later")
    assert eventually(lambda: fake.handed_back == ids)
    assert eventually(lambda: leases.num_messages == 0)
    assert not threads("scoreline-pull")


def test_waking_ends_a_wait(make):
    puller, _ = make()
    started = time.monotonic()
    puller.wake()
    assert puller.take(1, started + 10) == []
    assert time.monotonic() - started < 1


def test_a_service_that_does_not_answer_is_asked_again(make, fake, caplog):
    fake.errors["start_pull"] = [Refused("UNAVAILABLE", "gone"), Refused("PERMISSION_DENIED")]
    puller, _ = make()
    assert eventually(lambda: puller.is_in_trouble)
    assert TELEMETRY.snapshot().state == "retrying"
    fake.deliver(b"x")
    assert len(puller.take(1, soon())) == 1
    assert not puller.is_in_trouble
    assert TELEMETRY.snapshot().state == "pulling"
    assert TELEMETRY.snapshot().reason == ""
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        f"{SUBSCRIPTION} does not answer",
        caplog.records[1].getMessage(),
    ]
    assert "answers again after" in caplog.records[1].getMessage()


def test_one_thread_that_gets_an_answer_ends_the_waits_of_all(make, fake, monkeypatch):
    failed, waits = puller_module.Trouble.failed, [30.0, 0.1]
    monkeypatch.setattr(
        puller_module.Trouble, "failed", lambda self, why: failed(self, why) and waits.pop()
    )
    fake.errors["start_pull"] = [Refused("UNAVAILABLE"), Refused("UNAVAILABLE")]
    make(threads=2)
    assert eventually(lambda: waits == [])
    assert len(fake.pulls) == 2
    fake.deliver(b"x")
    assert eventually(lambda: len(fake.parked) == 2)


@pytest.mark.parametrize("answer", [None, "PERMISSION_DENIED"])
def test_after_an_outage_a_quiet_subscription_is_well_again(make, fake, answer):
    fake.errors["start_pull"] = [Refused("UNAVAILABLE"), Refused("DEADLINE_EXCEEDED")]
    fake.errors["describe_subscription"] = [Refused(answer)] if answer else []
    puller, _ = make()
    assert eventually(lambda: len(fake.pulls) == 3)
    assert not puller.is_in_trouble
    assert TELEMETRY.snapshot().state == "pulling"


def test_a_pull_that_gets_no_answer_does_not_end_an_outage(make, fake):
    fake.errors["start_pull"] = [Refused("UNAVAILABLE"), Refused("DEADLINE_EXCEEDED")]
    fake.forever["describe_subscription"] = Refused("DEADLINE_EXCEEDED")
    puller, _ = make()
    assert eventually(lambda: len(fake.pulls) == 3)
    assert puller.is_in_trouble
    assert TELEMETRY.snapshot().state == "retrying"


def test_a_pull_without_messages_is_no_trouble(make, fake, caplog):
    fake.errors["start_pull"] = [Refused("DEADLINE_EXCEEDED")] * 3
    puller, _ = make()
    fake.deliver(b"x")
    assert len(puller.take(1, soon())) == 1
    assert caplog.records == []


def test_waiting_after_an_error_ends_at_once_when_it_closes(make, fake):
    fake.forever["start_pull"] = Refused("UNAVAILABLE")
    puller, _ = make(threads=3)
    assert eventually(lambda: puller.is_in_trouble)
    started = time.monotonic()
    puller.close()
    assert time.monotonic() - started < 1
    assert not threads("scoreline-pull")


def test_from_the_emulator(make, queue):
    from scoreline.transforms.pubsub_client import client

    ours = client()
    leases = Leases(ours, queue.subscription, 10.0, 600.0)
    puller = Puller(
        ours,
        queue.subscription,
        leases,
        threads=2,
        max_messages=1_000,
        max_bytes=2**20,
        attributes=True,
    )
    queue.publish(*[b"%d" % number for number in range(250)], attributes=[{"a": "b"}] * 250)
    payloads = []
    while len(payloads) < 250:
        for pulled in puller.take(100, soon()):
            payloads += pulled.payloads
            assert pulled.attributes[0] == (("a", "b"),)
    assert sorted(map(int, payloads)) == list(range(250))
    puller.close()
    leases.acknowledge(list(leases._held))
    assert leases.settled(5)
    leases.close()
