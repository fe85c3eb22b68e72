import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.transforms import Receipt
from scoreline.transforms.merge_parts import merge_parts


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
