import json

import pyarrow as pa
import pytest

from scoreline.models.reserved import CAST_PREFIX, with_metadata
from scoreline.transforms.identity import identify
from scoreline.transforms.output_columns import output_columns


@pytest.fixture
def scored():
    batch = pa.record_batch(
        {"a.b": [1], "c": [{"d": 2}], CAST_PREFIX + "c": [3.0], "prediction": [4]}
    )
    return with_metadata(identify(batch, "f", 9, 0), outputs=json.dumps(["prediction"]))


def test_reserved_columns_and_metadata_are_never_written(scored):
    written = output_columns(scored)
    assert written.to_pylist() == [{"a.b": 1, "c": {"d": 2}, "prediction": 4}]
    assert written.schema.metadata is None


def test_kept_columns_come_in_the_order_asked_for_and_outputs_behind(scored):
    assert output_columns(scored, ("c", "a.b")).schema.names == ["c", "a.b", "prediction"]
    assert output_columns(scored, ()).schema.names == ["prediction"]


def test_an_output_that_is_kept_by_name_comes_once(scored):
    assert output_columns(scored, ("prediction", "c")).schema.names == ["prediction", "c"]


def test_row_id_stands_last(scored):
    written = output_columns(scored, ("c",), row_id=True)
    assert written.to_pylist() == [{"c": {"d": 2}, "prediction": 4, "row_id": "f#9"}]


def test_a_column_to_keep_must_be_there(scored):
    with pytest.raises(ValueError, match=r"cannot keep the columns \['z'\]: the batch has \['a.b'"):
        output_columns(scored, ("c", "z"))


def test_an_input_column_row_id_is_never_doubled():
    batch = pa.record_batch({"row_id": [5], "x": [1]})
    assert output_columns(batch).schema.names == ["row_id", "x"]
    assert output_columns(batch, ("x",), row_id=True).schema.names == ["x", "row_id"]
    with pytest.raises(ValueError, match="already has a column 'row_id'"):
        output_columns(batch, row_id=True)
