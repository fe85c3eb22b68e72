import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.unbounded_source import ReadFromUnboundedSource
from apache_beam.testing.util import assert_that, equal_to
from in_process import has_batch_coder, in_process
from scored import scored

from scoreline.transforms import deduplicate as deduplicate_module
from scoreline.transforms.dead_letters import Reasons, to_dead_letters
from scoreline.transforms.deduplicate import Deduplicate, ForgetRejected, Window
from scoreline.transforms.pubsub_feed import settle
from scoreline.transforms.pubsub_source import PubSubSource
from scoreline.transforms.telemetry import TELEMETRY

pytestmark = pytest.mark.usefixtures("stream")


class Clock:
    now = 1_000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(deduplicate_module, "time", clock)
    return clock


class Stream:
    """Drives the DoFn through bundles without Beam."""

    def __init__(self, by="message_id", window_secs=600.0, max_ids=1_000):
        self.fn = Deduplicate(by, window_secs, max_ids)._deduplicate
        self.fn.setup()
        self.callbacks = []

    def register(self, callback):
        self.callbacks.append(callback)

    def bundle(self, *batches, succeeds=True):
        """The rows of the column `a` that come out."""
        self.fn.start_bundle()
        self.callbacks = []
        out = [one for batch in batches for one in self.fn.process(batch, self)]
        assert all(batch.num_rows for batch in out)
        if succeeds:
            for callback in self.callbacks:
                callback()
        return [value for batch in out for value in batch.column("a").to_pylist()]


def test_rows_seen_before_are_dropped_and_counted():
    stream = Stream()
    assert stream.bundle(scored(a=[1, 2])) == [1, 2]
    assert stream.bundle(scored(first=1, a=[2, 3])) == [3]
    assert stream.bundle(scored(first=1, a=[2, 3])) == []
    assert TELEMETRY.snapshot().rows["deduplicated"] == 3


def test_a_fresh_batch_passes_as_it_is():
    stream = Stream()
    stream.fn.start_bundle()
    batch = scored(a=[1, 2])
    (out,) = stream.fn.process(batch, stream)
    assert out is batch


def test_rows_repeated_in_one_bundle_are_dropped():
    assert Stream("a").bundle(scored(a=[1, 1, 2]), scored(a=[2, 3])) == [1, 2, 3]


def test_a_redelivery_after_a_failure_is_no_duplicate():
    stream = Stream()
    assert stream.bundle(scored(a=[1, 2]), succeeds=False) == [1, 2]
    assert stream.bundle(scored(a=[1, 2])) == [1, 2]
    assert stream.bundle(scored(a=[1, 2]), succeeds=False) == []
    assert stream.bundle(scored(a=[1, 2])) == []


class Refusing(Stream):
    """A sink stands behind it that refuses some values of `a`, once each batch has come."""

    def __init__(self, by, refused):
        super().__init__(by)
        self.forget = ForgetRejected(by)._forget
        self.refused = refused

    def bundle(self, *batches, succeeds=True):
        """The values of `a` that the sink takes."""
        self.fn.start_bundle()
        self.callbacks = []
        taken = []
        for batch in batches:
            for out in self.fn.process(batch, self):
                values = out.column("a").to_pylist()
                bad = pa.array([value in self.refused for value in values])
                if pa.compute.any(bad).as_py():
                    reasons = Reasons("write", *[["x"] * sum(bad.to_pylist())] * 3)
                    letters = to_dead_letters(out.filter(bad), reasons, "run", None)
                    assert list(self.forget.process(letters)) == [letters]
                taken += [value for value in values if value not in self.refused]
        for callback in self.callbacks:
            callback()
        return taken


@pytest.mark.parametrize("by", ["k", "message_id"])
def test_what_a_sink_refuses_is_no_duplicate_when_it_comes_again(by):
    sink = Refusing(by, refused={1, 2})
    assert sink.bundle(scored(k=[7, 8], a=[1, 3])) == [3]
    assert sink.bundle(scored(k=[7, 8], a=[4, 5])) == [4]
    assert sink.bundle(scored(k=[7, 8], a=[6, 6])) == []


def test_what_a_sink_refuses_is_no_duplicate_later_in_the_bundle():
    sink = Refusing("k", refused={1})
    assert sink.bundle(scored(k=[7, 8], a=[1, 2]), scored(first=2, k=[7, 8], a=[3, 4])) == [2, 3]
    assert sink.bundle(scored(first=4, k=[7, 8], a=[5, 6])) == []


def test_dead_letters_without_deduplication_pass_as_they_are():
    (letters,) = [to_dead_letters(scored(a=[1]), Reasons("write", *[["x"]] * 3), "run", None)]
    assert list(ForgetRejected("none")._forget.process(letters)) == [letters]


def test_by_a_column_of_any_plain_type():
    for column in (pa.array([7, 7, 8]), pa.array(["x", "x", "y"]).dictionary_encode()):
        assert Stream("k").bundle(scored(k=column, a=[1, 2, 3])) == [1, 3]


def test_a_row_without_an_id_is_never_dropped():
    stream = Stream("k")
    batch = scored(k=pa.array([None, None, "x"]), a=[1, 2, 3])
    assert stream.bundle(batch) == [1, 2, 3]
    assert stream.bundle(batch) == [1, 2]
    assert stream.bundle(scored(k=pa.nulls(1, pa.string()), a=[5])) == [5]


def test_a_column_that_no_row_has_is_told_once(caplog):
    stream = Stream(by="tx_di")
    nulls = scored(a=[1] * 400, tx_di=[None] * 400)
    for _ in range(4):
        assert len(stream.bundle(nulls)) == 400
    (record,) = caplog.records
    assert record.getMessage() == (
        "deduplicate_by 'tx_di': none of the first 1200 rows has a value there, so nothing is "
        "dropped; is that the name of the column?"
    )


def test_a_column_that_some_rows_have_is_not_told_of(caplog):
    stream = Stream(by="tx")
    stream.bundle(scored(a=[1], tx=["x"]))
    stream.bundle(scored(a=[1] * 2_000, tx=[None] * 2_000))
    assert caplog.records == []


def test_a_column_of_the_name_message_id_is_taken_before_the_queues_own():
    assert Stream().bundle(scored(a=[1, 2], message_id=["m", "m"])) == [1]


def test_a_column_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"deduplicate by 'k': the batch has \['a', "):
        Stream("k").bundle(scored(a=[1]))


def test_a_window_is_asked_for():
    with pytest.raises(ValueError, match="window_secs: expected more than 0, got 0"):
        Deduplicate("k", 0)


def test_an_id_is_known_for_the_window_and_forgotten_after_twice_that(clock):
    window = Window(10.0, 1_000)
    clock.now += 9.9
    window.remember({"a"})
    for _ in range(100):
        clock.now += 0.1
        window.turn()
        assert "a" in window
    clock.now += 10.1
    window.turn()
    assert "a" not in window


def test_all_are_forgotten_after_a_long_silence(clock):
    window = Window(10.0, 1_000)
    window.remember({"a"})
    clock.now += 20.0
    window.turn()
    assert len(window) == 0


def test_a_window_is_bounded_in_memory():
    window = Window(600.0, 1_000)
    for number in range(100):
        window.remember({f"{number}-{row}" for row in range(100)})
        window.turn()
        assert len(window) <= 1_000 + 100
    assert "99-0" in window
    assert "0-0" not in window


def test_a_bundle_that_is_never_finalized_leaves_nothing(clock):
    stream = Stream(max_ids=10)
    for number in range(10):
        stream.bundle(scored(first=number * 100, a=list(range(100))), succeeds=False)
    stream.fn.start_bundle()
    assert (len(stream.fn._window), len(stream.fn._bundle)) == (0, 0)


def test_through_a_pipeline():
    batches = [scored(a=[1, 2]), scored(first=1, a=[2, 3])]
    with in_process() as pipeline:
        out = pipeline | beam.Create(batches) | Deduplicate("a")
        assert has_batch_coder(out)
        ids = out | beam.FlatMap(lambda batch: batch.column("a").to_pylist())
        assert_that(ids, equal_to([1, 2, 3]))


def test_ids_are_remembered_when_the_runner_finalizes_the_bundle(fake):
    """Ids of one bundle are known in the next, which only the runner's callback can do."""
    fake.deliver(b"a", b"b")
    fake.deliver(b"a", b"c", b"c")
    source = PubSubSource(
        "projects/p/subscriptions/s",
        pull_threads=1,
        max_messages=4,  # two messages to a bundle
        stop_when_idle_secs=0.3,
    )
    with in_process() as pipeline:
        read = ReadFromUnboundedSource(source, poll_interval=0, max_read_time_seconds=0.1)
        pipeline | read.with_output_types(pa.RecordBatch) | Deduplicate("payload")
    assert settle(5)
    assert sorted(fake.acknowledged) == [f"ack{number}" for number in range(5)]
    assert TELEMETRY.snapshot().rows["deduplicated"] == 2
