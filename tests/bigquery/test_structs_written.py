"""Columns of structs, on their own and repeated, as the write service gets them.

The emulator takes none of them over Arrow: rows are read back from the bytes of the requests.
"""

import json
import pickle

import pyarrow as pa
import pytest
from write_double import write_service

from scoreline.models.reserved import with_metadata
from scoreline.transforms.bigquery import append_requests, appender
from scoreline.transforms.bigquery.appender import Appender
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.write_streams import (
    commit_streams,
    create_stream,
    default_stream,
    seal_streams,
)
from scoreline.transforms.identity import identify
from scoreline.transforms.write_bigquery import WriteBigQueryParts

TABLE = TableName.parse("p.d.t")
PLACE = pa.struct({"city": pa.string(), "zip": pa.int64(), "tags": pa.list_(pa.string())})
ITEM = pa.struct({"sku": pa.string(), "prices": pa.list_(pa.struct({"amount": pa.float64()}))})


@pytest.fixture(scope="module")
def service():
    with pytest.MonkeyPatch.context() as patch, write_service(patch) as double:
        yield double


@pytest.fixture
def double(service):
    service.reset()
    yield service
    service.reset()


def place(n):
    return None if n % 5 == 3 else {"city": f"c{n}", "zip": n, "tags": ["a"] * (n % 3)}


def items(n):
    return [
        {"sku": f"s{n}.{i}", "prices": [{"amount": n / 4 + p} for p in range(i)]}
        for i in range(n % 4)
    ]


def row(n):
    return {"n": n, "place": place(n), "items": items(n)}


def batch_of(numbers):
    numbers = list(numbers)
    return pa.record_batch(
        {
            "n": pa.array(numbers, pa.int64()),
            "place": pa.array([place(n) for n in numbers], PLACE),
            "items": pa.array([items(n) for n in numbers], pa.list_(ITEM)),
        }
    )


def appended(kind, *batches):
    """Appends batches to a new stream; gives its name, and the numbers of the refused rows."""
    offsets = kind == "pending"
    stream = create_stream(TABLE) if offsets else default_stream(TABLE)
    accepted = []
    writer = Appender(
        TABLE,
        stream,
        offsets=offsets,
        retry_secs=20.0,
        on_accepted=lambda origin: accepted.extend(origin.column("n").to_pylist()),
        on_trouble=lambda _: None,
    )
    refused = [some for batch in batches for some in writer.append(batch, batch.select(["n"]))]
    refused += writer.flush()
    writer.close()
    gone = [n for some in refused for n in some.rows.column("n").to_pylist()]
    return stream, sorted(accepted), gone


def sent(double, stream):
    return [row for batch in double.streams[stream].batches for row in batch.to_pylist()]


both = pytest.mark.parametrize("kind", ["pending", "default"])


@both
def test_structs_arrive_value_by_value(double, kind):
    stream, accepted, gone = appended(kind, batch_of(range(50)), batch_of(range(50, 60)))
    assert sent(double, stream) == [row(n) for n in range(60)]
    assert (accepted, gone) == (list(range(60)), [])
    assert double.streams[stream].batches[0].schema.types[1:] == [PLACE, pa.list_(ITEM)]


@both
def test_a_part_of_a_batch_is_sent_without_its_rest(double, kind):
    stream, *_ = appended(kind, batch_of(range(100)).slice(17, 40))
    assert sent(double, stream) == [row(n) for n in range(17, 57)]


@both
def test_a_batch_of_structs_is_cut_into_requests(double, kind, monkeypatch):
    for module in (append_requests, appender):
        monkeypatch.setattr(module, "MAX_ROWS_BYTES", 10_000)
    stream, accepted, _ = appended(kind, batch_of(range(1_000)))
    assert len(double.requests) > 4
    assert sent(double, stream) == [row(n) for n in range(1_000)]
    assert accepted == list(range(1_000))


@both
def test_rows_whose_struct_is_refused_are_left_out(double, kind):
    double.bad = lambda row: "no place" if row["place"] is None else None
    stream, accepted, gone = appended(kind, batch_of(range(20)))
    fine = [n for n in range(20) if n % 5 != 3]
    assert sorted(each["n"] for each in sent(double, stream)) == accepted == fine
    assert sorted(sent(double, stream), key=lambda each: each["n"]) == [row(n) for n in fine]
    assert sorted(gone) == [3, 8, 13, 18]


def test_null_lists_within_structs_arrive_as_empty_ones(double):
    places = pa.array([{"city": None, "zip": 1, "tags": None}], PLACE)
    lists = pa.array([[{"sku": "s", "prices": None}, None]], pa.list_(ITEM))
    batch = pa.record_batch({"n": [0], "place": places, "items": lists})
    stream, *_ = appended("pending", batch)
    (found,) = sent(double, stream)
    assert found["place"] == {"city": None, "zip": 1, "tags": []}
    assert found["items"][0] == {"sku": "s", "prices": []}


def test_a_sink_writes_them_beside_its_predictions(double):
    batch = batch_of(range(10))
    batch = batch.append_column("prediction", pa.array([n / 2 for n in range(10)]))
    batch = batch.append_column("model_version", pa.array(["v1"] * 10).dictionary_encode())
    batch = with_metadata(
        identify(batch, "f0", 0, 0), outputs=json.dumps(["prediction", "model_version"])
    )
    write = pickle.loads(pickle.dumps(WriteBigQueryParts(TABLE)._write))
    write.setup()
    write.start_bundle()
    found = [*(write.process(batch) or ()), *write.finish_bundle()]
    write.teardown()
    (receipt,) = [getattr(output, "value", output) for output in found]
    assert receipt.rows == 10
    seal_streams({receipt.path: 10})
    commit_streams(TABLE, [receipt.path])
    assert double.table(TABLE.path).to_pylist() == [
        {**row(n), "prediction": n / 2, "model_version": "v1"} for n in range(10)
    ]
