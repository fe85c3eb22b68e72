import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.transforms.avro_input import AvroInfo
from scoreline.transforms.file_formats import (
    EXTENSIONS,
    PART_EXTENSIONS,
    delimiter_of,
    format_of,
    inspector,
)
from scoreline.transforms.formats.avro_files import AvroWriter
from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.parquet_files import ParquetInfo
from scoreline.transforms.text_files import TextInfo


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.parquet", "parquet"),
        ("a.PQ", "parquet"),
        ("gs://b/c.d/a.jsonl", "json"),
        ("a.ndjson.GZ", "json"),
        ("a.json.zst", "json"),
        ("a.b.csv.bz2", "csv"),
        ("a.tsv", "csv"),
        ("a.avro", "avro"),
        ("csv", None),
        (".csv", None),
        ("a.gz", None),
        ("a.csv.old", None),
        ("out.csv/part", None),
        ("a.csv/", "csv"),
        ("", None),
    ],
)
def test_the_extension_names_the_format(path, expected):
    assert format_of(path) == expected


def test_parts_of_each_format_have_an_extension_of_it():
    assert {format_: EXTENSIONS[end] for format_, end in PART_EXTENSIONS.items()} == {
        format_: format_ for format_ in PART_EXTENSIONS
    }


def test_what_stands_between_fields():
    assert delimiter_of("my.tsv.backup/a.csv") == delimiter_of("a.tsv.old.csv.gz") == ","
    assert delimiter_of("a.TSV") == delimiter_of("a.tsv.zst") == "\t"


def test_each_format_has_its_inspector(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with (tmp_path / "a.avro").open("wb") as file:
        writer = AvroWriter(file, pa.schema({"x": pa.int64()}))
        writer.close()
    (tmp_path / "a.jsonl").write_text('{"x":1}')
    (tmp_path / "a.csv").write_text("x;y\n1;2\n")
    kinds = {"parquet": ParquetInfo, "avro": AvroInfo, "json": TextInfo, "csv": TextInfo}
    for format_, kind in kinds.items():
        path = str(tmp_path / f"a{PART_EXTENSIONS[format_]}")
        info = inspector(format_, CsvDialect(delimiter=";"))(path)
        assert isinstance(info, kind)
        assert info.path == path
        assert info.schema.names == (["x", "y"] if format_ == "csv" else ["x"])


def test_the_format_goes_before_the_extension(tmp_path):
    (tmp_path / "rows.txt").write_text("x,y\n1,2\n")
    info = inspector("csv", CsvDialect())(str(tmp_path / "rows.txt"))
    assert info.schema.names == ["x", "y"]


def test_tabs_stand_in_a_tsv_file_unless_another_delimiter_is_given(tmp_path):
    (tmp_path / "a.tsv").write_text("x\ty|z\n1\t2|3\n")
    assert inspector("csv", CsvDialect())(str(tmp_path / "a.tsv")).schema.names == ["x", "y|z"]
    piped = inspector("csv", CsvDialect(delimiter="|"))(str(tmp_path / "a.tsv"))
    assert piped.schema.names == ["x\ty", "z"]
