import dataclasses
import io
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arrow_data import STORABLE, batches
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.reserved import user_columns
from scoreline.transforms.identity import row_ids
from scoreline.transforms.parquet_files import (
    UnreadableFileError,
    inspect_parquet,
)
from scoreline.transforms.splits import Split, plan_splits, read_split


def read_all(paths, columns=None, **options):
    splits = plan_splits([inspect_parquet(path) for path in paths], **options)
    return [batch for split in splits for batch in read_split(split, columns)]


def test_a_footer_is_read(write_table):
    path = write_table("a.parquet", {"x": list(range(10)), "s": ["t"] * 10}, row_group_size=4)
    info = inspect_parquet(path)
    assert info.path == path
    assert info.schema.names == ["x", "s"]
    assert [group.num_rows for group in info.row_groups] == [4, 4, 2]
    assert info.num_rows == 10
    assert all(group.stored_bytes > 0 and group.memory_bytes > 0 for group in info.row_groups)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n" * 100, b"PAR1" * 50])
def test_what_is_no_parquet_file_is_named(tmp_path, content):
    path = tmp_path / "odd name.parquet"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=rf"cannot read {re.escape(str(path))} as Parqu"):
        inspect_parquet(str(path))


def test_a_file_cut_short_is_named(write_table):
    path = Path(write_table("a.parquet", {"x": list(range(1000))}))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFileError, match="cut short"):
        inspect_parquet(str(path))


def test_a_file_that_is_gone_is_named(tmp_path, memory):
    for path in (str(tmp_path / "no.parquet"), "memory://b/no.parquet"):
        with pytest.raises(UnreadableFileError, match=rf"cannot read {re.escape(path)}"):
            inspect_parquet(path)


@pytest.mark.parametrize("name", ["a.parquet", "with space.parquet", "dot.ted.parquet", "q'\".pq"])
def test_rows_come_in_order_with_their_identity(write_table, name):
    path = write_table(name, {"x": list(range(10))}, row_group_size=3)
    found = read_all([path])
    assert [x for batch in found for x in batch.column("x").to_pylist()] == list(range(10))
    ids = [row_id for batch in found for row_id in row_ids(batch).to_pylist()]
    assert ids == [f"{path}#{row}" for row in range(10)]


@given(st.data())
def test_any_table_is_read_as_it_was_written(tmp_path_factory, data):
    batch = data.draw(batches(min_rows=0, kinds=STORABLE))
    path = str(tmp_path_factory.mktemp("any") / "a.parquet")
    group = data.draw(st.integers(1, 9))
    pq.write_table(pa.table(batch), path, row_group_size=group)
    splits = plan_splits([inspect_parquet(path)])
    batch_rows = data.draw(st.integers(1, 5))
    ranges = [dataclasses.replace(r, batch_rows=batch_rows) for s in splits for r in s.ranges]
    found = [user_columns(b).replace_schema_metadata(None) for b in read_split(Split(0, ranges))]
    assert all(0 < b.num_rows <= min(batch_rows, group) for b in found)
    together = pa.Table.from_batches(found, batch.schema).combine_chunks()
    assert repr(together.to_pylist()) == repr(batch.to_pylist())
    if found:
        assert found[0].schema.equals(batch.schema)


def test_views_are_read_as_plain_strings(write_table):
    views = pa.array(["a", None, "a long text that is not stored inline"], pa.string_view())
    path = write_table("a.parquet", {"s": views, "l": pa.array([["v"]] * 3, pa.list_(views.type))})
    assert inspect_parquet(path).schema.types == [pa.string(), pa.list_(pa.string())]
    [batch] = read_all([path])
    assert batch.column("s").type == pa.string()
    assert user_columns(batch).to_pylist() == pq.read_table(path).to_pylist()
    [narrow] = read_all([path], ("l",))
    assert user_columns(narrow).schema.types == [pa.list_(pa.string())]


@pytest.fixture
def dotted(write_table):
    return write_table(
        "a.parquet", {"a": [{"b": 1, "c": 2}], "a.b": [3], "x y": [4], "é": [5], "z": [[6]]}
    )


@pytest.mark.parametrize(
    "columns", [("a.b",), ("a",), ("a.b", "a"), ("é", "x y"), ("z", "a.b"), ()]
)
def test_only_the_columns_that_were_asked_for_are_read(dotted, columns):
    [batch] = read_all([dotted], columns)
    row = {"a": {"b": 1, "c": 2}, "a.b": 3, "x y": 4, "é": 5, "z": [6]}
    assert user_columns(batch).to_pylist() == [{name: row[name] for name in columns}]
    assert user_columns(batch).schema.names == list(columns)
    assert row_ids(batch).to_pylist() == [f"{dotted}#0"]


def test_columns_that_were_not_asked_for_are_not_even_decoded(write_table):
    path = Path(write_table("a.parquet", {"good": list(range(1000)), "bad": list(range(1000))}))
    _spoil(path, column=1)
    assert sum(batch.num_rows for batch in read_all([str(path)], ("good",))) == 1000
    with pytest.raises(UnreadableFileError):
        read_all([str(path)], ("bad",))


def test_a_column_that_is_not_there_is_an_error(dotted):
    with pytest.raises(ValueError, match=r"a\.parquet has the columns .* but \['b'\] not exactly"):
        read_all([dotted], ("b", "a"))


def test_a_column_that_is_there_twice_is_an_error(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"]), path)
    with pytest.raises(ValueError, match=r"\['x'\] not exactly once"):
        read_all([path], ("x",))


def _spoil(path, *, row_group=0, column=0):
    """Writes nonsense over the data pages of one column of one row group."""
    content = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(row_group).column(column)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)


def test_a_corrupt_page_in_the_middle_names_the_file_and_the_row(write_table):
    path = Path(write_table("a.parquet", {"x": list(range(30))}, row_group_size=10))
    _spoil(path, row_group=1)
    rows = []
    expected = rf"cannot read {re.escape(str(path))} from row 10 on \(row groups \[1\]\)"
    [split] = plan_splits([inspect_parquet(str(path))])
    with pytest.raises(UnreadableFileError, match=expected):  # noqa: PT012
        for batch in read_split(split):
            rows += batch.column("x").to_pylist()
    assert rows == list(range(10))


def test_a_file_that_was_replaced_after_it_was_planned_is_noticed(write_table):
    path = write_table("a.parquet", {"x": list(range(30))})
    [split] = plan_splits([inspect_parquet(path)])
    write_table("a.parquet", {"x": list(range(20))})
    with pytest.raises(UnreadableFileError, match="promises 30 rows from row 0 on, but 20 came"):
        list(read_split(split))


def test_random_damage_is_an_error_that_names_the_file_or_goes_unseen(tmp_path):
    generator = np.random.default_rng(0)
    buffer = io.BytesIO()
    table = {
        "i": generator.integers(0, 1000, 2000),
        "s": [str(i % 50) * 3 for i in range(2000)],
        "l": [[i, i + 1] for i in range(2000)],
    }
    pq.write_table(pa.table(table), buffer, row_group_size=500)
    whole = buffer.getvalue()
    path = tmp_path / "a.parquet"
    dice = random.Random(7)
    refused = 0
    for attempt in range(150):
        damaged = bytearray(whole)
        first = len(whole) - 2000 if attempt % 2 else 4
        for _ in range(dice.choice([1, 5, 20])):
            damaged[dice.randrange(first, len(whole))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            read_all([str(path)])
        except UnreadableFileError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
    assert refused > 75


def test_a_remote_file_is_read_and_closed(memory):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": list(range(10))}), buffer, row_group_size=4)
    memory.files["memory://b/a.parquet"] = buffer.getvalue()
    found = read_all(["memory://b/a.parquet"])
    assert [x for batch in found for x in batch.column("x").to_pylist()] == list(range(10))
    assert memory.opened
    assert all(file.closed for file in memory.opened)


def test_a_table_without_columns_has_rows_that_count(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1, 2, 3]}).select([]), path)
    assert inspect_parquet(path).num_rows == sum(batch.num_rows for batch in read_all([path]))
