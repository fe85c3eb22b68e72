import json
import threading
import time
from itertools import pairwise

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from fake_pubsub import TOPIC, Refused, eventually, threads
from hypothesis import given
from hypothesis import strategies as st
from in_process import has_batch_coder, in_process
from scored import SOURCE, scored

from scoreline.transforms import write_pubsub
from scoreline.transforms.dead_letters import Reasons, decode_payload, to_dead_letters
from scoreline.transforms.telemetry import TELEMETRY
from scoreline.transforms.write_pubsub import PublishDeadLetters, PublishError, WritePubSub

pytestmark = pytest.mark.usefixtures("stream")


def bodies(fake):
    return [json.loads(message.data) for some in fake.published for message in some]


class Bundle:
    """Drives a DoFn through one bundle without Beam."""

    def __init__(self, transform):
        self.fn = transform._publish
        self.fn.start_bundle()

    def process(self, *batches):
        return [dead for batch in batches for dead in self.fn.process(batch) or ()]

    def end(self):
        try:
            self.fn.finish_bundle()
        finally:
            self.fn.teardown()


def publish(transform, *batches):
    bundle = Bundle(transform)
    dead_letters = bundle.process(*batches)
    bundle.end()
    return dead_letters


def test_a_row_becomes_a_message(fake):
    batch = scored(first=7, a=[1, None], b=["é", "x"], c=[True, False])
    assert publish(WritePubSub(TOPIC, ("b", "a"), ("a", "b")), batch) == []
    ((first, second),) = fake.published
    assert json.loads(first.data) == {
        "b": "é",
        "a": 1,
        "prediction": 0.0,
        "model_version": "v1",
        "row_id": f"{SOURCE}#7",
    }
    assert dict(first.attributes) == {
        "model_version": "v1",
        "row_id": f"{SOURCE}#7",
        "a": "1",
        "b": "é",
    }
    assert set(second.attributes) == {"model_version", "row_id", "b"}  # a null is no attribute


def test_rows_are_counted_once_their_messages_are_published(fake):
    bundle = Bundle(WritePubSub(TOPIC))
    bundle.process(scored(a=[1, 2], age_secs=3), scored(a=[3], age_secs=3))
    assert TELEMETRY.snapshot().rows["predicted"] == 0
    bundle.end()
    now = TELEMETRY.snapshot()
    assert now.rows["predicted"] == 3
    assert dict(now.sink_rows) == {TOPIC: 3}
    assert now.latency.num_values == 3
    assert 3 <= now.latency.quantile(0.5) < 6


def test_a_second_sink_counts_its_own_rows_only(fake):
    publish(WritePubSub(TOPIC, sink=1), scored(a=[1, 2]))
    now = TELEMETRY.snapshot()
    assert (now.rows["predicted"], dict(now.sink_rows)) == (0, {TOPIC: 2})
    assert now.latency.num_values == 0


def test_a_batch_without_times_has_no_latency(fake):
    batch = scored(a=[1]).drop_columns(["_scoreline_event_time"])
    assert np.isnan(write_pubsub.event_secs(batch)).all()
    publish(WritePubSub(TOPIC), batch)
    assert TELEMETRY.snapshot().latency.num_values == 0


def test_a_bundle_ends_when_all_is_published(fake):
    fake.hold.clear()
    bundle = Bundle(WritePubSub(TOPIC))
    started = time.monotonic()
    bundle.process(scored(a=[1]))
    assert time.monotonic() - started < 1  # scoring goes on meanwhile
    threading.Timer(0.1, fake.hold.set).start()
    bundle.end()
    assert time.monotonic() - started >= 0.1
    assert len(bodies(fake)) == 1


def test_many_rows_go_in_several_requests(fake):
    publish(WritePubSub(TOPIC), scored(a=list(range(2_500))))
    assert sorted(len(some) for some in fake.published) == [500, 1_000, 1_000]
    assert sorted(row["a"] for row in bodies(fake)) == list(range(2_500))


def test_large_rows_go_in_several_requests(fake):
    publish(WritePubSub(TOPIC), scored(a=["x" * 3_000_000] * 7))
    assert sorted(len(some) for some in fake.published) == [1, 3, 3]
    assert max(sum(map(len, (m.data for m in some))) for some in fake.published) < 10_000_000


def test_attributes_count_for_the_size_of_a_request(fake):
    names = tuple(f"c{number}" for number in range(20))
    batch = scored(**{name: ["é" * 400] * 1_000 for name in names})
    publish(WritePubSub(TOPIC, names, names), batch)
    sizes = [sum(message.ByteSize() for message in some) for some in fake.published]
    assert max(sizes) < 10_000_000
    assert sum(len(some) for some in fake.published) == 1_000
    assert sum(sizes) > 20_000_000


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=60))
def test_cuts_lose_nothing_and_hold_to_the_limits(sizes):
    cuts = write_pubsub._cuts(sizes)
    assert (cuts[0], cuts[-1]) == (0, len(sizes))
    assert cuts == sorted(set(cuts))
    for start, stop in pairwise(cuts):
        assert stop == start + 1 or sum(sizes[start:stop]) <= write_pubsub._MAX_BYTES


def test_few_requests_are_under_way_at_a_time(fake, monkeypatch):
    monkeypatch.setattr(write_pubsub, "_MAX_MESSAGES", 1)
    fake.hold.clear()
    bundle = Bundle(WritePubSub(TOPIC))
    batch = scored(a=list(range(20)))
    worker = threading.Thread(target=bundle.process, args=(batch,), daemon=True)
    worker.start()
    time.sleep(0.1)
    assert len(bundle.fn._waiting) <= 2 * write_pubsub._THREADS
    fake.hold.set()
    worker.join(5)
    bundle.end()
    assert len(bodies(fake)) == 20


def test_a_value_too_long_for_an_attribute_is_in_the_message_only(fake):
    batch = scored(a=["x" * 1_024, "x" * 1_025, "é" * 513, None])
    publish(WritePubSub(TOPIC, None, ("a",)), batch)
    ((fits, long, wide, null),) = fake.published
    assert fits.attributes["a"] == "x" * 1_024
    assert "a" not in long.attributes
    assert "a" not in wide.attributes
    assert "a" not in null.attributes
    assert json.loads(long.data)["a"] == "x" * 1_025


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([1.5]), "1.5"),
        (pa.array([True]), "true"),
        (pa.array([0], pa.timestamp("s", "UTC")), "1970-01-01 00:00:00Z"),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array(["a"], pa.large_string()), "a"),
        (pa.array(["a"], pa.string_view()), "a"),
        (pa.array([None], pa.null()), None),
        (pa.array([[1]]), None),
        (pa.array([{"a": 1}]), None),
        (pa.array([b"\xff"]), None),
        (pa.array([b"\xff"], pa.large_binary()), None),
        (pa.array([b"\xff"], pa.binary(1)), None),
        (pa.array([b"\xff"], pa.binary_view()), None),
        (pa.array([b"\xff"]).dictionary_encode(), None),
    ],
)
def test_what_has_a_text_can_be_an_attribute(array, text):
    assert write_pubsub._texts(array) == [text]


def test_a_row_too_large_for_a_message_becomes_a_dead_letter(fake, monkeypatch):
    monkeypatch.setattr(write_pubsub, "_MAX_BYTES", 1_000)
    batch = scored(first=3, a=["x", "y" * 2_000, "z"])
    (dead,) = publish(WritePubSub(TOPIC, run_id="r"), batch)
    assert [row["a"] for row in bodies(fake)] == ["x", "z"]
    (letter,) = dead.to_pylist()
    assert (letter["stage"], letter["error_code"]) == ("write", "message_too_large")
    assert letter["error_message"].startswith("its prediction has 2,")
    assert "a message at most 1,000: keep fewer columns" in letter["error_message"]
    assert (letter["run_id"], letter["model_version"]) == ("r", "v1")
    assert letter["row_id"] == f"{SOURCE}#4"
    assert letter["event_time"] is not None
    assert decode_payload(letter["payload"]).column("a").to_pylist() == ["y" * 2_000]
    assert TELEMETRY.snapshot().rows["predicted"] == 2


def test_a_batch_of_nothing_but_large_rows_publishes_nothing(fake, monkeypatch):
    monkeypatch.setattr(write_pubsub, "_MAX_BYTES", 10)
    (dead,) = publish(WritePubSub(TOPIC), scored(a=["x", "y"]))
    assert dead.num_rows == 2
    assert fake.published == []


def test_the_version_of_a_row_that_no_model_scored_is_unknown():
    assert write_pubsub.version_of(pa.record_batch({"a": [1]})) is None


def test_a_topic_that_does_not_answer_is_tried_again(fake, caplog):
    fake.errors["publish"] = [Refused("UNAVAILABLE"), Refused("NOT_FOUND")]
    bundle = Bundle(WritePubSub(TOPIC))
    bundle.process(scored(a=[1]))
    assert eventually(lambda: TELEMETRY.snapshot().state == "retrying")
    bundle.end()
    assert len(bodies(fake)) == 1
    assert (TELEMETRY.snapshot().state, TELEMETRY.snapshot().reason) == ("pulling", "")
    assert caplog.text.count(f"{TOPIC} does not answer, retrying: UNAVAILABLE") == 1
    assert caplog.text.count("answers again after") == 1


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "UNAUTHENTICATED"])
def test_a_right_that_was_taken_away_may_be_given_back(fake, code):
    fake.errors["publish"] = [Refused(code)]
    bundle = Bundle(WritePubSub(TOPIC))
    bundle.process(scored(a=[1]))
    bundle.end()
    assert len(bodies(fake)) == 1


def test_a_topic_that_answers_again_too_late_fails_the_bundle(fake):
    fake.forever["publish"] = Refused("UNAVAILABLE", "gone")
    bundle = Bundle(WritePubSub(TOPIC, retry_secs=0.3))
    started = time.monotonic()
    bundle.process(scored(a=[1]))
    with pytest.raises(
        PublishError, match=rf"{TOPIC} took no messages for 0.3 s: UNAVAILABLE: gone"
    ):
        bundle.end()
    assert time.monotonic() - started < 2


def test_messages_that_will_never_do_fail_the_bundle_at_once(fake):
    fake.errors["publish"] = [Refused("INVALID_ARGUMENT", "odd")]
    bundle = Bundle(WritePubSub(TOPIC))
    bundle.process(scored(a=[1]))
    with pytest.raises(PublishError, match=rf"{TOPIC} refused messages: INVALID_ARGUMENT: odd"):
        bundle.end()


def test_a_bundle_after_one_that_failed_starts_anew(fake):
    fake.errors["publish"] = [Refused("INVALID_ARGUMENT")]
    bundle = Bundle(WritePubSub(TOPIC))
    bundle.process(scored(a=[1]))
    with pytest.raises(PublishError):
        bundle.fn.finish_bundle()
    bundle.fn.start_bundle()
    bundle.process(scored(a=[2]))
    bundle.end()
    assert [row["a"] for row in bodies(fake)] == [2]
    assert TELEMETRY.snapshot().rows["predicted"] == 1


def test_nobody_tries_for_a_stream_that_has_ended(fake):
    """Python waits for these threads when a process ends."""
    fake.forever["publish"] = Refused("UNAVAILABLE")
    bundle = Bundle(WritePubSub(TOPIC))
    bundle.process(scored(a=[1]))
    (future, _) = bundle.fn._waiting[0]
    assert eventually(lambda: TELEMETRY.snapshot().state == "retrying")
    time.sleep(0.3)  # the waits have become longer
    bundle.fn.teardown()
    assert eventually(lambda: not threads("scoreline-publish"), 1.0)
    with pytest.raises(PublishError, match="the stream has ended"):
        future.result()


def test_a_publisher_that_did_nothing_ends_too():
    WritePubSub(TOPIC)._publish.teardown()


@pytest.mark.parametrize(
    ("topic", "attributes", "message"),
    [
        ("projects/p/subscriptions/s", (), "expected projects/PROJECT/topics/NAME"),
        (TOPIC, tuple(f"c{n}" for n in range(99)), "at most 100 attributes, two of them .* got 99"),
        (TOPIC, ("a", "google"), r"cannot be attributes of a message: \['google'\]"),
        (TOPIC, ("é" * 129,), "1 to 256 bytes"),
        (TOPIC, ("",), "1 to 256 bytes"),
    ],
)
def test_what_no_message_can_have_is_said_at_construction(topic, attributes, message):
    with pytest.raises(ValueError, match=message):
        WritePubSub(topic, attributes=attributes)


def test_a_dead_letters_topic_is_asked_for():
    with pytest.raises(ValueError, match="expected projects/PROJECT/topics/NAME"):
        PublishDeadLetters("projects/p/subscriptions/s")


def dead_letters(*messages, **columns):
    rows = len(messages)
    reasons = Reasons("conform", ["missing_value"] * rows, ["ValueError"] * rows, messages)
    return to_dead_letters(scored(**columns), reasons, "run-1", None)


def test_a_dead_letter_is_its_payload_with_the_reason_as_attributes(fake):
    batch = dead_letters("a is null", "é" * 600, a=[1, 2])
    assert publish(PublishDeadLetters(TOPIC), batch) == []
    ((first, second),) = fake.published
    assert decode_payload(first.data).column("a").to_pylist() == [1]
    attributes = dict(first.attributes)
    assert attributes.pop("failed_at")[:2] == attributes.pop("event_time")[:2] == "20"
    assert attributes == {
        "row_id": f"{SOURCE}#0",
        "run_id": "run-1",
        "source": SOURCE,
        "position": "0",
        "stage": "conform",
        "error_code": "missing_value",
        "error_class": "ValueError",
        "error_message": "a is null",
        "payload_encoding": "arrow-ipc",
    }
    cut = second.attributes["error_message"]
    assert len(cut.encode()) <= 1_024
    assert cut == "é" * 510 + "…"
    now = TELEMETRY.snapshot()
    assert now.rows["dead_lettered"] == 2
    assert dict(now.codes) == {"conform/missing_value": 2}


def test_dead_letters_are_counted_once_they_are_published(fake):
    fake.errors["publish"] = [Refused("INVALID_ARGUMENT")]
    bundle = Bundle(PublishDeadLetters(TOPIC))
    bundle.process(dead_letters("a", a=[1]))
    with pytest.raises(PublishError):
        bundle.end()
    assert TELEMETRY.snapshot().rows["dead_lettered"] == 0


def test_what_a_further_sink_refuses_is_no_outcome_of_the_row(fake):
    bundle = Bundle(PublishDeadLetters(TOPIC, sink=1))
    bundle.process(dead_letters("a", a=[1]))
    bundle.end()
    now = TELEMETRY.snapshot()
    assert now.rows["dead_lettered"] == 0
    assert sum(now.codes.values()) == 1


def test_through_a_pipeline_to_the_emulator(queue):
    batches = [scored(a=[1, 2]), scored(first=2, a=[3])]
    with in_process() as pipeline:
        refused = pipeline | beam.Create(batches) | WritePubSub(queue.topic, None, ("a",))
        assert_that(refused, equal_to([]))
        assert has_batch_coder(refused)
    found = queue.service.pull_all(queue.subscription, 0.2)
    assert sorted(json.loads(message.data)["a"] for message in found) == [1, 2, 3]
    assert sorted(message.attributes["a"] for message in found) == ["1", "2", "3"]


def test_dead_letters_through_a_pipeline_to_the_emulator(queue):
    with in_process() as pipeline:
        pipeline | beam.Create([dead_letters("no", a=[5])]) | PublishDeadLetters(queue.topic)
    (message,) = queue.service.pull_all(queue.subscription, 0.2)
    assert decode_payload(message.data).column("a").to_pylist() == [5]


def test_the_largest_requests_are_taken_by_the_emulator(queue):
    names = tuple(f"c{number}" for number in range(10))
    batch = scored(**{name: ["x" * 1_000] * 600 for name in names})
    publish(WritePubSub(queue.topic, names, names), batch)
    assert len(queue.service.pull_all(queue.subscription, 0.3)) == 600


def test_a_bundle_that_fails_fails_the_pipeline_and_leaves_no_threads(fake):
    fake.forever["publish"] = Refused("INVALID_ARGUMENT", "odd")
    pipeline = in_process()
    pipeline | beam.Create([scored(a=[1])]) | WritePubSub(TOPIC)
    with pytest.raises(PublishError, match="refused messages: INVALID_ARGUMENT"):
        pipeline.run()
    assert eventually(lambda: not threads("scoreline-publish"))
