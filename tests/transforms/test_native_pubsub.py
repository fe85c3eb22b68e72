from datetime import UTC, datetime

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from in_process import has_batch_coder, in_process

from scoreline.transforms.identity import source_of
from scoreline.transforms.messages import MESSAGE_SCHEMA
from scoreline.transforms.native_pubsub import ReadNativePubSub, _GatherFn

SUBSCRIPTION = "projects/my-project/subscriptions/s"
GIVEN: list[tuple[pa.RecordBatch, float]] = []


def message(number: int, size: int = 1) -> PubsubMessage:
    at = datetime.fromtimestamp(1_700_000_000 + number, UTC)
    return PubsubMessage(b"x" * size, {"region": "north"}, str(number), at, "key")


def timestamp(number: int) -> Timestamp:
    return Timestamp(seconds=1_700_000_000 + number)


def gather(messages: list[PubsubMessage], **limits: int) -> list[tuple[list[str], float]]:
    """The ids of each batch, and its timestamp, of messages that come in one bundle."""
    fn = _GatherFn(SUBSCRIPTION, **{"max_rows": 100, "max_bytes": 1_000} | limits)
    fn.start_bundle()
    given = []
    for each in messages:
        given += list(fn.process(each, timestamp(int(each.message_id))))
    given += list(fn.finish_bundle())
    return [
        (one.value.column("message_id").to_pylist(), float(one.timestamp) - 1_700_000_000)
        for one in given
    ]


def test_a_bundle_is_one_batch_with_the_time_of_the_oldest() -> None:
    assert gather([message(3), message(1), message(2)]) == [(["3", "1", "2"], 1.0)]
    assert gather([]) == []


def test_no_batch_has_more_rows_than_it_may() -> None:
    found = gather([message(number) for number in range(5)], max_rows=2)
    assert found == [(["0", "1"], 0.0), (["2", "3"], 2.0), (["4"], 4.0)]


def test_no_batch_has_more_bytes_than_it_may_but_for_one_message() -> None:
    sizes = (6, 3, 20, 1)
    found = gather([message(number, size) for number, size in enumerate(sizes)], max_bytes=10)
    assert found == [(["0", "1"], 0.0), (["2"], 2.0), (["3"], 3.0)]


def test_a_batch_has_all_that_the_queue_says() -> None:
    fn = _GatherFn(SUBSCRIPTION, 10, 1_000)
    fn.start_bundle()
    assert not list(fn.process(message(7), timestamp(7)))
    (given,) = fn.finish_bundle()
    batch = given.value
    assert batch.schema.equals(MESSAGE_SCHEMA)
    assert source_of(batch) == SUBSCRIPTION
    assert batch.to_pylist() == [
        {
            "payload": b"x",
            "attributes": [("region", "north")],
            "message_id": "7",
            "publish_time": datetime.fromtimestamp(1_700_000_007, UTC),
            "ordering_key": "key",
        }
    ]


def test_a_message_of_which_nothing_is_known() -> None:
    fn = _GatherFn(SUBSCRIPTION, 10, 1_000)
    fn.start_bundle()
    bare = PubsubMessage(b"x", {})
    assert not list(fn.process(bare, timestamp(7)))
    (given,) = fn.finish_bundle()
    (row,) = given.value.to_pylist()
    assert (row["message_id"], row["attributes"], row["ordering_key"]) == ("", [], "")
    assert row["publish_time"] == datetime.fromtimestamp(1_700_000_007, UTC)


def test_a_bundle_that_failed_leaves_nothing_to_the_next() -> None:
    fn = _GatherFn(SUBSCRIPTION, 10, 1_000)
    fn.start_bundle()
    assert not list(fn.process(message(1), timestamp(1)))
    fn.start_bundle()
    assert not list(fn.finish_bundle())


def note(batch: pa.RecordBatch, at: Timestamp = beam.DoFn.TimestampParam) -> None:
    GIVEN.append((batch, float(at)))


def test_in_a_pipeline() -> None:
    GIVEN.clear()
    messages = [TimestampedValue(message(number), timestamp(number)) for number in (2, 1)]
    with in_process() as pipeline:
        gathered = (
            pipeline
            | beam.Create(messages, reshuffle=False)
            | beam.Map(lambda message: message)
            | beam.ParDo(_GatherFn(SUBSCRIPTION, 10, 1_000)).with_output_types(pa.RecordBatch)
        )
        assert has_batch_coder(gathered)
        gathered | beam.Map(note)
    assert sum(batch.num_rows for batch, _ in GIVEN) == 2
    assert min(at for _, at in GIVEN) == 1_700_000_001


def test_its_output_is_batches_and_its_source_the_services_own() -> None:
    pipeline = beam.Pipeline()
    batches = pipeline | "Read" >> ReadNativePubSub(SUBSCRIPTION, "tx")
    assert has_batch_coder(batches)
    (read,) = (
        part
        for part in pipeline.transforms_stack[0].parts[0].parts[0].parts
        if hasattr(getattr(part.transform, "source", None), "id_label")
    )
    assert read.transform.source.full_subscription == SUBSCRIPTION
    assert read.transform.source.id_label == "tx"
    assert read.transform.source.with_attributes


def test_names_and_limits_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="expected projects/PROJECT/subscriptions/NAME"):
        ReadNativePubSub("projects/p/topics/t")
    for name in ("max_rows", "max_bytes"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            ReadNativePubSub(SUBSCRIPTION, **{name: 0})
