import datetime
import decimal
import io

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.transforms.formats.avro_files import (
    AvroWriter,
    CorruptAvroError,
    inspect_avro,
    read_avro_batches,
)
from scoreline.transforms.formats.avro_schema import to_arrow_schema

UTC = datetime.UTC


def written(batch: pa.RecordBatch, codec: str = "deflate") -> bytes:
    file = io.BytesIO()
    writer = AvroWriter(file, batch.schema, codec)
    writer.write(batch)
    writer.close()
    return file.getvalue()


def read(data: bytes, batch_rows: int = 1000) -> pa.Table:
    return pa.Table.from_batches(read_avro_batches(io.BytesIO(data), batch_rows))


def fields(*kinds: object) -> dict:
    return {
        "type": "record",
        "name": "R",
        "fields": [{"name": f"c{i}", "type": k} for i, k in enumerate(kinds)],
    }


def by_fastavro(schema: dict, rows: list, **options: object) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, schema, rows, **options)
    return file.getvalue()


cell = st.tuples(
    st.none() | st.floats(),
    st.floats(width=32),
    st.none() | st.booleans(),
    st.none() | st.floats(),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(),
)
KINDS = [
    ["null", "double"],
    "float",
    ["boolean", "null"],
    ["null", "double"],
    ["null", "string"],
    ["null", "long"],
    ["double", "null"],
]


@settings(deadline=None, max_examples=150)
@given(st.lists(cell, min_size=1, max_size=60), st.integers(1, 200), st.integers(1, 70))
def test_reads_what_fastavro_reads(cells: list, sync_interval: int, batch_rows: int) -> None:
    rows = [{f"c{i}": value for i, value in enumerate(row)} for row in cells]
    data = by_fastavro(fields(*KINDS), rows, sync_interval=sync_interval)
    batches = list(read_avro_batches(io.BytesIO(data), batch_rows))
    assert all(batch.num_rows == batch_rows for batch in batches[:-1])
    table = pa.Table.from_batches(batches)
    table.validate(full=True)
    bare = list(fastavro.reader(io.BytesIO(data)))
    assert repr(table.to_pylist()) == repr(bare)


def test_nulls_that_come_late_leave_the_runs() -> None:
    rows = [{f"c{i}": float(n + i) for i in range(6)} for n in range(12_000)]
    rows[5_000]["c2"] = rows[9_000]["c4"] = None
    data = by_fastavro(fields(*[["null", "double"]] * 6), rows)
    assert read(data, 5000).to_pylist() == rows


def test_every_type_of_ours_reads_back_equal() -> None:
    stamp = datetime.datetime(2020, 1, 2, 3, 4, 5, 678901)
    columns = {
        "f32": pa.array([0.1, None], pa.float32()),
        "i32": pa.array([-1, None], pa.int32()),
        "i64": pa.array([2**63 - 1, -(2**63)], pa.int64()),
        "b": pa.array([True, None]),
        "text": pa.array(["é", ""]),
        "bytes": pa.array([b"\x00", None]),
        "fixed": pa.array([b"ab", None], pa.binary(2)),
        "d": pa.array([datetime.date(1900, 1, 1), None]),
        "ts": pa.array([stamp, None], pa.timestamp("us")),
        "tz": pa.array([stamp.replace(tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        "ms": pa.array([0, None], pa.timestamp("ms", "UTC")),
        "t": pa.array([datetime.time(1, 2, 3, 4), None], pa.time64("us")),
        "dec": pa.array([decimal.Decimal("-1.10"), None], pa.decimal128(20, 2)),
        "list": pa.array([[1, None], None], pa.list_(pa.int64())),
        "times": pa.array([[stamp], []], pa.list_(pa.timestamp("us"))),
        "struct": pa.array([{"a": 1, "b": [{"c": "x"}]}, None]),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "null": pa.array([None, None]),
    }
    batch = pa.record_batch(columns)
    for codec in ("null", "deflate", "bzip2", "xz"):
        assert read(written(batch, codec)).to_batches()[0].equals(batch)
    first = next(fastavro.reader(io.BytesIO(written(batch))))
    assert first["tz"] == stamp.replace(tzinfo=UTC)
    assert first["dec"] == decimal.Decimal("-1.10")
    assert first["d"] == datetime.date(1900, 1, 1)


def test_types_that_avro_lacks_are_stored_in_the_next_wider_one() -> None:
    batch = pa.record_batch(
        {
            "i8": pa.array([1], pa.uint8()),
            "u32": pa.array([2**32 - 1], pa.uint32()),
            "dic": pa.array(["a"]).dictionary_encode(),
            "large": pa.array(["a"], pa.large_string()),
            "s": pa.array([5], pa.timestamp("s", "Europe/Paris")),
            "half": pa.array([0.5], pa.float16()),
        }
    )
    table = read(written(batch))
    assert [str(kind) for kind in table.schema.types] == [
        "int32",
        "int64",
        "string",
        "string",
        "timestamp[ms, tz=UTC]",
        "float",
    ]
    assert table["u32"].to_pylist() == [2**32 - 1]
    assert table["dic"].to_pylist() == ["a"]


def test_other_types_of_avro() -> None:
    schema = fields(
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        {"type": "string", "logicalType": "uuid"},
        ["null", "E"],
        {"type": "int", "logicalType": "time-millis"},
        {
            "type": "fixed",
            "name": "F",
            "size": 4,
            "logicalType": "decimal",
            "precision": 6,
            "scale": 2,
        },
        {"type": "map", "values": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
    )
    rows = [
        {"c0": "B", "c1": "x", "c2": "A", "c3": 1, "c4": decimal.Decimal("1.50"), "c5": {"k": 1}}
    ]
    row = read(by_fastavro(schema, rows)).to_pylist()[0]
    assert (row["c0"], row["c1"], row["c2"], row["c4"]) == ("B", "x", "A", decimal.Decimal("1.50"))
    assert row["c5"] == [("k", datetime.datetime(1970, 1, 1, 0, 0, 0, 1000, UTC))]


def test_unions_and_recursion_are_refused() -> None:
    with pytest.raises(
        TypeError, match="field 'c0' is a union of string, long: a column holds one"
    ):
        to_arrow_schema(fields(["null", "string", "long"]))
    with pytest.raises(TypeError, match="'c0' has the type 'R', which contains itself"):
        to_arrow_schema(fields(["null", "R"]))
    with pytest.raises(TypeError, match="'c0' has the unknown type 'strong'"):
        to_arrow_schema(fields("strong"))
    with pytest.raises(TypeError, match="must hold records, not long"):
        to_arrow_schema("long")


def test_every_cut_is_told_or_reads_whole_blocks() -> None:
    rows = [{"c0": float(i), "c1": "x" * (i % 9)} for i in range(200)]
    data = by_fastavro(fields(["null", "double"], "string"), rows, sync_interval=300, codec="null")
    ends = {fastavro_block.offset for fastavro_block in fastavro.block_reader(io.BytesIO(data))}
    for cut in range(len(data)):
        if cut in ends:
            continue
        with pytest.raises(CorruptAvroError):
            list(read_avro_batches(io.BytesIO(data[:cut]), 50))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damage_is_an_avro_error_or_other_values(data: st.DataObject) -> None:
    rows = [{"c0": float(i), "c1": "abc"} for i in range(50)]
    good = by_fastavro(fields(["null", "double"], "string"), rows, sync_interval=300)
    header = len(by_fastavro(fields(["null", "double"], "string"), []))
    bad = bytearray(good)
    bad[data.draw(st.integers(header, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        table = read(bytes(bad))
    except CorruptAvroError:
        return
    table.validate(full=True)


def test_damage_names_block_and_row() -> None:
    rows = [{"c0": i} for i in range(100)]
    data = by_fastavro(fields("long"), rows, sync_interval=20, codec="null")
    blocks = list(fastavro.block_reader(io.BytesIO(data)))
    at = blocks[2].offset
    row = blocks[0].num_records + blocks[1].num_records
    with pytest.raises(CorruptAvroError, match=f"block 2, at or after row {row}: "):
        list(read_avro_batches(io.BytesIO(data[: at + 5]), 10))
    with pytest.raises(CorruptAvroError, match="no Avro file: it starts with b'PAR1'"):
        inspect_avro(io.BytesIO(b"PAR1...."))


def _block_file(codec: str, stored: bytes, count: int) -> bytes:
    data = by_fastavro(fields("long"), [])
    head = data.replace(
        b"avro.codec\x08null", b"avro.codec" + bytes([len(codec) * 2]) + codec.encode()
    )
    return head + bytes([count * 2, len(stored) * 2]) + stored + head[-16:]


def test_snappy_and_zstandard_need_no_other_package() -> None:
    import zlib

    plain = bytes(range(0, 20, 2))
    snappy = pa.compress(plain, "snappy", asbytes=True)
    data = _block_file("snappy", snappy + zlib.crc32(plain).to_bytes(4, "big"), 10)
    assert read(data)["c0"].to_pylist() == list(range(10))
    data = _block_file("zstandard", pa.compress(plain, "zstd", asbytes=True), 10)
    assert read(data)["c0"].to_pylist() == list(range(10))
    with pytest.raises(CorruptAvroError, match="checksum"):
        read(_block_file("snappy", snappy + b"oops", 10))
    with pytest.raises(ImportError, match="codec 'lz4' cannot be read here"):
        read(_block_file("lz4", b"", 0))


def test_writer_refuses() -> None:
    with pytest.raises(ValueError, match=r"does not allow the column name 'a\.b'"):
        AvroWriter(io.BytesIO(), pa.schema([("a.b", pa.int64())]))
    with pytest.raises(TypeError, match="column 'u': Avro has no type for uint64"):
        AvroWriter(io.BytesIO(), pa.schema([("u", pa.uint64())]))
    writer = AvroWriter(io.BytesIO(), pa.schema([pa.field("a", pa.int64(), nullable=False)]))
    with pytest.raises(ValueError, match=r"has the columns \['a'\], the batch has \['b'\]"):
        writer.write(pa.record_batch({"b": [1]}))
    with pytest.raises(ValueError, match="column 'a' holds a null"):
        writer.write(pa.record_batch({"a": [1, None]}))


def test_nested_records_whose_names_look_alike() -> None:
    batch = pa.record_batch(
        {
            "p_q": pa.array([{"c": 1}]),
            "p": pa.array([{"q": {"c": "x"}}]),
            "Row": pa.array([{"Row": {"p_q": 0.5}}]),
        }
    )
    data = written(batch)
    assert read(data).to_pylist() == batch.to_pylist()
    assert list(fastavro.reader(io.BytesIO(data))) == batch.to_pylist()


def test_no_rows() -> None:
    empty = pa.record_batch({"x": pa.array([], pa.float64())})
    assert list(read_avro_batches(io.BytesIO(written(empty)), 10)) == []
    assert inspect_avro(io.BytesIO(written(empty))).schema == empty.schema
