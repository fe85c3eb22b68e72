import re

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from in_process import has_batch_coder, in_process, row_counts

from scoreline.models.reserved import user_columns
from scoreline.transforms import ReadFiles, ReadSplits, Receipt
from scoreline.transforms.identity import row_ids
from scoreline.transforms.parquet_files import inspect_parquet
from scoreline.transforms.read_files import BATCHES, RECEIPTS
from scoreline.transforms.splits import plan_splits


def _rows(batch: pa.RecordBatch) -> list:
    ids = row_ids(batch).to_pylist()
    return [
        (row_id.rsplit("/", 1)[-1], row)
        for row_id, row in zip(ids, map(str, user_columns(batch).to_pylist()), strict=True)
    ]


def _num_rows(batch: pa.RecordBatch) -> int:
    return batch.num_rows


@pytest.fixture
def folder(write_table, tmp_path):
    write_table("in/a.parquet", {"x": [0, 1, 2], "y": list("abc")}, row_group_size=2)
    write_table("in/b.parquet", {"x": [3], "y": ["d"]})
    write_table("in/empty.parquet", {"x": pa.array([], pa.int64()), "y": pa.array([], "string")})
    write_table("in/_h/c.parquet", {"z": [3]})
    return str(tmp_path / "in")


EXPECTED = [
    ("a.parquet#0", "{'x': 0, 'y': 'a'}"),
    ("a.parquet#1", "{'x': 1, 'y': 'b'}"),
    ("a.parquet#2", "{'x': 2, 'y': 'c'}"),
    ("b.parquet#0", "{'x': 3, 'y': 'd'}"),
]


@pytest.mark.parametrize("pattern", ["", "/", "/*.parquet", "/[abe]*", "/**"])
def test_all_files_of_a_folder_or_glob_are_read(folder, pattern):
    with in_process() as pipeline:
        batches = (pipeline | ReadFiles(folder + pattern))[BATCHES]
        assert has_batch_coder(batches)
        assert_that(batches | beam.FlatMap(_rows), equal_to(EXPECTED))
    assert row_counts(pipeline) == {"rows_read": 4}


def test_one_file_and_only_the_columns_asked_for(folder):
    with in_process() as pipeline:
        batches = (pipeline | ReadFiles(f"{folder}/a.parquet", columns=("y",)))[BATCHES]
        rows = [(f"a.parquet#{n}", str({"y": y})) for n, y in enumerate("abc")]
        assert_that(batches | beam.FlatMap(_rows), equal_to(rows))


def _fails(transform, message):
    with pytest.raises(Exception, match=message), in_process() as pipeline:
        _ = pipeline | transform


def test_a_pattern_without_a_file_fails(tmp_path):
    pattern = f"{tmp_path}/*.parquet"
    _fails(ReadFiles(pattern), f"no file matches {re.escape(pattern)}")


def test_files_of_several_schemas_fail(folder, write_table):
    write_table("in/other.parquet", {"x": [0.5], "y": ["a"]})
    message = (
        r"differ in their columns:\n  x: int64 in .*a.parquet, double in .*other.parquet\nScore"
    )
    _fails(ReadFiles(folder), message)


def test_a_column_that_is_not_there_fails(folder):
    _fails(ReadFiles(folder, columns=("nope",)), r"\['nope'\] not exactly once")


def test_splits_give_a_receipt_each(folder):
    infos = [inspect_parquet(f"{folder}/{name}.parquet") for name in "ab"]
    splits = [plan_splits([info])[0] for info in infos]
    splits = [split.__class__(number, split.ranges) for number, split in enumerate(splits)]
    with in_process() as pipeline:
        read = pipeline | ReadSplits(splits)
        assert has_batch_coder(read[BATCHES])
        assert read[RECEIPTS].element_type is Receipt
        assert_that(read[BATCHES] | beam.FlatMap(_rows), equal_to(EXPECTED), "Rows")
        assert_that(read[RECEIPTS], equal_to([Receipt("read", 0, 3), Receipt("read", 1, 1)]), "Rec")


def test_a_split_without_a_row_gives_a_receipt_and_no_batch(folder):
    splits = plan_splits([inspect_parquet(f"{folder}/empty.parquet")])
    with in_process() as pipeline:
        read = pipeline | ReadSplits(splits)
        assert_that(read[BATCHES] | beam.Map(_num_rows), equal_to([]), "Rows")
        assert_that(read[RECEIPTS], equal_to([Receipt("read", 0, 0)]), "Receipts")
