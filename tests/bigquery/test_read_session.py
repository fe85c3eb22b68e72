"""Read sessions, against a double that breaks streams: over real gRPC."""

import time

import grpc
import pyarrow as pa
import pytest
from read_double import Break

from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.read_session import create_session, read_stream

ORDERS = TableName("p-1", "sales", "orders")
PLACE = pa.struct({"city": pa.string(), "zip": pa.int64()})
ROWS = pa.table(
    {
        "order_id": pa.array(range(100), pa.int64()),
        "amount": pa.array([number / 4 for number in range(100)]),
        "place": pa.array([{"city": f"c{n}", "zip": n} for n in range(100)], PLACE),
    }
)


@pytest.fixture
def double(read_double):
    read_double.add(ORDERS.path, ROWS)
    return read_double


def opened(**rest):
    session = create_session(ORDERS, **rest)
    return session.streams, session.schema


def ids(batches):
    return [value for batch in batches for value in batch.column("order_id").to_pylist()]


def test_a_session_is_asked_for_with_columns_and_filter(double):
    session = create_session(ORDERS, ["amount", "order_id"], "amount > 1", max_streams=2)
    (request,) = double.sessions
    assert request.parent == "projects/p-1"
    assert request.max_stream_count == 2
    assert request.read_session.table == ORDERS.path
    assert list(request.read_session.read_options.selected_fields) == ["amount", "order_id"]
    assert request.read_session.read_options.row_restriction == "amount > 1"
    assert double.metadata[0]["x-goog-request-params"] == (
        "read_session.table=projects/p-1/datasets/sales/tables/orders"
    )
    assert len(session.streams) == 2
    assert session.num_bytes > 0


def test_the_streams_hold_each_row_once_with_structs(double):
    streams, schema = opened(max_streams=3)
    tables = [pa.Table.from_batches(read_stream(stream, schema)) for stream in streams]
    assert len(tables) == 3
    assert pa.concat_tables(tables) == ROWS


def test_a_table_without_rows_has_no_stream(double):
    double.add(ORDERS.path, ROWS.slice(0, 0))
    streams, schema = opened()
    assert streams == ()
    assert pa.ipc.read_schema(pa.py_buffer(schema)) == ROWS.schema


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
    ids=lambda code: code.name,
)
def test_a_stream_that_breaks_goes_on_at_its_offset(double, code):
    (stream,), schema = opened()
    double.break_stream(0, Break(3, code), Break(0, code), Break(4, code))
    assert ids(read_stream(stream, schema)) == list(range(100))
    assert double.reads == [(0, 0), (0, 30), (0, 30), (0, 70)]


def test_a_stream_that_stalls_is_connected_anew(double):
    (stream,), schema = opened()
    double.break_stream(0, Break(2, None))
    assert ids(read_stream(stream, schema, stall_secs=0.3)) == list(range(100))
    assert double.reads == [(0, 0), (0, 20)]


def test_a_consumer_that_takes_its_time_is_no_stall(double):
    (stream,), schema = opened()
    double.batch_rows = 50
    seen = []
    for batch in read_stream(stream, schema, stall_secs=0.2):
        time.sleep(0.5)
        seen += ids([batch])
    assert seen == list(range(100))
    assert double.reads == [(0, 0)]


def test_a_stream_that_stays_broken_is_given_up(double):
    (stream,), schema = opened()
    double.break_stream(0, Break(1, grpc.StatusCode.UNAVAILABLE))
    double.break_stream(0, *[Break(0, grpc.StatusCode.UNAVAILABLE)] * 50)
    batches = read_stream(stream, schema, give_up_secs=0.5)
    assert ids([next(batches)]) == list(range(10))
    with pytest.raises(BigQueryError, match="after row 10: BigQuery does not answer") as raised:
        next(batches)
    assert isinstance(raised.value.__cause__, grpc.RpcError)


def test_a_session_that_has_expired_is_said_at_once(double):
    _, schema = opened()
    with pytest.raises(BigQueryError, match=r"after row 0: it is not there.*has expired"):
        next(read_stream("projects/p-1/locations/eu/sessions/old/streams/0", schema))


@pytest.mark.parametrize(
    ("code", "secs"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, -1),
        (grpc.StatusCode.NOT_FOUND, -3_600),
        (grpc.StatusCode.NOT_FOUND, 60),  # clocks differ
    ],
    ids=["refused", "gone", "nearly"],
)
def test_a_read_that_fails_as_its_session_has_expired_says_what_to_do(double, code, secs):
    double.expires_at = int(time.time()) + secs
    session = create_session(ORDERS)
    assert session.expires_at == double.expires_at
    double.break_stream(0, Break(1, code))
    said = (
        r"after row 10: the snapshot of the table could be read until 20\d\d-.* UTC: .*"
        r"more workers, with a filter \(--row-filter\), or with smaller pieces .*in several runs\. "
        "BigQuery says: a fault of this test"
    )
    with pytest.raises(BigQueryError, match=said):
        list(read_stream(session.streams[0], session.schema, expires_at=session.expires_at))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "it was refused"),
        (grpc.StatusCode.NOT_FOUND, "it is not there"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_read_that_fails_long_before_its_session_expires_says_what_it_was(double, code, said):
    double.expires_at = int(time.time()) + 3_600
    session = create_session(ORDERS)
    double.break_stream(0, Break(1, code))
    with pytest.raises(BigQueryError, match=f"after row 10: {said}"):
        list(read_stream(session.streams[0], session.schema, expires_at=session.expires_at))


def test_a_service_that_names_no_expiry_has_none(double):
    assert create_session(ORDERS).expires_at is None


def test_whoever_stops_early_ends_the_connection(double):
    (stream,), schema = opened()
    batches = read_stream(stream, schema)
    next(batches)
    batches.close()
    assert ids(read_stream(stream, schema)) == list(range(100))


def test_a_session_is_asked_for_again_after_an_outage(double):
    double.refuse_session(grpc.StatusCode.UNAVAILABLE, "down")
    assert len(create_session(ORDERS).streams) == 1
    assert len(double.sessions) == 2


def test_a_permission_that_is_missing_is_named_with_its_role(double):
    double.refuse_session(grpc.StatusCode.PERMISSION_DENIED, "no")
    said = r"cannot read p-1\.sales\.orders: permission denied\. .*readSessionUser on the project"
    with pytest.raises(BigQueryError, match=said):
        create_session(ORDERS)


def test_a_filter_that_is_wrong_is_refused(double):
    double.refuse_session(grpc.StatusCode.INVALID_ARGUMENT, "Syntax error in filter")
    with pytest.raises(BigQueryError, match=r"it was refused\. BigQuery says: Syntax error in f"):
        create_session(ORDERS, row_filter="amount >")
    assert len(double.sessions) == 1


def test_a_table_that_is_not_there_is_said(double):
    with pytest.raises(BigQueryError, match=r"cannot read p-1\.sales\.none: it is not there"):
        create_session(ORDERS.sibling("none"))
