import errno
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arrow_data import STORABLE, arrays, same_rows
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms import part_writer
from scoreline.transforms.part_writer import PartWriter

SCHEMA = pa.schema([("x", pa.int64()), ("name", pa.string())])
BATCH = pa.record_batch([pa.array([1, 2]), pa.array(["a", None])], schema=SCHEMA)


@pytest.fixture(autouse=True)
def _no_thread_left():
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == "scoreline-writer"]


class FullDisk:
    """A file that takes some bytes and then no more."""

    closed = False

    def __init__(self, left):
        self.left = left

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)

    def flush(self):
        pass

    def close(self):
        self.closed = True

    def readable(self):
        return False

    def writable(self):
        return True

    def seekable(self):
        return False

    def tell(self):
        return 0


def test_batches_are_written_in_order(tmp_path):
    path = str(tmp_path / "deep" / "a.parquet")
    writer = PartWriter(path, SCHEMA)
    for number in range(10):
        writer.write(pa.record_batch([[number], [str(number)]], schema=SCHEMA))
    writer.close()
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    assert table.column("x").to_pylist() == list(range(10))


def test_without_a_batch_the_schema_is_there(tmp_path):
    PartWriter(str(tmp_path / "a.parquet"), SCHEMA).close()
    table = pq.read_table(tmp_path / "a.parquet")
    assert (table.num_rows, table.schema) == (0, SCHEMA)


def test_a_remote_part(memory):
    writer = PartWriter("memory://b/a.parquet", SCHEMA)
    writer.write(BATCH)
    writer.close()
    assert pq.read_table(pa.BufferReader(memory.files["memory://b/a.parquet"])).num_rows == 2


@given(st.data())
def test_any_type_is_read_as_it_was_written(tmp_path_factory, data):
    batch = pa.record_batch({"a.b": data.draw(arrays(5, STORABLE)), "x": data.draw(arrays(5))})
    path = str(tmp_path_factory.mktemp("any") / "a.parquet")
    writer = PartWriter(path, batch.schema)
    writer.write(batch)
    try:
        writer.close()
    except pa.ArrowException:
        assert "dictionary" in str(batch.schema.field("x").type)  # Parquet has no such type
        return
    written = pq.read_table(path).combine_chunks().to_batches()[0]
    assert same_rows(written.select(["a.b"]), batch.select(["a.b"]))


def test_another_schema_is_cast(tmp_path):
    writer = PartWriter(str(tmp_path / "a.parquet"), SCHEMA)
    writer.write(BATCH)
    writer.write(pa.record_batch({"x": pa.array([3], pa.int8()), "name": pa.nulls(1)}))
    writer.close()
    assert pq.read_table(tmp_path / "a.parquet").to_pylist()[-1] == {"x": 3, "name": None}


@pytest.mark.parametrize(
    "columns",
    [
        {"x": [0.5], "name": ["a"]},
        {"x": pa.array([2**63], pa.uint64()), "name": ["a"]},
        {"x": ["one"], "name": ["a"]},
        {"x": [1]},
        {"name": ["a"], "x": [1]},
        {"x": [[1]], "name": ["a"]},
    ],
)
def test_a_cast_that_would_lose_something_is_refused(tmp_path, columns):
    writer = PartWriter(str(tmp_path / "a.parquet"), SCHEMA)
    with pytest.raises(ValueError, match=r"a\.parquet: all batches of a file need .* cannot be"):
        writer.write(pa.record_batch(columns))
    writer.write(BATCH)
    writer.close()


def test_floats_are_not_narrowed_in_silence(tmp_path):
    writer = PartWriter(str(tmp_path / "a.parquet"), pa.schema([("x", pa.float32())]))
    with pytest.raises(ValueError, match="column 'x' came as double for float"):
        writer.write(pa.record_batch({"x": [0.1]}))
    writer.write(pa.record_batch({"x": pa.array([0.5], pa.float16())}))
    writer.close()


def test_a_null_where_none_may_be_is_refused(tmp_path):
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
    writer = PartWriter(str(tmp_path / "a.parquet"), schema)
    with pytest.raises(ValueError, match="cannot be cast without loss"):
        writer.write(pa.record_batch({"x": pa.array([None], pa.int64())}))
    writer.close()


@pytest.mark.parametrize("left", [0, 3, 10, 100, 1000])
def test_a_full_disk_is_raised_in_the_caller_and_nobody_waits(monkeypatch, left):
    file = FullDisk(left)
    monkeypatch.setattr(part_writer, "create", lambda path: file)
    writer = PartWriter("a.parquet", SCHEMA)
    large = pa.record_batch([list(range(10_000)), [str(i) for i in range(10_000)]], schema=SCHEMA)

    def write_much():
        for _ in range(100):
            writer.write(large)
        writer.close()

    with pytest.raises(OSError, match="No space left on device"):
        write_much()
    with pytest.raises(OSError, match="No space left on device"):
        writer.write(large)
    with pytest.raises(OSError, match="No space left on device"):
        writer.close()
    assert file.closed


def test_a_disk_that_is_full_only_at_the_end_is_noticed(monkeypatch):
    monkeypatch.setattr(part_writer, "create", lambda path: FullDisk(20))
    writer = PartWriter("a.parquet", SCHEMA)
    with pytest.raises(OSError, match="No space left"):
        writer.close()


def test_a_folder_that_cannot_be_made_is_raised_too(tmp_path):
    (tmp_path / "file").touch()
    writer = PartWriter(str(tmp_path / "file" / "a.parquet"), SCHEMA)
    with pytest.raises(FileExistsError):
        writer.close()


def test_a_slow_disk_slows_the_caller_down(tmp_path, monkeypatch):
    started = threading.Event()
    go_on = threading.Event()

    def slow(path):
        started.set()
        go_on.wait(10)
        return (tmp_path / "a.parquet").open("wb")

    monkeypatch.setattr(part_writer, "create", slow)
    writer = PartWriter("a.parquet", SCHEMA)
    for _ in range(2):
        writer.write(BATCH)
    third = threading.Thread(target=writer.write, args=(BATCH,))
    third.start()
    time.sleep(0.25)
    assert third.is_alive()
    go_on.set()
    third.join(10)
    writer.close()
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 6


def test_a_caller_that_waits_learns_of_the_error(monkeypatch):
    go_on = threading.Event()

    def slow(path):
        go_on.wait(10)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(part_writer, "create", slow)
    writer = PartWriter("a.parquet", SCHEMA)
    for _ in range(2):
        writer.write(BATCH)
    threading.Timer(0.2, go_on.set).start()
    with pytest.raises(OSError, match="Input/output error"):
        writer.write(BATCH)


def test_nothing_is_written_after_the_end(tmp_path):
    writer = PartWriter(str(tmp_path / "a.parquet"), SCHEMA)
    writer.close()
    writer.abort()
    with pytest.raises(ValueError, match=r"a\.parquet is closed"):
        writer.write(BATCH)
