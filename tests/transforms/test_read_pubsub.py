import json
import threading
import time

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_pubsub import SUBSCRIPTION, eventually, threads
from in_process import has_batch_coder, in_process

from scoreline.transforms import FileLayout, puller
from scoreline.transforms.coder import RecordBatchCoder
from scoreline.transforms.decode import Decode
from scoreline.transforms.deduplicate import Deduplicate
from scoreline.transforms.drain import request_drain
from scoreline.transforms.formats.messages import MessageReading
from scoreline.transforms.pubsub_feed import settle
from scoreline.transforms.pubsub_source import PubSubSource
from scoreline.transforms.read_pubsub import ReadPubSub
from scoreline.transforms.storage import list_files
from scoreline.transforms.stream_files import WriteStreamFiles
from scoreline.transforms.telemetry import TELEMETRY
from scoreline.transforms.write_pubsub import WritePubSub

pytestmark = pytest.mark.usefixtures("stream")
RUN = "20240501T120000Z-0a1b2c"
READING = MessageReading("json", pa.schema({"x": pa.int64(), "model_version": pa.string()}))
GIVEN: list = []


def source_of(subscription=SUBSCRIPTION, **options):
    options = {"bundle_secs": 0.1, "stop_when_idle_secs": 0.3, **options}
    return PubSubSource(subscription, **options)


def payloads(batch: pa.RecordBatch) -> list:
    return batch.column("payload").to_pylist()


def note(value: object) -> None:
    GIVEN.append(value)


def message(number):
    return b'{"x":%d,"model_version":"v"}' % number


@pytest.fixture(autouse=True)
def given_messages():
    GIVEN.clear()
    return GIVEN


class FailOnceFn(beam.DoFn):
    """Fails at a batch, or at the end of a bundle, as long as there is something to fail."""

    left = 0
    where = "process"

    def process(self, batch: pa.RecordBatch):
        self._fail("process")
        yield batch

    def finish_bundle(self):
        self._fail("finish_bundle")

    def _fail(self, where):
        if FailOnceFn.left and FailOnceFn.where == where:
            FailOnceFn.left -= 1
            raise RuntimeError("as the test wants it")


def test_the_output_has_the_coder_for_batches():
    out = beam.Pipeline() | ReadPubSub(source_of())
    assert has_batch_coder(out)
    assert isinstance(source_of().default_output_coder(), RecordBatchCoder)


def test_every_message_comes_once_and_is_acknowledged(fake):
    ids = fake.deliver(*[b"%d" % number for number in range(2_500)])
    with in_process() as pipeline:
        pipeline | ReadPubSub(source_of()) | beam.FlatMap(payloads) | beam.Map(note)
    assert settle(5)
    assert sorted(map(int, GIVEN)) == list(range(2_500))
    assert sorted(fake.acknowledged) == sorted(ids)
    assert fake.handed_back == []
    assert TELEMETRY.snapshot().rows["read"] == 2_500
    assert eventually(lambda: not threads())


def test_a_bundle_lasts_as_long_as_it_is_told(fake):
    fed = Feeder(fake, lambda: len(GIVEN) >= 3)
    started = time.monotonic()
    with in_process() as pipeline:
        pipeline | ReadPubSub(source_of(bundle_secs=0.2)) | beam.ParDo(CountBundlesFn())
    assert time.monotonic() - started > 3 * 0.2
    assert sum(GIVEN) == fed.messages
    assert max(GIVEN) > 3  # several pulls, as each has one message
    assert settle(5)


class Feeder(threading.Thread):
    """Delivers one message after the other until something has happened."""

    def __init__(self, fake, is_over):
        super().__init__(daemon=True)
        self._fake, self._is_over, self.messages = fake, is_over, 0
        self.start()

    def run(self):
        while not self._is_over():
            self._fake.deliver(b"x")
            self.messages += 1
            time.sleep(0.005)


class CountBundlesFn(beam.DoFn):
    def start_bundle(self):
        self._rows = 0

    def process(self, batch: pa.RecordBatch):
        self._rows += batch.num_rows

    def finish_bundle(self):
        if self._rows:
            GIVEN.append(self._rows)


@pytest.mark.parametrize("where", ["process", "finish_bundle"])
def test_what_a_failing_bundle_had_in_hand_is_handed_back(fake, where):
    FailOnceFn.left, FailOnceFn.where = 1, where
    ids = fake.deliver(*[message(number) for number in range(20)])
    pipeline = in_process()
    pipeline | ReadPubSub(source_of()) | beam.ParDo(FailOnceFn())
    with pytest.raises(RuntimeError, match="as the test wants it"):
        pipeline.run()
    assert settle(5)
    assert (fake.acknowledged, sorted(fake.handed_back)) == ([], sorted(ids))
    assert eventually(lambda: not threads())


def test_a_drain_ends_a_pipeline_with_all_that_was_given_acknowledged(fake):
    draining = threading.Event()
    fed = Feeder(fake, draining.is_set)
    drainer = threading.Thread(
        target=lambda: eventually(lambda: len(GIVEN) > 5) and request_drain()
    )
    drainer.start()
    with in_process() as pipeline:
        source = source_of(stop_when_idle_secs=None, bundle_secs=5)
        pipeline | ReadPubSub(source) | beam.FlatMap(payloads) | beam.Map(note)
    assert settle(5)
    draining.set()
    fed.join(5)
    drainer.join(5)
    assert len(fake.acknowledged) == len(GIVEN) > 5
    assert not set(fake.acknowledged) & set(fake.handed_back)
    assert eventually(lambda: not threads())


def stream(pipeline, queue, layout, topic):
    """The stream of a job without a model: to a file, and to a topic."""
    read = pipeline | ReadPubSub(source_of(queue.subscription, stop_when_idle_secs=0.5))
    rows = read | Decode(READING, run_id=RUN)
    fresh = rows.accepted | Deduplicate("x") | beam.ParDo(FailOnceFn())
    fresh.element_type = pa.RecordBatch
    fresh | "Files" >> WriteStreamFiles(layout, RUN, "predicted")
    fresh | "Topic" >> WritePubSub(topic, sink=1)
    rows.dead_letters | "Dead" >> WriteStreamFiles(layout, RUN, "dead_lettered")


def test_a_stream_that_failed_goes_on_where_it_was(queue, tmp_path, monkeypatch):
    """A failed bundle is redelivered at once, and its ids are no duplicates then."""
    # The emulator goes on serving a pull that was cancelled; one of these ends after a second.
    monkeypatch.setattr(puller, "_PULL_SECS", 2.0)
    monkeypatch.setattr(puller, "_LAST_PULLS_SECS", 2.0)
    layout = FileLayout(str(tmp_path / "out"))
    topic = queue.service.create_topic(queue.topic.rpartition("/")[2] + "out")
    scores = queue.service.create_subscription(topic.rpartition("/")[2], topic)
    queue.publish(*map(message, range(40)), b"poison", message(7))
    FailOnceFn.left, FailOnceFn.where = 1, "finish_bundle"
    for fails in (True, False):
        pipeline = in_process()
        stream(pipeline, queue, layout, topic)
        if fails:
            with pytest.raises(RuntimeError, match="as the test wants it"):
                pipeline.run()
        else:
            pipeline.run()
        assert settle(5)
    rows = [row for path in list_files(layout.output) for row in pq.read_table(path).to_pylist()]
    found = [row["x"] for row in rows if "x" in row]
    assert set(found) == set(range(40))
    (dead,) = {row["position"] for row in rows if "stage" in row}
    assert dead
    published = [json.loads(one.data)["x"] for one in queue.service.pull_all(scores, 0.3)]
    assert set(published) == set(range(40))
    assert queue.service.pull(queue.subscription) == []
