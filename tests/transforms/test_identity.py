import pyarrow as pa
from arrow_data import batches
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.reserved import SPLIT_KEY, metadata_of, user_columns
from scoreline.transforms.identity import (
    event_times,
    identify,
    identify_messages,
    identify_records,
    positions,
    row_ids,
    source_of,
)


@given(batches(), st.integers(0, 2**40), st.text(), st.integers(0, 99_999))
def test_identity_is_added_and_nothing_else_changes(batch, first, source, split):
    identified = identify(batch, source, first, split)
    assert user_columns(identified).equals(batch.replace_schema_metadata(None)) or str(
        user_columns(identified).to_pylist()
    ) == str(batch.to_pylist())
    assert source_of(identified) == source
    assert metadata_of(identified, SPLIT_KEY) == str(split)
    numbers = range(first, first + batch.num_rows)
    assert positions(identified).to_pylist() == [str(number) for number in numbers]
    assert row_ids(identified).to_pylist() == [f"{source}#{number}" for number in numbers]


def test_a_batch_without_identity_has_none():
    batch = pa.record_batch({"x": [1, 2]})
    assert row_ids(batch).to_pylist() == [None, None]
    assert positions(batch).type == pa.string()
    assert positions(batch).to_pylist() == [None, None]
    assert source_of(batch) == ""


def test_rows_keep_their_identity_when_they_are_parted():
    batch = identify(pa.record_batch({"x": list("abcd")}), "f.parquet", 10, 0)
    assert row_ids(batch.take(pa.array([3, 1]))).to_pylist() == ["f.parquet#13", "f.parquet#11"]
    assert row_ids(batch.slice(2, 1)).to_pylist() == ["f.parquet#12"]


def test_what_a_file_says_of_itself_cannot_be_taken_for_ours():
    batch = pa.record_batch({"x": [1]}).replace_schema_metadata({"scoreline.rejected": "predict"})
    assert set(identify(batch, "f", 0, 0).schema.metadata) == {b"scoreline.source", SPLIT_KEY}


def test_text_records_are_numbered_within_their_block():
    batch = identify_records(pa.record_batch({"x": [7, 8]}), pa.array([0, 5]), "a.csv", 4096, 2)
    assert positions(batch).to_pylist() == ["4096+0", "4096+5"]
    assert row_ids(batch.slice(1)).to_pylist() == ["a.csv#4096+5"]
    assert metadata_of(batch, SPLIT_KEY) == "2"
    assert user_columns(batch).schema.names == ["x"]


def test_messages_have_their_ids_and_times():
    ids, times = pa.array(["17", "4"]), pa.array([0, 5], pa.timestamp("us", "UTC"))
    batch = pa.record_batch({"x": [1, 2]}).replace_schema_metadata({"scoreline.offset": "9"})
    identified = identify_messages(batch, ids, times, "projects/p/subscriptions/s")
    assert user_columns(identified).to_pylist() == batch.to_pylist()
    assert positions(identified).to_pylist() == ["17", "4"]
    assert row_ids(identified).to_pylist() == [
        "projects/p/subscriptions/s#17",
        "projects/p/subscriptions/s#4",
    ]
    assert event_times(identified).equals(times)
    assert row_ids(identified.slice(1)).to_pylist() == ["projects/p/subscriptions/s#4"]


def test_rows_of_files_have_no_event_time():
    batch = identify(pa.record_batch({"x": [1, 2]}), "f.parquet", 0, 0)
    assert event_times(batch).equals(pa.nulls(2, pa.timestamp("us", "UTC")))
