import bz2
import gzip
import io

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.transforms.encoders import check_encodable, open_encoder

SCHEMA = pa.schema([("x", pa.int64()), ("s", pa.string()), ("f", pa.float64())])
BATCHES = [
    pa.record_batch([[1, None], ["a", ""], [0.5, None]], schema=SCHEMA),
    pa.record_batch([[2], [None], [1.5]], schema=SCHEMA),
]
JSON = b'{"x":1,"s":"a","f":0.5}\n{"x":null,"s":"","f":null}\n{"x":2,"s":null,"f":1.5}\n'
CSV = b'"x","s","f"\n1,"a",0.5\n,"",\n2,,1.5\n'


def encode(path, batches=BATCHES, schema=SCHEMA):
    file = io.BytesIO()
    encoder = open_encoder(path, file, schema)
    for batch in batches:
        encoder.write(batch)
    encoder.close()
    assert not file.closed
    return file.getvalue()


def inflate(path, data):
    if path.endswith(".zst"):
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return {"gz": gzip.decompress, "z2": bz2.decompress}.get(path[-2:], bytes)(data)


@pytest.mark.parametrize("compression", ["", ".gz", ".zst", ".bz2"])
@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        (".jsonl", JSON),
        (".ndjson", JSON),
        (".json", JSON),
        (".csv", CSV),
        (".tsv", CSV.replace(b",", b"\t")),
        (".tsv.old.csv", CSV),
    ],
)
def test_text_by_extension_and_compressed(extension, expected, compression):
    path = f"gs://b/part-00000{extension}{compression}"
    assert inflate(path, encode(path)) == expected


@pytest.mark.parametrize("path", ["a.parquet", "a.pq", "noname"])
def test_parquet(path):
    table = pq.read_table(pa.BufferReader(encode(path)))
    assert table.schema.equals(SCHEMA)
    assert table.to_pylist() == pa.Table.from_batches(BATCHES).to_pylist()


def test_avro():
    rows = list(fastavro.reader(io.BytesIO(encode("a.avro"))))
    assert rows == pa.Table.from_batches(BATCHES).to_pylist()


def test_a_file_without_rows_has_the_names_where_the_format_has_a_place_for_them():
    assert encode("a.csv", []) == b'"x","s","f"\n'
    assert gzip.decompress(encode("a.csv.gz", [])) == b'"x","s","f"\n'
    assert encode("a.jsonl", []) == b""
    assert pq.read_schema(pa.BufferReader(encode("a.parquet", []))).equals(SCHEMA)
    assert list(fastavro.reader(io.BytesIO(encode("a.avro", [])))) == []


@pytest.mark.parametrize(
    ("path", "schema", "message"),
    [
        (
            "a.avro",
            pa.schema({"my score": pa.int8()}),
            "Avro does not allow the column name 'my",
        ),
        ("a.avro", pa.schema({"u": pa.uint64()}), "column 'u': Avro has no type for uint64"),
        (
            "a.csv",
            pa.schema({"i": pa.month_day_nano_interval()}),
            "column 'i': a column of type",
        ),
    ],
)
def test_columns_that_a_format_cannot_hold_are_refused_at_once(path, schema, message):
    with pytest.raises((ValueError, TypeError), match=message):
        open_encoder(path, io.BytesIO(), schema)


@pytest.mark.parametrize("path", ["a.parquet", "part.jsonl", "part.csv.gz", "a.avro"])
def test_a_column_that_no_file_holds_is_named_before_there_is_a_row(path):
    interval = pa.field("took", pa.month_day_nano_interval())
    with pytest.raises(TypeError, match=r"^column 'took': .*month_day_nano_interval.*[Cc]ast"):
        check_encodable(path, SCHEMA.append(interval))


@pytest.mark.parametrize("path", ["a.parquet", "part.jsonl", "part.csv.gz", "a.avro"])
@pytest.mark.parametrize(
    "type_",
    [
        *(pa.null(), pa.bool_(), pa.uint32(), pa.float16(), pa.string_view(), pa.large_binary()),
        *(pa.decimal128(38, 9), pa.decimal256(76, 38), pa.date32(), pa.time64("us")),
        *(pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.list_(pa.float32(), 3)),
        *(pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.struct({"x": pa.float32()}))),
        pa.struct([pa.field("x", pa.float32(), nullable=False)]),
    ],
)
def test_what_a_file_holds_is_let_through(path, type_):
    schema = pa.schema([pa.field("x", type_, nullable=pa.types.is_null(type_))])
    check_encodable(path, schema)
    encode(path, [], schema)
