import time

import grpc
import pyarrow as pa
import pytest
from write_double import Code, write_service

from scoreline.transforms.bigquery import write_streams
from scoreline.transforms.bigquery.appender import Appender
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.write_streams import (
    StreamsLostError,
    commit_streams,
    create_stream,
    seal_streams,
)

TABLE = TableName.parse("p.d.t")
Status = grpc.StatusCode


@pytest.fixture(scope="module")
def service():
    with pytest.MonkeyPatch.context() as patch, write_service(patch) as double:
        yield double


@pytest.fixture
def double(service):
    service.reset()
    return service


def filled(*numbers, table=TABLE):
    """A stream with these rows."""
    stream = create_stream(table)
    appender = Appender(table, stream, offsets=True, retry_secs=5, on_accepted=lambda rows: None)
    rows = pa.record_batch({"x": list(numbers)})
    appender.append(rows, rows)
    appender.flush()
    appender.close()
    return stream


def read(double, table=TABLE):
    table = double.table(table.path)
    return table.column("x").to_pylist() if table.num_columns else []


def test_rows_can_be_read_once_their_stream_is_committed(double):
    one, two = filled(1, 2), filled(3)
    assert read(double) == []
    seal_streams({one: 2, two: 1})
    assert read(double) == []
    commit_streams(TABLE, [one, two])
    assert read(double) == [1, 2, 3]
    assert double.commits == [[one, two]]


def test_a_table_may_have_a_name_of_any_script(double):
    table = TableName.parse("p.d.größe 1")
    stream = filled(1, 2, table=table)
    seal_streams({stream: 2})
    commit_streams(table, [stream])
    assert read(double, table) == [1, 2]
    named = "projects/p/datasets/d/tables/gr%C3%B6%C3%9Fe%201"  # metadata are ASCII
    assert double.routes == {
        *(f"parent={named}", f"write_stream={named}/streams/s0", f"name={named}/streams/s0")
    }


def test_no_streams_are_no_commit(double):
    seal_streams({})
    commit_streams(TABLE, [])
    assert double.commits == []


def test_sealing_bears_repetition_and_ends_a_stream(double):
    stream = filled(1)
    seal_streams({stream: 1})
    seal_streams({stream: 1})
    assert double.streams[stream].finalized


def test_a_stream_with_other_rows_than_were_counted_is_not_committed(double):
    one, two = filled(1), filled(2, 3)
    with pytest.raises(BigQueryError, match=r"p\.d\.t: 3 rows were appended .* but it has 2"):
        seal_streams({one: 1, two: 3})


@pytest.mark.parametrize(
    "code",
    [Code.STREAM_ALREADY_COMMITTED, Code.INVALID_STREAM_STATE, Code.STREAM_NOT_FOUND],
)
def test_a_second_commit_is_a_success_and_adds_nothing(double, code):
    double.commit_code = code.value
    streams = [filled(1), filled(2)]
    seal_streams(dict.fromkeys(streams, 1))
    commit_streams(TABLE, streams)
    commit_streams(TABLE, streams)
    assert read(double) == [1, 2]


@pytest.mark.parametrize("done", [True, False])
def test_a_commit_whose_answer_was_lost_is_tried_again(double, done):
    double.call_faults["BatchCommitWriteStreams"].append((Status.UNAVAILABLE, done))
    stream = filled(1)
    seal_streams({stream: 1})
    commit_streams(TABLE, [stream])
    assert read(double) == [1]
    assert len(double.commits) == (2 if done else 1)


def test_what_a_crash_left_between_two_commits_is_committed(double):
    one, two = filled(1), filled(2)
    seal_streams({one: 1, two: 1})
    commit_streams(TABLE, [one])
    commit_streams(TABLE, [one, two])
    assert read(double) == [1, 2]
    assert double.commits == [[one], [one, two], [two]]


def test_a_commit_holds_no_more_streams_than_it_may(double, monkeypatch):
    monkeypatch.setattr(write_streams, "MAX_STREAMS", 2)
    streams = [filled(number) for number in range(5)]
    seal_streams(dict.fromkeys(streams, 1))
    commit_streams(TABLE, streams)
    assert [len(some) for some in double.commits] == [2, 2, 1]
    assert read(double) == list(range(5))


def test_streams_that_expired_are_lost(double):
    one, two = filled(1), filled(2)
    seal_streams({one: 1, two: 1})
    del double.streams[two]
    with pytest.raises(StreamsLostError, match="1 of 2 streams could not be committed: not this"):
        commit_streams(TABLE, [one, two])
    assert read(double) == []


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.INVALID_ARGUMENT])
def test_a_stream_that_nobody_knows_is_lost(double, status):
    double.call_faults["GetWriteStream"].append((status, False))
    with pytest.raises(StreamsLostError, match="1 of 1 streams could not be committed: not this"):
        commit_streams(TABLE, [f"{TABLE.path}/streams/never"])


def test_a_stream_that_may_not_be_looked_at_is_not_taken_for_lost(double):
    double.call_faults["GetWriteStream"].append((Status.PERMISSION_DENIED, False))
    with pytest.raises(BigQueryError, match="permission denied") as raised:
        commit_streams(TABLE, [f"{TABLE.path}/streams/never"])
    assert not isinstance(raised.value, StreamsLostError)


def test_a_stream_in_an_odd_state_that_was_not_committed_is_lost(double):
    stream = filled(1)  # never sealed
    with pytest.raises(StreamsLostError, match="not this one"):
        commit_streams(TABLE, [stream])
    double.streams["other"] = double.streams.pop(stream)


def test_a_table_that_was_deleted_has_lost_its_streams(double):
    stream = filled(1)
    seal_streams({stream: 1})
    double.tables = set()
    with pytest.raises(StreamsLostError, match=r"cannot write to p\.d\.t: it is not there"):
        commit_streams(TABLE, [stream])


def test_a_table_that_was_just_made_may_not_be_there_yet(double):
    double.call_faults["CreateWriteStream"].extend([(Status.NOT_FOUND, False)] * 2)
    assert create_stream(TABLE).startswith(f"{TABLE.path}/streams/")


def test_a_table_that_is_not_there_is_not_waited_for_long(double, monkeypatch):
    monkeypatch.setattr(write_streams, "_NEW_TABLE_SECS", 0.3)
    double.tables = set()
    began = time.monotonic()
    with pytest.raises(BigQueryError, match=r"cannot write to p\.d\.t: it is not there"):
        create_stream(TABLE)
    assert 0.1 < time.monotonic() - began < 2


def test_a_missing_role_is_named_at_once(double):
    double.call_faults["CreateWriteStream"].append((Status.PERMISSION_DENIED, False))
    with pytest.raises(BigQueryError, match=r"Grant roles/bigquery\.dataEditor on the table"):
        create_stream(TABLE)


def test_a_service_that_does_not_answer_is_given_up(double):
    double.call_faults["FinalizeWriteStream"].extend([(Status.UNAVAILABLE, False)] * 50)
    stream = filled(1)
    began = time.monotonic()
    with pytest.raises(BigQueryError, match="BigQuery does not answer"):
        seal_streams({stream: 1}, retry_secs=0.3)
    assert time.monotonic() - began < 2
