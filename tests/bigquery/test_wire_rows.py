import datetime
import decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.bigquery.wire_rows import WireCast


def wire_rows(batch):
    return WireCast().rows(batch)


def sent(array, name="x"):
    rows, misfits = wire_rows(pa.record_batch({name: array}))
    assert not misfits
    return rows.column(name)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", None]).dictionary_encode(), pa.string()),
        (pa.array(["a", None], pa.string_view()), pa.string()),
        (pa.array(["a", None], pa.large_string()), pa.string()),
        (pa.array([b"a", None], pa.large_binary()), pa.binary()),
        (pa.array([b"ab", None], pa.binary(2)), pa.binary()),
        (pa.array([1, None], pa.uint8()), pa.int64()),
        (pa.array([1, None], pa.int8()), pa.int8()),
        (pa.array([1.5, None], pa.float16()), pa.float32()),
        (pa.array([None, None], pa.null()), pa.string()),
        (pa.array([0, None], pa.date64()), pa.date32()),
        (pa.array([1, None], pa.time32("s")), pa.time64("us")),
        (pa.array([1, None], pa.timestamp("s", "Europe/Berlin")), pa.timestamp("us", "UTC")),
        (pa.array([1_000, None], pa.timestamp("ns")), pa.timestamp("us")),
        (pa.array([decimal.Decimal("1.5"), None]), pa.decimal128(2, 1)),
        (pa.array([decimal.Decimal("1.5")], pa.decimal128(20, 15)), pa.decimal256(20, 15)),
        (pa.array([[1], [2]], pa.large_list(pa.int16())), pa.list_(pa.int16())),
        (pa.array([["a"]], pa.list_(pa.large_string())), pa.list_(pa.string())),
        (pa.array([{"a": 1}, None]), pa.struct({"a": pa.int64()})),
    ],
)
def test_a_column_is_sent_as_the_documented_type_with_the_same_values(array, expected):
    column = sent(array)
    assert str(column.type) == str(expected)
    if not pa.types.is_temporal(expected):
        assert column.to_pylist() == array.to_pylist()


def test_a_dictionary_of_views_is_decoded():
    codes = pa.array([0, None, 1], pa.int8())
    array = pa.DictionaryArray.from_arrays(codes, pa.array(["a", "b"], pa.string_view()))
    assert sent(array).to_pylist() == ["a", None, "b"]


def test_a_column_without_any_value_is_not_sent():
    batch = pa.record_batch({"a": pa.nulls(2), "x": [1, 2], "b": pa.nulls(2)})
    rows, misfits = wire_rows(batch)
    assert (rows.to_pydict(), misfits) == ({"x": [1, 2]}, [])
    assert wire_rows(batch.select(["a"]))[0].num_rows == 2


def test_a_zone_is_only_a_way_to_write_a_time():
    array = pa.array([datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.UTC)])
    berlin = array.cast(pa.timestamp("ns", "Europe/Berlin"))
    assert sent(berlin).to_pylist() == [datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.UTC)]


def test_null_lists_in_the_items_of_lists_are_empty_ones():
    item = pa.struct({"k": pa.int64(), "tags": pa.list_(pa.string())})
    values = [[{"k": 0, "tags": ["z"]}], None, [{"k": 1, "tags": None}, {"k": 2, "tags": ["a"]}]]
    whole = pa.array(values, pa.list_(item))
    expected = [[], [{"k": 1, "tags": []}, {"k": 2, "tags": ["a"]}]]
    assert sent(whole.slice(1)).to_pylist() == expected


def test_null_lists_are_empty_ones():
    assert sent(pa.array([[1], None, []])).to_pylist() == [[1], [], []]
    inside = pa.array([{"a": [1], "b": 1}, {"a": None, "b": 2}, None])
    assert sent(inside).to_pylist() == [{"a": [1], "b": 1}, {"a": [], "b": 2}, None]


def test_a_slice_is_sent_as_it_is():
    array = pa.array([{"a": [1]}, {"a": None}, {"a": [2, 3]}, None]).slice(1, 2)
    assert sent(array).to_pylist() == [{"a": []}, {"a": [2, 3]}]


def test_the_metadata_of_a_schema_stays_here():
    field = pa.field("x", pa.int64(), metadata={"a": "b"})
    batch = pa.RecordBatch.from_arrays([pa.array([1])], schema=pa.schema([field], {"c": "d"}))
    rows, _ = wire_rows(batch)
    assert rows.schema.metadata is None
    assert rows.schema.field("x").metadata is None


def test_rows_that_would_lose_a_value_are_named():
    batch = pa.record_batch(
        {
            "at": pa.array([1_000, 1_001, None, 3_000], pa.timestamp("ns")),
            "day": pa.array([0, 0, 0, 1], pa.date64()),
            "n": [1, 2, 3, 4],
        }
    )
    rows, misfits = wire_rows(batch)
    assert rows.column("n").to_pylist() == [1, 3, 4][: rows.num_rows]
    assert misfits[0].row == 1
    assert misfits[0].message.startswith("column 'at' does not fit BigQuery's timestamp[us]: ")
    assert "1001" in misfits[0].message


def test_all_rows_may_be_named():
    rows, misfits = wire_rows(pa.record_batch({"at": pa.array([1, 2], pa.timestamp("ns"))}))
    assert rows.num_rows == 0
    assert [misfit.row for misfit in misfits] == [0, 1]


@given(st.lists(st.none() | st.integers(-(2**62), 2**62), min_size=1, max_size=30))
def test_every_row_fits_or_is_named(nanos):
    array = pa.array(nanos, pa.timestamp("ns", "UTC"))
    rows, misfits = wire_rows(pa.record_batch({"at": array, "n": range(len(nanos))}))
    named = [misfit.row for misfit in misfits]
    assert sorted([*rows.column("n").to_pylist(), *named]) == list(range(len(nanos)))
    assert named == [row for row, value in enumerate(nanos) if value is not None and value % 1_000]


def test_batches_of_several_schemas_may_come():
    cast = WireCast()
    codes = pa.array(["a"]).dictionary_encode()
    batches = [pa.record_batch({"x": x}) for x in (codes, pa.array([1]), codes, pa.array(["b"]))]
    sent = [cast.rows(batch)[0] for batch in batches]
    types = [str(rows.schema.field("x").type) for rows in sent]
    assert types == ["string", "int64", "string", "string"]
    assert sent[3] is batches[3]  # and nothing is made anew that is as it should be
