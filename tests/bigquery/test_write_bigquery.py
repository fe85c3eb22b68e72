import json
import pickle
import time
from typing import ClassVar

import apache_beam as beam
import grpc
import pyarrow as pa
import pytest
from apache_beam.coders import registry
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.windowed_value import WindowedValue
from write_double import Fault, eventually, write_service

from scoreline.models.reserved import EVENT_TIME, with_metadata
from scoreline.transforms import RecordBatchCoder, write_bigquery
from scoreline.transforms.bigquery import append_requests, appender
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.write_streams import commit_streams, seal_streams
from scoreline.transforms.dead_letters import (
    DEAD_LETTER_SCHEMA,
    Reasons,
    decode_payload,
    to_dead_letters,
)
from scoreline.transforms.identity import identify
from scoreline.transforms.receipts import Receipt
from scoreline.transforms.telemetry import TELEMETRY
from scoreline.transforms.write_bigquery import WriteBigQueryParts, WriteBigQueryStream

TABLE = TableName.parse("p.d.t")


@pytest.fixture(scope="module")
def service():
    with pytest.MonkeyPatch.context() as patch, write_service(patch) as double:
        yield double


@pytest.fixture
def double(service):
    service.reset()
    TELEMETRY.reset()
    yield service
    service.reset()
    while Bundle.made:
        Bundle.made.pop().fn.teardown()
    assert eventually(lambda: service.open_connections == 0)
    TELEMETRY.reset()


def scored(values, split=0, first=0, **columns):
    """Rows as `Predict` gives them."""
    rows = len(values)
    batch = pa.record_batch(
        {
            "x": values,
            **columns,
            "prediction": [float(value) for value in values],
            "model_version": pa.array(["v1"] * rows).dictionary_encode(),
        }
    )
    batch = identify(batch, f"f{split}", first, split)
    return with_metadata(batch, outputs=json.dumps(["prediction", "model_version"]))


def dead(rows, split=0):
    reasons = Reasons("predict", ["bad"] * rows, ["C"] * rows, [f"no {row}" for row in range(rows)])
    return to_dead_letters(scored(list(range(rows)), split), reasons, "run", None)


class Bundle:
    """Drives the DoFn of a transform through bundles without Beam."""

    made: ClassVar[list] = []

    def __init__(self, transform):
        self.fn = pickle.loads(pickle.dumps(transform._write))
        self.fn.setup()
        self.made.append(self)

    def run(self, *batches):
        """One bundle; gives its receipts and its dead letters."""
        self.fn.start_bundle()
        found = [output for batch in batches for output in self.fn.process(batch) or ()]
        found += list(self.fn.finish_bundle())
        self.fn.teardown()
        return self._sorted(found)

    @staticmethod
    def _sorted(found):
        receipts, dead_letters = [], []
        for output in found:
            if isinstance(output, beam.pvalue.TaggedOutput):
                assert output.tag == "dead_letters"
                output = output.value
            if isinstance(output, WindowedValue):
                output = output.value
            (receipts if isinstance(output, Receipt) else dead_letters).append(output)
        return receipts, dead_letters


def odd(row):
    return "odd number" if row["x"] % 2 else None


def commit(receipts):
    rows = {}
    for receipt in receipts:
        rows[receipt.path] = rows.get(receipt.path, 0) + receipt.rows
    seal_streams(rows)
    commit_streams(TABLE, list(rows))


def read(double, name="x"):
    table = double.table(TABLE.path)
    return table.column(name).to_pylist() if table.num_columns else []


def test_a_bundle_is_one_stream_with_a_receipt_for_each_split(double):
    bundle = Bundle(WriteBigQueryParts(TABLE))
    receipts, dead_letters = bundle.run(scored([1, 2]), scored([3], 1), scored([4], 0, 2))
    assert dead_letters == []
    assert [(r.kind, r.split, r.rows, r.sink) for r in receipts] == [
        ("predicted", 0, 3, 0),
        ("predicted", 1, 1, 0),
    ]
    assert {r.path for r in receipts} == {f"{TABLE.path}/streams/s0"}
    assert read(double) == []
    commit(receipts)
    assert read(double) == [1, 2, 3, 4]


def test_bundles_never_share_a_stream(double):
    bundle = Bundle(WriteBigQueryParts(TABLE, sink=3))
    ((first,), _), ((second,), _) = bundle.run(scored([1])), bundle.run(scored([2]))
    assert first.path != second.path
    assert first.sink == 3
    assert bundle.run() == ([], [])
    assert len(double.streams) == 2


def test_what_is_kept_and_row_id(double):
    receipts, _ = Bundle(WriteBigQueryParts(TABLE, ("x",), True)).run(scored([7], 3, 5, y=[1]))
    commit(receipts)
    assert double.table(TABLE.path).to_pylist() == [
        {"x": 7, "prediction": 7.0, "model_version": "v1", "row_id": "f3#5"}
    ]


@pytest.mark.parametrize("says_rows", [True, False])
def test_refused_rows_become_dead_letters_and_are_in_no_receipt(double, says_rows):
    double.bad, double.says_rows = odd, says_rows
    bundle = Bundle(WriteBigQueryParts(TABLE, run_id="run-1"))
    receipts, dead_letters = bundle.run(scored([0, 1, 2]), scored([3], 1), scored([4], 2))
    assert [(r.split, r.rows) for r in receipts] == [(0, 2), (2, 1)]
    commit(receipts)
    assert read(double) == [0, 2, 4]
    assert all(batch.schema.equals(DEAD_LETTER_SCHEMA) for batch in dead_letters)
    assert [batch.schema.metadata[b"scoreline.split"] for batch in dead_letters] == [b"0", b"1"]
    (letter,) = dead_letters[0].to_pylist()
    assert (letter["stage"], letter["error_code"]) == ("write", "row_refused")
    assert letter["error_class"] == "INVALID_ARGUMENT"
    assert says_rows == (letter["error_message"] == "odd number")
    assert (letter["run_id"], letter["model_version"]) == ("run-1", "v1")
    assert letter["row_id"] == "f0#1"
    assert decode_payload(letter["payload"]).column("x").to_pylist() == [1]


def test_a_bundle_without_an_accepted_row_has_no_receipt(double):
    double.bad = odd
    receipts, dead_letters = Bundle(WriteBigQueryParts(TABLE)).run(scored([1, 3]))
    assert receipts == []
    assert sum(batch.num_rows for batch in dead_letters) == 2


def test_a_row_too_large_becomes_a_dead_letter(double, monkeypatch):
    monkeypatch.setattr(append_requests, "MAX_ROWS_BYTES", 5_000)
    monkeypatch.setattr(appender, "MAX_ROWS_BYTES", 5_000)
    batch = scored([0, 1, 2], note=["a", "b" * 9_000, "c"])
    receipts, (dead_letters,) = Bundle(WriteBigQueryParts(TABLE)).run(batch)
    assert [r.rows for r in receipts] == [2]
    assert dead_letters.column("error_code").to_pylist() == ["row_too_large"]


def test_dead_letters_are_counted_by_code(double):
    bundle = Bundle(WriteBigQueryParts(TABLE, kind="dead_lettered", sink=1))
    receipts, _ = bundle.run(dead(2), dead(1, 4))
    assert [(r.kind, r.split, r.rows, r.sink, r.codes) for r in receipts] == [
        ("dead_lettered", 0, 2, 1, (("predict/bad", 2, "f0#0: no 0"),)),
        ("dead_lettered", 4, 1, 1, (("predict/bad", 1, "f4#0: no 0"),)),
    ]
    commit(receipts)
    table = double.table(TABLE.path)
    assert table.column_names == DEAD_LETTER_SCHEMA.names
    assert decode_payload(table.column("payload")[1].as_py()).column("x").to_pylist() == [1]


@pytest.mark.parametrize("transform", [WriteBigQueryParts, WriteBigQueryStream])
def test_a_table_must_take_every_dead_letter(double, transform):
    double.bad = lambda row: "no such column"
    with pytest.raises(BigQueryError, match=r"p\.d\.t refuses dead letters.*: no such column\. C"):
        Bundle(transform(TABLE, kind="dead_lettered")).run(dead(1))


def test_a_payload_that_no_request_holds_is_cut(double, monkeypatch):
    monkeypatch.setattr(write_bigquery, "_MAX_PAYLOAD_BYTES", 100)
    batch = dead(3)
    payloads = pa.array([b"a" * 100, b"b" * 1_500, None], pa.binary())
    batch = batch.set_column(8, DEAD_LETTER_SCHEMA.field("payload"), payloads)
    receipts, _ = Bundle(WriteBigQueryParts(TABLE, kind="dead_lettered")).run(batch)
    commit(receipts)
    assert read(double, "payload") == [b"a" * 100, b"b" * 100, None]
    assert read(double, "error_message") == [
        "no 0",
        "no 1 (of the payload's 1,500 bytes these are the first)",
        "no 2",
    ]


def test_a_bundle_that_fails_leaves_nothing_that_can_be_read(double):
    bundle = Bundle(WriteBigQueryParts(TABLE))
    double.faults.extend([None, Fault(grpc.StatusCode.FAILED_PRECONDITION)])
    with pytest.raises(BigQueryError):
        bundle.run(scored([1]), scored([2]), scored([3]))
    (stream,) = double.pending()
    assert stream.rows == 1
    receipts, _ = bundle.run(scored([5]))
    commit(receipts)
    assert read(double) == [5]
    assert eventually(lambda: double.open_connections == 0)


def _facts(receipt):
    return receipt.kind, receipt.split, receipt.rows


def _errors(batch):
    return batch.column("error_message").to_pylist()


def test_the_transform_gives_receipts_and_dead_letters(double):
    double.bad = odd
    with test_pipeline.TestPipeline(runner=FnApiRunner()) as pipeline:
        batches = [scored([0, 1]), scored([2], 1)]
        written = pipeline | beam.Create(batches, reshuffle=False) | WriteBigQueryParts(TABLE)
        assert written.receipts.element_type is Receipt
        coder = registry.get_coder(written.dead_letters.element_type)
        assert isinstance(coder, RecordBatchCoder)
        expected = [("predicted", 0, 1), ("predicted", 1, 1)]
        assert_that(written.receipts | beam.Map(_facts), equal_to(expected), "Receipts")
        assert_that(written.dead_letters | beam.Map(_errors), equal_to([["odd number"]]), "Dead")


def streamed(values, age_secs=0.0, **columns):
    batch = scored(values, **columns)
    times = pa.array([int((time.time() - age_secs) * 1e6)] * len(values), pa.timestamp("us", "UTC"))
    return batch.append_column(EVENT_TIME, times)


def test_a_stream_s_rows_are_there_when_the_bundle_ends(double):
    bundle = Bundle(WriteBigQueryStream(TABLE, ("x",)))
    assert bundle.run(streamed([1, 2], age_secs=3), streamed([3], age_secs=3)) == ([], [])
    assert read(double) == [1, 2, 3]
    assert read(double, "row_id") == ["f0#0", "f0#1", "f0#0"]
    now = TELEMETRY.snapshot()
    assert (now.rows["predicted"], dict(now.sink_rows)) == (3, {"bq://p.d.t": 3})
    assert now.latency.num_values == 3
    assert 3 <= now.latency.quantile(0.5) < 6


def test_one_connection_serves_many_bundles(double):
    bundle = Bundle(WriteBigQueryStream(TABLE))
    for number in range(5):
        bundle.fn.start_bundle()
        list(bundle.fn.process(streamed([number])))
        list(bundle.fn.finish_bundle())
    assert read(double) == list(range(5))
    assert double.connections == 1
    bundle.fn.teardown()
    assert eventually(lambda: double.open_connections == 0)


def test_a_second_sink_counts_its_own_rows_only(double):
    Bundle(WriteBigQueryStream(TABLE, sink=1)).run(streamed([1, 2]))
    now = TELEMETRY.snapshot()
    assert (now.rows["predicted"], dict(now.sink_rows)) == (0, {"bq://p.d.t": 2})
    assert now.latency.num_values == 0


def test_what_a_stream_s_table_refuses_becomes_dead_letters(double):
    double.bad = odd
    bundle = Bundle(WriteBigQueryStream(TABLE, run_id="r"))
    _, dead_letters = bundle.run(streamed([0, 1, 2]), streamed([3]))
    assert read(double) == [0, 2]
    assert sum(batch.num_rows for batch in dead_letters) == 2
    assert dead_letters[0].column("event_time")[0].as_py() is not None
    assert TELEMETRY.snapshot().rows["predicted"] == 2


def test_dead_letters_of_a_stream_are_counted(double):
    assert Bundle(WriteBigQueryStream(TABLE, kind="dead_lettered")).run(dead(2)) == ([], [])
    now = TELEMETRY.snapshot()
    assert (now.rows["dead_lettered"], dict(now.codes)) == (2, {"predict/bad": 2})
    assert dict(now.sink_rows) == {}
    assert read(double, "error_message") == ["no 0", "no 1"]


def test_dead_letters_of_a_second_sink_are_no_outcome(double):
    Bundle(WriteBigQueryStream(TABLE, kind="dead_lettered", sink=1)).run(dead(2))
    now = TELEMETRY.snapshot()
    assert now.rows["dead_lettered"] == 0
    assert sum(now.codes.values()) == 2


def test_a_stream_that_waits_for_its_table_says_so(double):
    double.faults.append(Fault(grpc.StatusCode.RESOURCE_EXHAUSTED))
    states = []
    bundle = Bundle(WriteBigQueryStream(TABLE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TELEMETRY, "set_state", lambda state, reason="": states.append(state))
        bundle.run(streamed([1]))
    assert states == ["retrying", "pulling"]
    assert read(double) == [1]


def test_a_bundle_after_one_that_failed_starts_anew(double):
    bundle = Bundle(WriteBigQueryStream(TABLE, retry_secs=0.2))
    double.faults.extend([Fault(grpc.StatusCode.UNAVAILABLE)] * 20)
    with pytest.raises(BigQueryError, match=r"took no rows for 0\.2 s"):
        bundle.run(streamed([1]))
    double.faults.clear()
    bundle.run(streamed([2]))
    assert read(double) == [2]
    assert TELEMETRY.snapshot().rows["predicted"] == 1


def test_a_stream_through_a_pipeline(double):
    double.bad = odd
    with test_pipeline.TestPipeline(runner=FnApiRunner()) as pipeline:
        batches = [streamed([0, 1]), streamed([2])]
        refused = pipeline | beam.Create(batches, reshuffle=False) | WriteBigQueryStream(TABLE)
        assert isinstance(registry.get_coder(refused.element_type), RecordBatchCoder)
        assert_that(refused | beam.Map(_errors), equal_to([["odd number"]]))
    assert sorted(read(double)) == [0, 2]


def test_what_was_never_used_ends_too():
    for transform in (WriteBigQueryParts(TABLE), WriteBigQueryStream(TABLE)):
        transform._write.teardown()
