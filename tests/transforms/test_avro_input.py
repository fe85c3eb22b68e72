import re

import pyarrow as pa
import pytest

from scoreline.models.reserved import user_columns
from scoreline.transforms import avro_input
from scoreline.transforms.avro_input import inspect_avro_file
from scoreline.transforms.formats.avro_files import AvroWriter
from scoreline.transforms.identity import row_ids
from scoreline.transforms.parquet_files import UnreadableFileError

BATCH = pa.record_batch({"x": list(range(1000)), "s": [None, "a"] * 500})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.avro"
    with path.open("wb") as file:
        writer = AvroWriter(file, BATCH.schema, "null")
        writer.write(BATCH)
        writer.close()
    return str(path)


def ranges(path):
    return [range_ for range_, _ in inspect_avro_file(path).ranges()]


def test_the_header_says_the_columns_and_not_the_rows(path):
    info = inspect_avro_file(path)
    assert info.schema.equals(BATCH.schema)
    assert info.path == path
    assert info.num_rows is None
    assert info.is_sequential
    assert [(range_.num_rows, weight) for range_, weight in info.ranges()] == [
        (None, info.num_bytes)
    ]


@pytest.mark.parametrize("columns", [None, ("s",), ("s", "x"), ()])
def test_rows_come_in_order_with_their_identity(path, monkeypatch, columns):
    monkeypatch.setattr(avro_input, "_BATCH_ROWS", 300)
    [range_] = ranges(path)
    batches = list(range_.read(3, columns))
    assert [batch.num_rows for batch in batches] == [300, 300, 300, 100]
    wanted = BATCH if columns is None else BATCH.select(list(columns))
    rows = [row for batch in batches for row in user_columns(batch).to_pylist()]
    assert rows == wanted.to_pylist()
    ids = [name for batch in batches for name in row_ids(batch).to_pylist()]
    assert ids == [f"{path}#{row}" for row in range(1000)]


def test_a_column_that_is_not_there_is_an_error(path):
    with pytest.raises(ValueError, match=r"has the columns \['x', 's'\], but \['z'\] not exactly"):
        list(ranges(path)[0].read(0, ("x", "z")))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"Obj\x01", b"a,b\n1,2\n"])
def test_what_is_no_avro_file_is_named(tmp_path, content):
    path = tmp_path / "a.avro"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=rf"cannot read {re.escape(str(path))} as Avro: "):
        inspect_avro_file(str(path))


def test_a_missing_file_is_named(tmp_path, memory):
    for path in (str(tmp_path / "no.avro"), "memory://b/no.avro"):
        with pytest.raises(UnreadableFileError, match=f"cannot read {re.escape(path)} as Avro"):
            inspect_avro_file(path)


def test_a_file_cut_short_or_gone_since_then_is_named(path, tmp_path):
    [range_] = ranges(path)
    whole = (tmp_path / "a.avro").read_bytes()
    (tmp_path / "a.avro").write_bytes(whole[:-30])
    with pytest.raises(UnreadableFileError, match=r"cannot read .*a\.avro: .*at or after row 0"):
        list(range_.read(0, None))
    (tmp_path / "a.avro").unlink()
    with pytest.raises(UnreadableFileError, match=r"cannot read .*a\.avro"):
        list(range_.read(0, None))


def test_a_remote_file_is_read_and_closed(path, memory):
    with open(path, "rb") as file:  # noqa: PTH123
        memory.files["memory://b/a.avro"] = file.read()
    [range_] = ranges("memory://b/a.avro")
    assert sum(batch.num_rows for batch in range_.read(0, None)) == 1000
    assert all(file.closed for file in memory.opened)
