"""Writing to an emulator: the real wire protocol, as far as it goes there."""

import datetime
import decimal

import pyarrow as pa
import pytest

from scoreline.transforms.bigquery import append_requests, tables, write_streams
from scoreline.transforms.bigquery.appender import Appender
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.storage_channel import storage_channel
from scoreline.transforms.bigquery.write_streams import (
    StreamsLostError,
    commit_streams,
    create_stream,
    default_stream,
    seal_streams,
)


@pytest.fixture(scope="module")
def dataset(bq):
    storage_channel.cache_clear()
    yield bq.dataset()
    storage_channel.cache_clear()


@pytest.fixture
def table(bq, dataset, request):
    """Makes a table of a schema, with a name of the test's own."""

    def make(schema):
        name = TableName(bq.project, dataset, request.node.name.split("[")[0][:60])
        tables.create(name, schema)
        return name

    return make


class Written:
    """Appends batches to a stream, and keeps what became of them."""

    def __init__(self, table, *batches, stream=None, offsets=True):
        self.stream = stream or create_stream(table, retry_secs=5)
        self.rows, self.refused = 0, []
        self._appender = Appender(
            table, self.stream, offsets=offsets, retry_secs=5, on_accepted=self._count
        )
        for batch in batches:
            self.refused += self._appender.append(batch, batch)
        self.refused += self._appender.flush()
        self._appender.close()

    def _count(self, batch):
        self.rows += batch.num_rows


TYPES = {
    "int": pa.array([1, None], pa.int8()),
    "float": pa.array([1.5, None]),
    "text": pa.array(["é", None], pa.large_string()),
    "label": pa.array(["a", None]).dictionary_encode(),
    "flag": pa.array([True, None]),
    "raw": pa.array([b"\xff", None]),
    "at": pa.array([1_000, None], pa.timestamp("ns", "UTC")),
    "local": pa.array([1, None], pa.timestamp("ms")),
    "day": pa.array([datetime.date(2024, 2, 29), None]),
    "time": pa.array([datetime.time(1, 2, 3), None]),
    "price": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(10, 2)),
    "tags": pa.array([["a", "b"], None]),
}


def test_values_of_each_type_can_be_read_back(bq, table):
    batch = pa.record_batch(TYPES)
    name = table(batch.schema)
    written = Written(name, batch)
    assert (written.rows, written.refused) == (2, [])
    seal_streams({written.stream: 2}, retry_secs=5)
    commit_streams(name, [written.stream], retry_secs=5)
    assert sorted(bq.rows(str(name)).to_pylist(), key=str) == sorted(
        [
            {
                "int": 1,
                "float": 1.5,
                "text": "é",
                "label": "a",
                "flag": True,
                "raw": b"\xff",
                "at": datetime.datetime(1970, 1, 1, 0, 0, 0, 1, datetime.UTC),
                "local": datetime.datetime(1970, 1, 1, 0, 0, 0, 1_000),
                "day": datetime.date(2024, 2, 29),
                "time": datetime.time(1, 2, 3),
                "price": decimal.Decimal("1.25"),
                "tags": ["a", "b"],
            },
            dict.fromkeys(TYPES) | {"tags": []},
        ],
        key=str,
    )


def test_streams_are_committed_together_and_once(bq, table):
    batch = pa.record_batch({"x": [1, 2]})
    name = table(batch.schema)
    streams = [Written(name, batch, batch).stream for _ in range(3)]
    assert bq.rows(str(name)).num_rows == 0
    seal_streams(dict.fromkeys(streams, 4), retry_secs=5)
    seal_streams(dict.fromkeys(streams, 4), retry_secs=5)
    for _ in range(2):
        commit_streams(name, streams, retry_secs=5)
        assert bq.rows(str(name)).num_rows == 12


def test_a_stream_that_was_not_sealed_is_not_taken_for_committed(table):
    batch = pa.record_batch({"x": [1]})
    name = table(batch.schema)
    written = Written(name, batch)
    with pytest.raises(BigQueryError):
        commit_streams(name, [written.stream], retry_secs=5)


def test_a_stream_that_is_not_there_is_lost(table):
    name = table(pa.schema({"x": pa.int64()}))
    with pytest.raises(StreamsLostError):
        commit_streams(name, [f"{name.path}/streams/never"], retry_secs=5)


def test_a_batch_above_the_limit_of_a_request_is_written(bq, table):
    batch = pa.record_batch({"x": range(60_000), "text": ["x" * 400] * 60_000})
    assert batch.nbytes > 2 * append_requests.MAX_ROWS_BYTES
    name = table(batch.schema)
    written = Written(name, batch)
    seal_streams({written.stream: 60_000}, retry_secs=5)
    commit_streams(name, [written.stream], retry_secs=5)
    found = bq.query(f"SELECT COUNT(DISTINCT x) AS n, SUM(LENGTH(text)) AS s FROM {name.sql}")
    assert found == [{"n": 60_000, "s": 24_000_000}]


def test_values_that_the_table_does_not_take_are_found(bq, table):
    """The emulator refuses the whole request and does not say which row it is."""
    name = table(pa.schema({"n": pa.int64()}))
    numbers = [float(number) for number in range(200)]
    numbers[17] = numbers[150] = 0.5
    written = Written(name, pa.record_batch({"n": numbers}))
    seal_streams({written.stream: written.rows}, retry_secs=5)
    commit_streams(name, [written.stream], retry_secs=5)
    refused = [value for some in written.refused for value in some.rows.column("n").to_pylist()]
    assert refused == [0.5, 0.5]
    assert bq.rows(str(name)).num_rows == 198


def test_rows_of_the_default_stream_are_there_at_once(bq, table):
    batch = pa.record_batch({"x": range(10_000)})
    name = table(batch.schema)
    stream = default_stream(name)
    written = Written(name, *[batch] * 3, stream=stream, offsets=False)
    assert written.rows == 30_000
    assert bq.rows(str(name)).num_rows == 30_000  # all is appended, or the emulator would hang


def test_a_table_that_is_not_there_is_said(bq, dataset, monkeypatch):
    monkeypatch.setattr(write_streams, "_NEW_TABLE_SECS", 0.2)
    with pytest.raises(BigQueryError, match="it is not there"):
        create_stream(TableName(bq.project, dataset, "never"), retry_secs=5)
