import gzip

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.transforms import Receipt
from scoreline.transforms.formats.compressed_text import open_compressed
from scoreline.transforms.merge_parts import merge_parts
from scoreline.transforms.part_writer import PartWriter


def part(write_table, split, values, codes=()):
    column = pa.array(values).dictionary_encode()
    path = write_table(f"p{split}{codes}.parquet", {"v": column, "n": [[split]] * len(values)})
    return Receipt("predicted", split, len(values), path, codes)


def test_parts_become_one_in_order_of_their_splits(write_table, tmp_path):
    parts = [part(write_table, 2, ["e"]), part(write_table, 0, ["a", "b"])]
    codes = (("conform/x", 1, "ex"),)
    parts.append(part(write_table, 1, ["c"], codes))
    path = str(tmp_path / "merged.parquet")
    assert merge_parts(parts, path) == Receipt("predicted", 0, 4, path, codes)
    merged = pq.read_table(path)
    assert merged.column("v").to_pylist() == ["a", "b", "c", "e"]
    assert merged.schema == pq.read_schema(parts[0].path)
    assert len(list(tmp_path.iterdir())) == 4  # the parts stay: it may have to be repeated


def test_a_part_that_is_gone_ends_it(write_table, tmp_path):
    parts = [part(write_table, 0, ["a"]), Receipt("predicted", 1, 1, str(tmp_path / "gone"))]
    with pytest.raises(FileNotFoundError):
        merge_parts(parts, str(tmp_path / "m.parquet"))
    with pytest.raises(FileNotFoundError):
        merge_parts(parts[1:], str(tmp_path / "m.parquet"))


def test_parts_that_do_not_fit_are_refused(write_table, tmp_path):
    other = Receipt("predicted", 1, 1, write_table("o.parquet", {"other": [1]}))
    with pytest.raises(ValueError, match="cannot be cast"):
        merge_parts([part(write_table, 0, ["a"]), other], str(tmp_path / "m.parquet"))


SCHEMA = pa.schema([("na\nme", pa.string()), ("n", pa.int64())])


def written(path, split, *names):
    writer = PartWriter(str(path), SCHEMA)
    for name in names:
        writer.write(pa.record_batch([[name], [split]], schema=SCHEMA))
    writer.close()
    return Receipt("predicted", split, len(names), str(path))


@pytest.mark.parametrize("compression", ["", ".gz", ".zst", ".bz2"])
@pytest.mark.parametrize("extension", [".csv", ".tsv", ".jsonl"])
def test_text_is_joined_with_one_line_of_names(tmp_path, extension, compression):
    end = extension + compression
    parts = [
        written(tmp_path / f"b{end}", 1, "x", "y\nz" * 100),
        written(tmp_path / f"a{end}", 0),
        written(tmp_path / f"c{end}", 2, "", None),
    ]
    merged = merge_parts(parts, str(tmp_path / f"m{end}"))
    assert (merged.rows, merged.split) == (4, 0)
    with (tmp_path / f"m{end}").open("rb") as file:
        text = open_compressed(file, f"m{end}").read().decode()
    single = PartWriter(str(tmp_path / f"single{extension}"), SCHEMA)
    for name, n in (("x", 1), ("y\nz" * 100, 1), ("", 2), (None, 2)):
        single.write(pa.record_batch([[name], pa.array([n], pa.int64())], schema=SCHEMA))
    single.close()
    assert text == (tmp_path / f"single{extension}").read_text()


def test_avro_parts_are_joined(tmp_path):
    schema = pa.schema([("s", pa.string()), ("n", pa.list_(pa.int64()))])
    parts = []
    for split in (1, 0):
        path = str(tmp_path / f"{split}.avro")
        writer = PartWriter(path, schema)
        writer.write(pa.record_batch([["a", None], [[split], None]], schema=schema))
        writer.close()
        parts.append(Receipt("predicted", split, 2, path))
    merge_parts(parts, str(tmp_path / "m.avro"))
    with (tmp_path / "m.avro").open("rb") as file:
        assert list(fastavro.reader(file)) == [
            {"s": "a", "n": [0]},
            {"s": None, "n": None},
            {"s": "a", "n": [1]},
            {"s": None, "n": None},
        ]


def test_text_parts_on_a_remote_store(memory, tmp_path):
    parts = []
    for split in (0, 1):
        writer = PartWriter(f"memory://b/{split}.csv.gz", SCHEMA)
        writer.write(pa.record_batch([["a"], [split]], schema=SCHEMA))
        writer.close()
        parts.append(Receipt("predicted", split, 1, f"memory://b/{split}.csv.gz"))
    merge_parts(parts, "memory://b/m.csv.gz")
    assert gzip.decompress(memory.files["memory://b/m.csv.gz"]) == (b'"na\nme","n"\n"a",0\n"a",1\n')
    assert all(file.closed for file in memory.opened)
