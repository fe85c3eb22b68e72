"""What is written in a format is read back equal, where the format can hold it."""

import datetime as dt
import math
from decimal import Decimal

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import in_process

from scoreline.models.reserved import user_columns
from scoreline.transforms import ReadFiles, WriteFiles
from scoreline.transforms.file_formats import PART_EXTENSIONS, format_of, inspector
from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.identity import identify
from scoreline.transforms.schemas import with_one_schema
from scoreline.transforms.splits import plan_splits, read_split
from scoreline.transforms.write_parts import _WritePartsFn

# What we write: a null is an empty field, text stands in quotes.
OURS = CsvDialect(null_values=("",), newlines_in_values=True)
FORMATS = ["parquet", "json", "csv", "avro"]
TEXTS = {"json", "csv"}

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
int64 = st.integers(-(2**63), 2**63 - 1)
micros = st.integers(-(2**50), 2**50)
finite = st.floats(allow_nan=False, allow_infinity=False)

# type, values, the formats whose files say the type or from whose text it is told
EVERYWHERE = [
    (pa.int64(), int64),
    (pa.float64(), finite),
    (pa.string(), text),
    (pa.bool_(), st.booleans()),
]
NESTED = [
    (pa.list_(pa.int64()), st.lists(int64, max_size=3)),
    (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        st.fixed_dictionaries({"a": int64, "b": text}),
    ),
]
TYPED = [  # as text these are read back if their type is given
    (pa.int8(), st.integers(-128, 127)),
    (pa.float32(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    (pa.timestamp("us"), micros),
    (pa.timestamp("us", "UTC"), micros),
    (pa.date32(), st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1))),
    (pa.time64("us"), st.times()),
    (pa.decimal128(20, 3), st.decimals(-1000, 1000, places=3)),
    (pa.binary(), st.binary(max_size=5)),
]


@st.composite
def tables(draw, kinds):
    """A first row without nulls, so that each column's type can be told."""
    rows = draw(st.integers(0, 6))
    columns = {}
    for index in range(draw(st.integers(1, 4))):
        type_, values = draw(st.sampled_from(kinds))
        more = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[f"c{index}"] = pa.array([draw(values), *more], type_)
    return pa.record_batch(columns)


def write(batch, folder, extension):
    """Writes a batch as a job does; gives the part's path."""
    fn = _WritePartsFn(str(folder), "predicted", None, False, extension, 0)
    fn.start_bundle()
    for start in range(0, batch.num_rows, 3):
        fn.process(identify(batch.slice(start, 3), "f", start, 0))
    [found] = fn.finish_bundle()
    assert found.value.rows == batch.num_rows
    return found.value.path


def read(path, types=None):
    infos = with_one_schema([inspector(format_of(path), OURS)(path)])
    infos = [info.typed(types) if types else info for info in infos]
    batches = [b for split in plan_splits(infos) for b in read_split(split)]
    assert all("error_code" not in batch.schema.names for batch in batches)
    table = pa.Table.from_batches([user_columns(b).replace_schema_metadata(None) for b in batches])
    return table.combine_chunks().to_batches()[0]


EXTENSIONS = [".parquet", ".jsonl", ".csv", ".avro", ".jsonl.gz", ".csv.zst", ".tsv", ".csv.bz2"]


@pytest.mark.parametrize("extension", EXTENSIONS)
@settings(deadline=None, max_examples=40)
@given(batch=tables(EVERYWHERE))
def test_plain_tables_are_read_as_they_were_written(tmp_path_factory, extension, batch):
    if extension[1:4] in ("csv", "tsv"):
        batch = _as_csv_tells(batch)
    path = write(batch, tmp_path_factory.mktemp("plain"), extension)
    found = read(path)
    assert found.schema.equals(batch.schema)
    assert found.equals(batch)


def _as_csv_tells(batch):
    """CSV has no types: what looks like another type of column is read as one."""
    arrays = []
    for column in batch.columns:
        if pa.types.is_string(column.type):  # no text of digits, or "true", in every row
            column = pa.array(["text", *column.to_pylist()[1:]])
        if pa.types.is_floating(column.type):
            column = pa.array([0.5, *column.to_pylist()[1:]])
        arrays.append(column)
    if len(arrays) == 1 and pa.types.is_string(arrays[0].type):  # a null is the empty text there
        arrays = [arrays[0].fill_null("")]
    return pa.record_batch(arrays, batch.schema.names)


@pytest.mark.parametrize("extension", [".parquet", ".jsonl", ".avro"])
@settings(deadline=None, max_examples=40)
@given(batch=tables(EVERYWHERE + NESTED))
def test_nested_columns_stay_nested(tmp_path_factory, extension, batch):
    path = write(batch, tmp_path_factory.mktemp("nested"), extension)
    types = {field.name: field.type for field in batch.schema}  # an empty list says no type
    assert read(path, types if extension == ".jsonl" else None).equals(batch)


@pytest.mark.parametrize("extension", [".jsonl", ".csv"])
@settings(deadline=None, max_examples=60)
@given(batch=tables(EVERYWHERE + TYPED))
def test_text_of_a_known_type_is_read_as_it_was_written(tmp_path_factory, extension, batch):
    path = write(batch, tmp_path_factory.mktemp("typed"), extension)
    found = read(path, {field.name: field.type for field in batch.schema})
    if extension == ".csv" and batch.num_columns == 1:
        nulls = found.column(0).is_null().to_pylist()
        assert nulls.count(False) == batch.num_rows if _is_text(batch) else found.equals(batch)
    else:
        assert found.equals(batch)


def _is_text(batch):
    return pa.types.is_string(batch.schema.field(0).type) or pa.types.is_binary(
        batch.schema.field(0).type
    )


LOSSES = [  # column, as JSON gives it, as CSV gives it
    ([math.nan, math.inf, 1.5], [None, None, 1.5], [math.nan, math.inf, 1.5]),
    ([Decimal("1.10"), None], ["1.10", None], [1.1, None]),
    ([[1, 2], []], [[1, 2], []], ["[1,2]", "[]"]),
    ([{"a": 1}, None], [{"a": 1}, None], ['{"a":1}', None]),
    ([b"\xff", b""], ["/w==", ""], ["/w==", ""]),
    ([dt.datetime(2024, 5, 1), None], ["2024-05-01T00:00:00.000000", None], None),
    ([dt.date(2024, 5, 1), None], ["2024-05-01", None], ["2024-05-01", None]),
    (["", None, "NA"], ["", None, "NA"], ["", None, "NA"]),
    (["1", "2"], ["1", "2"], [1, 2]),
    ([None, None], [None, None], [None, None]),
]


@pytest.mark.parametrize(("column", "as_json", "as_csv"), LOSSES)
def test_what_text_cannot_hold_comes_back_by_a_rule(tmp_path, column, as_json, as_csv):
    batch = pa.record_batch({"n": list(range(len(column))), "x": column})
    found = read(write(batch, tmp_path, ".jsonl")).column("x").to_pylist()
    assert str(found) == str(as_json)
    if as_csv is not None:
        found = read(write(batch, tmp_path, ".csv")).column("x").to_pylist()
        assert str(found) == str(as_csv)


def _rows(batch: pa.RecordBatch) -> list:
    return list(map(str, user_columns(batch).to_pylist()))


def _splits():
    for split in (1, 0):
        yield identify(
            pa.record_batch({"x": [split + 0.5, None], "s": ["a", "b\nc"]}), "f", split * 2, split
        )


ROWS = [str({"x": x, "s": s}) for x, s in [(0.5, "a"), (None, "b\nc"), (1.5, "a"), (None, "b\nc")]]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("is_one_file", [True, False])
def test_what_write_files_writes_read_files_reads(tmp_path, format_, is_one_file):
    end = PART_EXTENSIONS[format_]
    path = str(tmp_path / (f"out{end}" if is_one_file else "out"))
    with in_process() as pipeline:
        files = pipeline | beam.Create(list(_splits())) | WriteFiles(path, format=format_)
        parts = [path] if is_one_file else [f"{path}/part-0000{n}{end}" for n in (0, 1)]
        assert_that(files, equal_to(parts))
    with in_process() as pipeline:
        found = pipeline | ReadFiles(path, dialect=OURS)
        assert_that(found.batches | beam.FlatMap(_rows), equal_to(ROWS))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.rpartition("/")[2]]
    if is_one_file:
        assert [row for batch in _batches(path) for row in _rows(batch)] == ROWS


def _batches(path):
    splits = plan_splits(with_one_schema([inspector(format_of(path), OURS)(path)]), single=True)
    return [batch for split in splits for batch in read_split(split)]
