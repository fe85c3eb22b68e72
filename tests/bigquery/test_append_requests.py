import pyarrow as pa
import pytest
from google.cloud.bigquery_storage_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.bigquery import append_requests
from scoreline.transforms.bigquery.append_requests import append_request, cut, schema_bytes

STREAM = "projects/p/datasets/d/tables/t/streams/s"


def parsed(data):
    """A request as the client library reads it."""
    return types.AppendRowsRequest.deserialize(data)


def table_of(request, schema):
    return pa.ipc.read_record_batch(request.arrow_rows.rows.serialized_record_batch, schema)


@pytest.mark.parametrize("offset", [None, 0, 1, 127, 128, 300, 2**40])
@pytest.mark.parametrize("has_schema", [True, False])
def test_what_the_library_reads_is_what_was_framed(offset, has_schema):
    batch = pa.record_batch({"x": [1, 2, 3], "name": ["a", "é", None]})
    schema = schema_bytes(batch.schema) if has_schema else b""
    request = parsed(append_request(STREAM, offset, schema, batch.serialize()))
    assert request.write_stream == STREAM
    assert ("offset" in request) == (offset is not None)
    assert offset is None or request.offset == offset
    assert request.arrow_rows.writer_schema.serialized_schema == schema
    assert table_of(request, batch.schema).equals(batch)


@given(
    st.text(min_size=1, max_size=300),
    st.none() | st.integers(0, 2**63 - 1),
    st.binary(max_size=300),
    st.binary(max_size=70_000),
)
def test_any_request_is_what_the_library_would_have_written(stream, offset, schema, rows):
    made = types.AppendRowsRequest.pb()(write_stream=stream)
    if offset is not None:
        made.offset.value = offset
    if schema:
        made.arrow_rows.writer_schema.serialized_schema = schema
    made.arrow_rows.rows.serialized_record_batch = rows
    framed = append_request(stream, offset, schema, pa.py_buffer(rows))
    assert types.AppendRowsRequest.pb().FromString(framed) == made


def test_a_batch_that_fits_is_one_piece():
    batch = pa.record_batch({"x": range(1_000)})
    (piece,) = cut(batch)
    assert (piece.start, piece.stop) == (0, 1_000)
    assert pa.ipc.read_record_batch(piece.rows, batch.schema).equals(batch)


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=60))
def test_pieces_hold_all_rows_in_order_and_keep_to_the_limit(lengths):
    batch = pa.record_batch({"text": ["x" * length for length in lengths]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(append_requests, "MAX_ROWS_BYTES", 4_000)
        pieces = list(cut(batch))
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]
    assert pieces[-1].stop == batch.num_rows
    for piece in pieces:
        assert piece.rows.size <= 4_000 or piece.stop - piece.start == 1
        expected = batch.slice(piece.start, piece.stop - piece.start)
        assert pa.ipc.read_record_batch(piece.rows, batch.schema).equals(expected)


def test_rows_of_one_size_are_serialised_twice_at_most(monkeypatch):
    monkeypatch.setattr(append_requests, "MAX_ROWS_BYTES", 100_000)
    batch = pa.record_batch({"x": range(100_000)})
    pieces = list(cut(batch))
    assert len(pieces) <= 1.15 * batch.serialize().size / 100_000 + 1


def test_a_row_that_no_request_holds_is_alone(monkeypatch):
    monkeypatch.setattr(append_requests, "MAX_ROWS_BYTES", 2_000)
    batch = pa.record_batch({"text": ["a", "b" * 5_000, "c"]})
    large = [(piece.start, piece.stop) for piece in cut(batch) if piece.rows.size > 2_000]
    assert large == [(1, 2)]


def test_a_whole_request_is_below_the_limit_of_the_service():
    name = "x" * 1_024
    stream = f"projects/{name}/datasets/{name}/tables/{name}/streams/{name}"
    schema = pa.schema(
        [(f"column_{number:04d}" + "x" * 40, pa.float64()) for number in range(2_000)]
    )
    described = schema_bytes(schema)
    rows = pa.py_buffer(b"\0" * append_requests.MAX_ROWS_BYTES)
    assert len(append_request(stream, 2**62, described, rows)) < 10_000_000
