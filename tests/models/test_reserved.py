import pyarrow as pa

from scoreline.models.reserved import (
    CAST_PREFIX,
    POSITION,
    SOURCE_KEY,
    metadata_of,
    user_columns,
    with_metadata,
)


def test_a_user_never_sees_what_the_pipeline_carries():
    batch = pa.record_batch({"x": [1], CAST_PREFIX + "x": [1.0], POSITION: [0], "y": [2]})
    assert user_columns(batch).schema.names == ["x", "y"]


def test_metadata_is_added_and_read():
    batch = pa.record_batch({"x": [1]}, metadata={"other": "kept"})
    assert metadata_of(batch, SOURCE_KEY, "none") == "none"
    marked = with_metadata(batch, source="a.parquet", split="é")
    assert metadata_of(marked, SOURCE_KEY) == "a.parquet"
    assert metadata_of(marked, b"scoreline.split") == "é"
    assert metadata_of(marked, b"other") == "kept"
    assert metadata_of(pa.record_batch({"x": [1]}), SOURCE_KEY) == ""
    assert batch.schema.metadata == {b"other": b"kept"}
