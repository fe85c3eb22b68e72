import threading
import time
from datetime import UTC, datetime

import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from fake_pubsub import SUBSCRIPTION, Refused, eventually, threads

from scoreline.transforms import leases as leases_module
from scoreline.transforms import pubsub_feed, pubsub_source
from scoreline.transforms.coder import RecordBatchCoder
from scoreline.transforms.drain import request_drain
from scoreline.transforms.identity import source_of
from scoreline.transforms.messages import MESSAGE_SCHEMA
from scoreline.transforms.pubsub_feed import settle
from scoreline.transforms.pubsub_source import PubSubMark, PubSubSource
from scoreline.transforms.telemetry import TELEMETRY


@pytest.fixture
def open_reader(fake, stream):
    """Readers of a fake service; they end with the test."""
    opened = []

    def open_reader(**options):
        source = PubSubSource(SUBSCRIPTION, **{"pull_threads": 1, "bundle_secs": 0.1, **options})
        opened.append(source.create_reader(None, None))
        return opened[-1]

    yield open_reader
    fake.errors.clear()
    fake.forever.clear()
    for reader in opened:
        reader.close()
    settle(5)


def bundle_of(reader, fake, *payloads):
    """One bundle: its batch, and its mark."""
    ids = fake.deliver(*payloads)
    while not reader.advance():
        pass
    return ids, reader.get_current(), reader.get_checkpoint_mark()


def test_a_subscription_and_sensible_numbers_are_asked_for():
    with pytest.raises(ValueError, match="expected projects/PROJECT/subscriptions/NAME"):
        PubSubSource("projects/p/topics/t")
    for name in (
        "deadline_secs",
        "bundle_secs",
        "max_latency_secs",
        "pull_threads",
        "max_messages",
        "max_bytes",
        "max_lease_secs",
    ):
        with pytest.raises(ValueError, match=rf"{name}: expected more than 0, got 0"):
            PubSubSource(SUBSCRIPTION, **{name: 0})


def test_a_source_is_not_split_and_gives_batches():
    source = PubSubSource(SUBSCRIPTION)
    assert source.split(20) == [source]
    assert isinstance(source.default_output_coder(), RecordBatchCoder)
    assert not source.is_bounded()


def test_marks_are_two_words():
    coder = PubSubSource(SUBSCRIPTION).get_checkpoint_mark_coder()
    mark = PubSubMark("ab12", 7)
    assert coder.encode(mark) == b"ab12 7"
    assert coder.decode(coder.encode(mark)) == mark
    assert coder.is_deterministic()


def test_messages_come_as_a_batch(open_reader, fake):
    reader = open_reader(attributes=True)
    fake.deliver(b"one", b"two", attributes={"k": "v"}, age_secs=3, key="a")
    while not reader.start():
        pass
    batch = reader.get_current()
    assert batch.schema.equals(MESSAGE_SCHEMA)
    assert source_of(batch) == SUBSCRIPTION
    first = batch.to_pylist()[0]
    published = first.pop("publish_time")
    assert 2 < (datetime.now(UTC) - published).total_seconds() < 8
    assert first == {
        "payload": b"one",
        "attributes": [("k", "v")],
        "message_id": "0",
        "ordering_key": "a",
    }
    assert reader.get_current_timestamp() == Timestamp.of(published.timestamp())
    assert reader.get_watermark() == reader.get_current_timestamp()


def test_what_has_come_is_joined_into_one_batch(open_reader, fake):
    reader = open_reader()
    for number in range(3):
        fake.deliver(b"%d" % number, b"x", attributes={"k": "v"})
        assert eventually(lambda: fake.parked)
    assert reader.advance()
    assert reader.get_current().column("payload").to_pylist() == [
        b"0",
        b"x",
        b"1",
        b"x",
        b"2",
        b"x",
    ]
    assert reader.get_current().column("attributes").to_pylist() == [[]] * 6


def test_nothing_is_acknowledged_before_its_mark_is_finalized(open_reader, fake):
    reader = open_reader()
    ids, _, mark = bundle_of(reader, fake, b"a", b"b")
    time.sleep(0.05)
    assert fake.acknowledged == []
    mark.finalize_checkpoint()
    assert eventually(lambda: fake.acknowledged == ids)
    assert TELEMETRY.snapshot().rows["read"] == 2


def test_each_mark_stands_for_its_own_bundle(open_reader, fake):
    reader = open_reader()
    first, _, mark = bundle_of(reader, fake, b"a")
    second, _, _ = bundle_of(reader, fake, b"b")
    empty = reader.get_checkpoint_mark()
    empty.finalize_checkpoint()
    mark.finalize_checkpoint()
    mark.finalize_checkpoint()  # twice is as good as once
    assert eventually(lambda: fake.acknowledged == first)
    reader.close()
    assert settle(5)
    assert fake.handed_back == second


def test_a_mark_that_was_cut_elsewhere_does_nothing(open_reader, fake):
    reader = open_reader()
    bundle_of(reader, fake, b"a")
    PubSubMark("another", 1).finalize_checkpoint()
    time.sleep(0.02)
    assert fake.acknowledged == []


def test_a_decoded_mark_stands_for_the_same_bundle(open_reader, fake):
    reader = open_reader()
    ids, _, mark = bundle_of(reader, fake, b"a")
    coder = PubSubSource(SUBSCRIPTION).get_checkpoint_mark_coder()
    coder.decode(coder.encode(mark)).finalize_checkpoint()
    assert eventually(lambda: fake.acknowledged == ids)


def test_a_reader_closed_within_a_bundle_hands_back_what_it_gave_and_what_waits(open_reader, fake):
    reader = open_reader()
    ids = fake.deliver(b"a")
    while not reader.advance():
        pass
    ids += fake.deliver(b"b")
    assert eventually(lambda: fake.parked)
    reader.close()
    reader.close()
    assert settle(5)
    assert sorted(fake.handed_back) == sorted(ids)
    assert fake.acknowledged == []


def test_the_last_bundle_is_acknowledged_after_its_reader_has_closed(open_reader, fake):
    """As Beam does it at the end of a stream; the sinks may take their time in between."""
    reader = open_reader()
    ids, _, mark = bundle_of(reader, fake, b"a")
    reader.close()
    time.sleep(0.2)
    mark.finalize_checkpoint()
    assert settle(5)
    assert (fake.acknowledged, fake.handed_back) == (ids, [])


def test_what_was_marked_and_never_finalized_is_handed_back_at_the_end(open_reader, fake):
    reader = open_reader()
    ids, _, mark = bundle_of(reader, fake, b"a")
    reader.close()
    assert settle(5)
    assert (fake.acknowledged, fake.handed_back) == ([], ids)
    assert eventually(lambda: not threads())
    mark.finalize_checkpoint()
    assert fake.acknowledged == []


def test_a_service_that_does_not_answer_is_not_waited_for(open_reader, fake):
    fake.forever["acknowledge"] = Refused("UNAVAILABLE")
    reader = open_reader()
    _, _, mark = bundle_of(reader, fake, b"a")
    mark.finalize_checkpoint()
    reader.close()
    started = time.monotonic()
    assert not settle(0.2)
    assert time.monotonic() - started < 2


def test_nothing_to_settle_is_settled(stream):
    assert settle(0.0)


def test_a_bundle_is_held_open_for_more(open_reader, fake):
    reader = open_reader(bundle_secs=0.3)
    fake.deliver(b"a")
    while not reader.advance():
        pass
    started = time.monotonic()
    fake.deliver(b"b")
    assert reader.advance()
    assert not reader.advance()
    assert 0.2 < time.monotonic() - started < 2
    assert reader.get_watermark() < MAX_TIMESTAMP


def test_a_bundle_ends_when_half_of_what_may_be_in_hand_is_in_it(open_reader, fake):
    reader = open_reader(bundle_secs=60, max_messages=4)
    fake.deliver(b"a", b"b")
    while not reader.advance():
        pass
    assert not reader.advance()
    reader.get_checkpoint_mark().finalize_checkpoint()
    fake.deliver(b"d")
    assert reader.advance()


def test_a_bundle_ends_when_it_has_so_many_bytes(open_reader, fake):
    reader = open_reader(bundle_secs=60, max_bytes=100)
    fake.deliver(b"x" * 100)
    while not reader.advance():
        pass
    assert not reader.advance()
    assert TELEMETRY.snapshot().bytes_in_hand == 100


def test_a_reader_waits_without_work(open_reader, monkeypatch):
    monkeypatch.setattr(pubsub_source, "_IDLE_SECS", 0.3)
    reader = open_reader(pull_threads=4)
    started = time.monotonic(), time.process_time()
    assert not reader.advance()
    assert time.monotonic() - started[0] >= 0.3
    assert time.process_time() - started[1] < 0.1
    assert time.time() - float(reader.get_watermark()) < 5


def test_a_drain_ends_the_stream_and_hands_back_what_was_not_given(open_reader, fake, monkeypatch):
    monkeypatch.setattr(pubsub_source, "_IDLE_SECS", 60)
    reader = open_reader()
    given, _, mark = bundle_of(reader, fake, b"a")
    waiting = fake.deliver(b"b", b"c")
    assert eventually(lambda: fake.parked)
    request_drain()
    threading.Timer(0.1, mark.finalize_checkpoint).start()
    assert not reader.advance()  # waits for what it gave to be acknowledged
    assert reader.get_watermark() == MAX_TIMESTAMP
    reader.get_checkpoint_mark().finalize_checkpoint()
    reader.close()
    assert settle(5)
    assert (fake.acknowledged, fake.handed_back) == (given, waiting)
    assert TELEMETRY.snapshot().state == "drained"
    assert TELEMETRY.snapshot().messages_in_hand == 0


def test_a_drain_hands_back_what_waits_while_the_reader_is_busy(open_reader, fake):
    reader = open_reader(bundle_secs=60)
    fake.deliver(b"a")
    while not reader.advance():
        pass
    waiting = fake.deliver(b"b", b"c")
    assert eventually(lambda: reader._feed.num_bytes == 2)
    request_drain()
    assert eventually(lambda: fake.handed_back == waiting)  # nobody has asked the reader


def test_a_last_bundle_that_takes_long_stays_leased_and_is_acknowledged(
    open_reader, fake, monkeypatch
):
    monkeypatch.setattr(leases_module, "_LOOK_SECS", 0.01)
    monkeypatch.setattr(leases_module, "_CLOSED_SECS", 0.05)
    reader = open_reader(bundle_secs=60)
    ids = fake.deliver(b"a")
    while not reader.advance():
        pass
    request_drain()
    assert not reader.advance()
    mark = reader.get_checkpoint_mark()
    time.sleep(0.3)  # the sinks write
    assert reader._feed.leases.num_messages == 1
    mark.finalize_checkpoint()
    assert eventually(lambda: fake.acknowledged == ids)


def test_a_last_bundle_without_its_reader_is_left_to_end(open_reader, fake, monkeypatch):
    monkeypatch.setattr(leases_module, "_LOOK_SECS", 0.01)
    monkeypatch.setattr(leases_module, "_CLOSED_SECS", 0.05)
    reader = open_reader()
    bundle_of(reader, fake, b"a")
    request_drain()
    assert eventually(lambda: not threads("scoreline-pull", "scoreline-close"))
    leases = reader._feed.leases
    assert leases.num_messages == 1
    reader.close()
    assert eventually(lambda: leases.num_messages == 0)


def test_a_stream_does_not_end_while_a_bundle_is_open_or_not_acknowledged(
    open_reader, fake, monkeypatch
):
    monkeypatch.setattr(pubsub_source, "_IDLE_SECS", 0.05)
    reader = open_reader()
    fake.deliver(b"a")
    while not reader.advance():
        pass
    request_drain()
    assert not reader.advance()
    mark = reader.get_checkpoint_mark()
    for _ in range(2):
        assert not reader.advance()
        assert reader.get_watermark() < MAX_TIMESTAMP
    mark.finalize_checkpoint()
    assert eventually(lambda: reader.advance() or reader.get_watermark() == MAX_TIMESTAMP)


def test_a_stream_that_is_never_acknowledged_ends_at_last(open_reader, fake, monkeypatch):
    monkeypatch.setattr(pubsub_source, "_END_SECS", 0.1)
    reader = open_reader()
    bundle_of(reader, fake, b"a")
    request_drain()
    assert eventually(lambda: reader.advance() or reader.get_watermark() == MAX_TIMESTAMP)


def test_readers_of_one_process_share_what_was_pulled(open_reader, fake):
    one, other = open_reader(), open_reader()
    assert len(threads("scoreline-pull")) == 1
    ids, _, mark = bundle_of(one, fake, b"a")
    one.close()
    more, _, another = bundle_of(other, fake, b"b")
    mark.finalize_checkpoint()  # of a reader that the runner has closed since
    another.finalize_checkpoint()
    assert eventually(lambda: sorted(fake.acknowledged) == sorted(ids + more))
    other.close()
    assert settle(5)
    assert eventually(lambda: not threads())


def test_a_reader_that_goes_hands_back_what_it_took_and_others_go_on(open_reader, fake):
    one, other = open_reader(), open_reader()
    ids = fake.deliver(b"a")
    while not one.advance():
        pass
    one.close()
    assert eventually(lambda: fake.handed_back == ids)
    bundle_of(other, fake, b"b")


def test_all_readers_of_a_process_end_when_one_does(open_reader, fake):
    one, other = (open_reader(stop_when_idle_secs=0.2) for _ in range(2))
    for reader in (one, other):
        while reader.get_watermark() < MAX_TIMESTAMP:
            assert not reader.advance()


def test_a_drain_ends_a_wait(open_reader, monkeypatch):
    monkeypatch.setattr(pubsub_source, "_IDLE_SECS", 60)
    reader = open_reader()
    timer = threading.Timer(0.1, request_drain)
    timer.start()
    started = time.monotonic()
    assert not reader.advance()
    assert time.monotonic() - started < 5
    assert reader.get_watermark() == MAX_TIMESTAMP
    timer.join()


def test_a_stream_ends_when_nothing_came_for_long_enough(open_reader, fake):
    reader = open_reader(stop_when_idle_secs=0.3)
    started = time.monotonic()
    bundle_of(reader, fake, b"a")[2].finalize_checkpoint()
    while reader.get_watermark() < MAX_TIMESTAMP:
        assert not reader.advance()
    assert 0.3 <= time.monotonic() - started < 3


def test_a_stream_does_not_end_because_its_service_does_not_answer(open_reader, fake):
    fake.forever["start_pull"] = Refused("UNAVAILABLE")
    reader = open_reader(stop_when_idle_secs=0.2)
    started = time.monotonic()
    while time.monotonic() - started < 0.5:
        assert not reader.advance()
        assert reader.get_watermark() < MAX_TIMESTAMP
    fake.forever.clear()
    fake.deliver(b"a")
    assert eventually(reader.advance)


def test_a_hundred_readers_leave_no_threads(open_reader, fake):
    before = len(threads())
    for number in range(100):
        reader = open_reader(pull_threads=2)
        if number % 10 == 0:
            settle(5)  # those before would get the message
            bundle_of(reader, fake, b"a")[2].finalize_checkpoint()
        reader.close()
    assert settle(10)
    assert eventually(lambda: len(threads()) <= before)
    assert pubsub_feed._open_bundles == {}


def test_readers_that_have_closed_are_not_kept(open_reader):
    for _ in range(5):
        open_reader().close()
        assert eventually(lambda: not threads())
    assert len(pubsub_feed._closing) <= 1


def test_leases_of_a_bundle_that_never_ends_are_given_up(open_reader, fake, monkeypatch):
    monkeypatch.setattr(leases_module, "_LOOK_SECS", 0.01)
    reader = open_reader(max_lease_secs=0.2)
    bundle_of(reader, fake, b"a")
    assert eventually(lambda: reader._feed.leases.num_messages == 0)


def batch_rows(secs_per_row, monkeypatch):
    """How many rows the batches have when each row takes so long."""
    clock = Clock()
    monkeypatch.setattr(pubsub_source, "time", clock)
    pace = pubsub_source._Pace(0.1)
    for _ in range(30):
        rows = pace.rows
        pace.note_start(rows)
        clock.now += rows * secs_per_row
        pace.note_end()
        pace.note_end()  # a second look without a batch changes nothing
    return pace.rows


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(
    ("secs_per_row", "rows"), [(1e-9, 5_000), (25e-6, 2_000), (250e-6, 200), (0.1, 100), (0, 500)]
)
def test_rows_of_a_batch_follow_the_wanted_latency(secs_per_row, rows, monkeypatch):
    assert batch_rows(secs_per_row, monkeypatch) == pytest.approx(rows, rel=0.02)


def test_a_small_batch_says_nothing_of_the_pace(monkeypatch):
    pace = pubsub_source._Pace(0.1)
    pace.note_start(5)
    time.sleep(0.01)
    pace.note_end()
    assert pace.rows == 500


def test_from_the_emulator(queue, stream):
    source = PubSubSource(queue.subscription, bundle_secs=0.2, attributes=True)
    reader = source.create_reader(None, None)
    queue.publish(*[b"%d" % number for number in range(300)])
    payloads = []
    while len(payloads) < 300:
        if reader.advance():
            payloads += reader.get_current().column("payload").to_pylist()
    reader.get_checkpoint_mark().finalize_checkpoint()
    reader.close()
    assert settle(10)
    assert sorted(map(int, payloads)) == list(range(300))
