import random
import threading
import time
from typing import ClassVar

import grpc
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from write_double import SLOW, Code, Fault, Stream, eventually, write_service

from scoreline.transforms.bigquery import append_requests, appender
from scoreline.transforms.bigquery.appender import Appender
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.write_streams import create_stream, default_stream

TABLE = TableName.parse("p.d.t")
Status = grpc.StatusCode


@pytest.fixture(scope="module")
def service():
    with pytest.MonkeyPatch.context() as patch, write_service(patch) as double:
        yield double


@pytest.fixture
def double(service):
    service.reset()
    yield service
    service.reset()
    while Rows.made:
        appender_ = Rows.made.pop().appender
        appender_.abandon()
        appender_.close()
    assert eventually(lambda: service.open_connections == 0)


class Rows:
    """An appender, with what became of the rows that went in; a row is a number and its origin."""

    made: ClassVar[list] = []

    def __init__(self, kind, retry_secs=20.0):
        offsets = kind == "pending"
        self.stream = create_stream(TABLE) if offsets else default_stream(TABLE)
        self.accepted, self.refused, self.troubles = [], [], []
        self.appender = Appender(
            TABLE,
            self.stream,
            offsets=offsets,
            retry_secs=retry_secs,
            on_accepted=lambda origin: self.accepted.extend(origin.column("id").to_pylist()),
            on_trouble=self.troubles.append,
        )
        self.made.append(self)

    def append(self, numbers):
        numbers = list(numbers)
        self.add(self.appender.append(batch(numbers), pa.record_batch({"id": numbers})))
        return self

    def flush(self):
        self.add(self.appender.flush())
        self.appender.close()
        return self

    def add(self, refused):
        for some in refused:
            ids = some.rows.column("id").to_pylist()
            self.refused += [(i, some.code, m) for i, m in zip(ids, some.messages, strict=True)]


def batch(numbers):
    return pa.record_batch({"x": pa.array(numbers, pa.int64())})


def written(double, rows):
    found = double.streams.get(rows.stream, Stream("", ""))
    return [value for each in found.batches for value in each.column("x").to_pylist()]


def odd(row):
    return "odd number" if row["x"] % 2 else None


both = pytest.mark.parametrize("kind", ["pending", "default"])


@both
def test_rows_are_appended_in_order(double, kind):
    rows = Rows(kind).append(range(5)).append(range(5, 8)).flush()
    assert written(double, rows) == rows.accepted == list(range(8))
    assert rows.refused == []
    offsets = [offset for _, offset, *_ in double.requests]
    assert offsets == ([0, 5] if kind == "pending" else [None, None])
    assert eventually(lambda: double.open_connections == 0)


def test_the_schema_goes_until_it_is_known_and_when_it_changes(double):
    rows = Rows("default").append([1])
    rows.appender.flush()
    rows.append([2])
    other = pa.record_batch({"x": [3], "y": ["a"]})
    for _ in range(2):
        rows.appender.append(other, pa.record_batch({"id": [3]}))
        rows.appender.flush()
    rows.append([4]).flush()
    assert [has_schema for *_, has_schema in double.requests] == [True, False, True, False, True]
    rows.append([5]).flush()
    assert double.connections == 2
    assert double.requests[-1][-1]


@both
def test_a_server_may_forget_the_schema_of_a_request_that_it_refuses(double, kind):
    double.forgets_schema, double.bad = True, odd
    rows = Rows(kind).append([1]).append([2, 3]).append([4]).flush()
    assert sorted(rows.accepted) == [2, 4]
    assert [row for row, *_ in rows.refused] == [1, 3]


def test_nothing_to_append_makes_no_connection(double):
    rows = Rows("pending").flush()
    assert (double.connections, rows.accepted) == (0, [])


@both
def test_a_large_batch_goes_in_several_requests(double, kind, monkeypatch):
    monkeypatch.setattr(append_requests, "MAX_ROWS_BYTES", 10_000)
    monkeypatch.setattr(appender, "MAX_ROWS_BYTES", 10_000)
    rows = Rows(kind).append(range(5_000)).flush()
    assert written(double, rows) == rows.accepted == list(range(5_000))
    assert len(double.requests) >= 4
    assert max(num_bytes for *_, num_bytes, _ in double.requests) < 11_000


def test_a_row_too_large_for_a_request_is_refused_alone(double, monkeypatch):
    monkeypatch.setattr(append_requests, "MAX_ROWS_BYTES", 2_000)
    monkeypatch.setattr(appender, "MAX_ROWS_BYTES", 2_000)
    rows = Rows("pending")
    columns = pa.record_batch({"text": ["a", "b" * 3_000, "c"]})
    rows.add(rows.appender.append(columns, pa.record_batch({"id": [0, 1, 2]})))
    rows.flush()
    assert rows.accepted == [0, 2]
    ((row, code, message),) = rows.refused
    assert (row, code) == (1, "row_too_large")
    assert message.startswith("it has 3,")
    assert message.endswith("a request to BigQuery at most 2,000: keep fewer columns")


def test_a_value_that_bigquery_cannot_keep_is_refused_before_it_is_sent(double):
    rows = Rows("pending")
    columns = pa.record_batch({"at": pa.array([1_000, 1_001, 2_000], pa.timestamp("ns"))})
    rows.add(rows.appender.append(columns, pa.record_batch({"id": [0, 1, 2]})))
    rows.flush()
    assert rows.accepted == [0, 2]
    ((row, code, message),) = rows.refused
    assert (row, code) == (1, "unsafe_cast")
    assert "column 'at' does not fit" in message


@both
@pytest.mark.parametrize("says_rows", [True, False])
def test_rows_at_fault_are_refused_and_the_others_appended(double, kind, says_rows):
    double.bad, double.says_rows = odd, says_rows
    rows = Rows(kind).append(range(10)).append([10, 12]).append([13]).append([14]).flush()
    assert sorted(written(double, rows)) == sorted(rows.accepted) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert sorted(row for row, *_ in rows.refused) == [1, 3, 5, 7, 9, 13]
    assert {code for _, code, _ in rows.refused} == {"row_refused"}
    message = "odd number" if says_rows else "errors found while processing rows"
    assert {message for *_, message in rows.refused} == {message}
    if kind == "pending":
        assert written(double, rows) == rows.accepted == [0, 2, 4, 6, 8, 10, 12, 14]


@both
def test_all_rows_of_a_request_may_be_at_fault(double, kind):
    double.bad = odd
    rows = Rows(kind).append([1, 3]).append([2]).flush()
    assert (written(double, rows), rows.accepted) == ([2], [2])
    assert [row for row, *_ in rows.refused] == [1, 3]


def test_one_row_in_many_costs_few_requests(double):
    double.bad, double.says_rows = lambda row: "bad" if row["x"] == 12_345 else None, False
    rows = Rows("default").append(range(50_000)).flush()
    assert [row for row, *_ in rows.refused] == [12_345]
    assert sorted(rows.accepted) == [row for row in range(50_000) if row != 12_345]
    assert len(double.requests) <= 1 + 4 * 8


LACKING = Code.SCHEMA_MISMATCH_EXTRA_FIELDS.value


@both
@pytest.mark.parametrize("ends", [True, False])
def test_a_column_that_was_just_added_is_waited_for(double, kind, ends):
    double.faults.extend([Fault(Status.INVALID_ARGUMENT, ends=ends, storage_code=LACKING)] * 3)
    rows = Rows(kind).append([0, 1]).append([2]).flush()
    assert sorted(written(double, rows)) == sorted(rows.accepted) == [0, 1, 2]
    assert rows.refused == []
    said = (
        "INVALID_ARGUMENT: as the test wants it (a new column takes minutes to be known everywhere)"
    )
    assert set(rows.troubles) == {said, ""}
    assert double.connections > 1  # an open one may know the old columns only


@both
@pytest.mark.parametrize("ends", [True, False])
def test_a_column_that_the_table_lacks_for_long_refuses_all_rows_at_once(
    double, kind, ends, monkeypatch
):
    monkeypatch.setattr(appender, "_SCHEMA_SECS", 0.5)
    double.faults.extend([Fault(Status.INVALID_ARGUMENT, ends=ends, storage_code=LACKING)] * 50)
    rows = Rows(kind).append(range(100)).flush()
    assert [row for row, *_ in rows.refused] == list(range(100))
    began = time.monotonic()
    rows.append(range(100, 200)).flush()
    assert time.monotonic() - began < 0.4  # nothing is waited for twice
    assert rows.accepted == []
    assert [row for row, *_ in rows.refused] == list(range(200))
    double.faults.clear()
    rows.append([200]).flush()
    assert rows.accepted == written(double, rows) == [200]


def test_rows_that_are_all_refused_one_by_one_end_a_batch(double, monkeypatch):
    monkeypatch.setattr(appender, "_MAX_ALONE", 10)
    double.bad, double.says_rows = odd, False
    with pytest.raises(
        BigQueryError, match=r"p\.d\.t refused 10 rows one after the other and took none in between"
    ):
        Rows("pending").append(range(1, 60, 2)).flush()
    rows = Rows("default").append(range(1, 60, 2)).append([60]).flush()
    assert rows.accepted == [60]
    assert len(rows.refused) == 30


TRANSIENT = ["ABORTED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]


@both
@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("status", TRANSIENT)
def test_what_may_succeed_later_is_tried_again(double, kind, status, ends, caplog):
    double.faults.extend([None, Fault(Status[status], ends=ends), None])
    rows = Rows(kind).append([0]).append([1]).append([2]).append([3]).flush()
    assert sorted(written(double, rows)) == sorted(rows.accepted) == [0, 1, 2, 3]
    if kind == "pending":
        assert written(double, rows) == [0, 1, 2, 3]
    assert rows.refused == []
    assert rows.troubles == [f"{status}: as the test wants it", ""]
    assert caplog.text.count("p.d.t does not answer, retrying") == 1
    assert caplog.text.count("p.d.t answers again after") == 1


def test_rows_whose_answer_was_lost_are_appended_once_with_offsets(double):
    double.faults.extend([None, Fault(ends=True, applied=True)])
    rows = Rows("pending").append([0]).append([1]).append([2]).flush()
    assert written(double, rows) == rows.accepted == [0, 1, 2]


def test_rows_whose_answer_was_lost_are_appended_at_least_once_without_offsets(double):
    double.faults.extend([None, Fault(ends=True, applied=True)])
    rows = Rows("default").append([0]).append([1]).append([2]).flush()
    assert sorted(set(written(double, rows))) == sorted(rows.accepted) == [0, 1, 2]


@both
def test_a_service_that_never_answers_is_asked_again(double, kind, monkeypatch):
    monkeypatch.setattr(appender, "_ANSWER_SECS", 0.3)
    double.faults.append(Fault(silent=True, applied=True))
    rows = Rows(kind).append([0]).append([1]).flush()
    assert rows.accepted == [0, 1]
    assert written(double, rows)[-2:] == [0, 1]
    assert rows.troubles[0] == "UNAVAILABLE: no answer for 0.3 s"


@both
def test_a_service_that_takes_nothing_for_too_long_is_given_up(double, kind):
    double.faults.extend([Fault(Status.RESOURCE_EXHAUSTED)] * 100)
    rows = Rows(kind, retry_secs=0.5).append([0])
    began = time.monotonic()
    with pytest.raises(
        BigQueryError, match=r"p\.d\.t took no rows for 0\.5 s: RESOURCE_EXHAUSTED: as the test"
    ):
        rows.flush()
    assert time.monotonic() - began < 2
    assert rows.refused == []


def test_a_slow_service_is_waited_for(double):
    double.faults.extend([SLOW] * 3)
    rows = Rows("pending").append([0]).append([1]).append([2]).flush()
    assert rows.accepted == [0, 1, 2]
    assert rows.troubles == []


def test_little_is_on_its_way_at_a_time(double, monkeypatch):
    monkeypatch.setattr(appender, "_MAX_BYTES_OUT", 100_000)
    double.faults.extend([Fault(Status.OK, secs=0.1)] * 6)
    rows = Rows("pending")
    most = 0
    for start in range(0, 60_000, 5_000):  # 40 kB each
        rows.append(range(start, start + 5_000))
        most = max(most, rows.appender._bytes_out)
    assert most <= 150_000
    rows.flush()
    assert written(double, rows) == list(range(60_000))


def test_what_rows_came_with_counts_as_well(double, monkeypatch):
    monkeypatch.setattr(appender, "_MAX_BYTES_OUT", 100_000)
    double.faults.extend([Fault(Status.OK, secs=0.1)] * 6)
    rows = Rows("pending")
    wide = {f"f{number}": np.zeros(1_000) for number in range(10)}  # 80 kB, of which 8 are sent
    most = 0
    for start in range(0, 10_000, 1_000):
        numbers = pa.array(range(start, start + 1_000))
        origin = pa.record_batch({"id": numbers, **wide})
        rows.add(rows.appender.append(pa.record_batch({"x": numbers}), origin))
        most = max(most, len(rows.appender._out))
    assert most == 1
    rows.flush()
    assert written(double, rows) == list(range(10_000))


def test_requests_are_not_answered_one_by_one(double):
    double.faults.extend([Fault(Status.OK, secs=0.2), *[None] * 9])
    rows = Rows("pending")
    began = time.monotonic()
    for number in range(10):
        rows.append([number])
    assert time.monotonic() - began < 0.15
    rows.flush()
    assert rows.accepted == list(range(10))


def test_a_connection_that_was_closed_for_being_idle_is_no_trouble(double):
    rows = Rows("default").append([0])
    rows.add(rows.appender.flush())
    rows.appender._connection._call.cancel()
    assert eventually(lambda: not rows.appender._connection.is_open)
    rows.append([1]).flush()
    assert rows.accepted == [0, 1]
    assert rows.troubles == []


@pytest.mark.parametrize("status", ["NOT_FOUND", "PERMISSION_DENIED"])
def test_what_somebody_may_mend_is_waited_for_by_a_stream(double, status):
    double.faults.append(Fault(Status[status], ends=True))
    rows = Rows("default").append([0]).flush()
    assert rows.accepted == [0]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("NOT_FOUND", "cannot write to p.d.t: it is not there"),
        ("PERMISSION_DENIED", "Grant roles/bigquery.dataEditor on the table"),
        ("FAILED_PRECONDITION", "BigQuery says: as the test wants it"),
        ("OUT_OF_RANGE", "BigQuery says: as the test wants it"),
    ],
)
@pytest.mark.parametrize("ends", [True, False])
def test_what_will_not_mend_itself_fails_at_once(double, status, said, ends):
    double.faults.append(Fault(Status[status], ends=ends))
    rows = Rows("pending").append([0])
    with pytest.raises(BigQueryError, match=said.replace(".", r"\.")):
        rows.flush()


def test_connections_that_end_for_what_rows_hold_are_counted(double, monkeypatch):
    monkeypatch.setattr(appender, "_MAX_BROKEN", 3)
    double.faults.extend([Fault(Status.INVALID_ARGUMENT, ends=True)] * 10)
    rows = Rows("pending").append(range(100))
    with pytest.raises(BigQueryError, match="it was refused"):
        rows.flush()
    assert double.connections == 4


def test_rows_that_end_a_connection_are_found(double):
    double.faults.extend([Fault(Status.INVALID_ARGUMENT, ends=True)] * 2)
    rows = Rows("pending").append(range(4)).append([4]).flush()
    assert rows.accepted == written(double, rows) == [1, 2, 3, 4]
    assert [row for row, *_ in rows.refused] == [0]


def test_what_was_abandoned_is_forgotten(double):
    double.faults.append(Fault(silent=True))
    rows = Rows("default").append([0])
    assert eventually(lambda: not double.faults)
    rows.appender.abandon()
    rows.append([1]).flush()
    assert rows.accepted == [1]


def test_no_thread_is_left(double):
    assert "scoreline-append" not in {thread.name for thread in threading.enumerate()}
    Rows("pending").append([0]).flush()
    abandoned = Rows("default").append([0])
    assert eventually(lambda: double.connections == 2)
    abandoned.appender.abandon()
    abandoned.appender.close()
    assert "scoreline-append" not in {thread.name for thread in threading.enumerate()}
    assert eventually(lambda: double.open_connections == 0)


FAULTS = st.sampled_from(
    [
        None,
        None,
        Fault(),
        Fault(Status.RESOURCE_EXHAUSTED),
        Fault(ends=True),
        Fault(ends=True, applied=True),
        Fault(Status.INTERNAL, applied=True),
    ]
)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
    st.lists(FAULTS, max_size=12),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_every_row_is_appended_once_or_refused(service, sizes, faults, says_rows, seed):
    service.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appender.time, "sleep", lambda secs: None)
        chance = random.Random(seed)
        bad = {row for row in range(sum(sizes)) if chance.random() < 0.15}
        service.bad = lambda row: "bad" if row["x"] in bad else None
        service.says_rows = says_rows
        service.faults.extend(faults)
        rows, first = Rows("pending", retry_secs=60.0), 0
        for size in sizes:
            rows.append(range(first, first + size))
            first += size
        rows.flush()
    rows.appender.close()
    good = [row for row in range(first) if row not in bad]
    assert written(service, rows) == rows.accepted == good
    assert sorted(row for row, *_ in rows.refused) == sorted(bad)
