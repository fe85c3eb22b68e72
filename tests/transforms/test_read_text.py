"""ReadFiles and ReadSplits on text: malformed records come out as dead letters with their bytes."""

import gzip
import json

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import has_batch_coder, in_process, row_counts

from scoreline.models.reserved import user_columns
from scoreline.transforms import ReadFiles, ReadSplits, Receipt, text_files
from scoreline.transforms.dead_letters import DEAD_LETTER_SCHEMA
from scoreline.transforms.file_formats import format_of, inspector
from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.identity import row_ids
from scoreline.transforms.outcome import DEAD_LETTERS
from scoreline.transforms.read_files import BATCHES, RECEIPTS, _ReadFn
from scoreline.transforms.schemas import with_one_schema
from scoreline.transforms.splits import plan_splits

JSON = b'{"x":1,"s":"a"}\n{"x":"\n{"x":2}\n{"x":3,"x":4}\n{"x":5,"s":"\xff"}\n{"x":6,"s":null}\n'
CSV = b"x,s\n1,a\n2\n3,b,c\n4,\n"


def _rows(batch: pa.RecordBatch) -> list:
    return list(zip(_ids(batch), map(str, user_columns(batch).to_pylist()), strict=True))


def _ids(batch: pa.RecordBatch) -> list:
    return [row_id.rpartition("/")[2] for row_id in row_ids(batch).to_pylist()]


def _letters(batch: pa.RecordBatch) -> list:
    assert batch.schema.equals(DEAD_LETTER_SCHEMA)
    return [
        (
            row["row_id"].rpartition("/")[2],
            row["position"],
            row["run_id"],
            row["stage"],
            row["error_code"],
            row["payload"],
            row["payload_encoding"],
            row["model_version"],
        )
        for row in batch.to_pylist()
    ]


def letter(name, position, code, payload):
    return (f"{name}#{position}", position, "run", "decode", code, payload, "raw", None)


EXPECTED = {
    "a.jsonl": (
        [
            ("a.jsonl#0+0", "{'x': 1, 's': 'a'}"),
            ("a.jsonl#0+2", "{'x': 2, 's': None}"),
            ("a.jsonl#0+5", "{'x': 6, 's': None}"),
        ],
        [
            letter("a.jsonl", "0+1", "malformed_json", b'{"x":"'),
            letter("a.jsonl", "0+3", "duplicate_key", b'{"x":3,"x":4}'),
            letter("a.jsonl", "0+4", "invalid_utf8", b'{"x":5,"s":"\xff"}'),
        ],
    ),
    "b.csv.gz": (
        [("b.csv.gz#4+0", "{'x': 1, 's': 'a'}"), ("b.csv.gz#4+3", "{'x': 4, 's': None}")],
        [
            letter("b.csv.gz", "4+1", "wrong_field_count", b"2"),
            letter("b.csv.gz", "4+2", "wrong_field_count", b"3,b,c"),
        ],
    ),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(JSON)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(CSV))
    return tmp_path


def splits_of(*paths, dialect=None):
    inspect = inspector(format_of(str(paths[0])), dialect or CsvDialect())
    return plan_splits(with_one_schema([inspect(str(path)) for path in paths]))


@pytest.mark.parametrize("name", EXPECTED)
def test_files_with_broken_records(folder, name):
    rows, letters = EXPECTED[name]
    with in_process() as pipeline:
        read = pipeline | ReadFiles(str(folder / name), run_id="run")
        assert has_batch_coder(read[BATCHES])
        assert has_batch_coder(read[DEAD_LETTERS])
        assert read[RECEIPTS].element_type is Receipt
        assert_that(read.batches | "R" >> beam.FlatMap(_rows), equal_to(rows), "Rows")
        assert_that(read.dead_letters | "D" >> beam.FlatMap(_letters), equal_to(letters), "Dead")
        receipts = [Receipt("read", 0, len(rows) + len(letters))]
        assert_that(read.receipts, equal_to(receipts), "Receipts")
    assert row_counts(pipeline) == {
        "rows_read": len(rows) + len(letters),
        "rows_dead_lettered": len(letters),
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_splits_with_broken_records(folder, name):
    rows, letters = EXPECTED[name]
    with in_process() as pipeline:
        read = pipeline | ReadSplits(splits_of(folder / name), run_id="run")
        assert has_batch_coder(read[BATCHES])
        assert has_batch_coder(read[DEAD_LETTERS])
        assert read[RECEIPTS].element_type is Receipt
        assert_that(read[BATCHES] | "R" >> beam.FlatMap(_rows), equal_to(rows), "Rows")
        letters_read = read[DEAD_LETTERS] | "D" >> beam.FlatMap(_letters)
        assert_that(letters_read, equal_to(letters), "Dead")
        receipts = [Receipt("read", 0, len(rows) + len(letters))]
        assert_that(read[RECEIPTS], equal_to(receipts), "Receipts")


def run(fn, split):
    """What reading one split gives: batches, dead letters, the receipt."""
    batches, letters, receipts = [], [], []
    for found in fn.process(split):
        if not isinstance(found, beam.pvalue.TaggedOutput):
            batches.append(found)
        else:
            (letters if found.tag == DEAD_LETTERS else receipts).append(found.value)
    [receipt] = receipts
    assert receipt.rows == sum(batch.num_rows for batch in batches + letters)
    return batches, letters, receipt


def test_columns_get_new_names_and_keep_their_identity(folder):
    [split] = splits_of(folder / "a.jsonl")
    fn = _ReadFn(("s", "x"), {"x": "s", "s": "x"}, None, "run")
    [batch], _, _ = run(fn, split)
    assert user_columns(batch).to_pylist()[0] == {"x": "a", "s": 1}
    assert _ids(batch) == ["a.jsonl#0+0", "a.jsonl#0+2", "a.jsonl#0+5"]
    assert batch.schema.metadata


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7, 100])
def test_no_more_rows_than_the_limit_are_read(folder, limit):
    """Rejected records are rows that were read."""
    [split] = splits_of(folder / "a.jsonl")
    batches, letters, receipt = run(_ReadFn(None, {}, limit, "run"), split)
    assert receipt == Receipt("read", 0, min(limit, 6))
    assert all(batch.num_rows for batch in batches + letters)


def test_malformed_records_among_the_first_rows_count(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,1\n2\n3,3\n4\n5,5\n6,6\n")
    [split] = splits_of(tmp_path / "a.csv")
    batches, letters, receipt = run(_ReadFn(None, {}, 3, "run"), split)
    assert [x for batch in batches for x in batch.column("x").to_pylist()] == [1, 3]
    assert [letter["payload"] for batch in letters for letter in batch.to_pylist()] == [b"2"]
    assert receipt.rows == 3


def test_a_limit_over_several_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "_RANGE_BYTES", 30)
    (tmp_path / "a.csv").write_text("x\n" + "".join(f"{n}\n" for n in range(100)))
    [split] = splits_of(tmp_path / "a.csv")
    batches, _, receipt = run(_ReadFn(None, {}, 42, ""), split)
    assert len(batches) > 3
    assert receipt.rows == 42
    assert [x for batch in batches for x in batch.column("x").to_pylist()] == list(range(42))


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="limit: expected at least 1 row, got 0"):
        ReadSplits([], limit=0)


def test_a_dialect_and_a_format_may_be_given(tmp_path):
    (tmp_path / "rows.txt").write_text("1;'a;\nb'\n2;-\n")
    dialect = CsvDialect(
        ";", "'", header=False, names=("n", "s"), null_values=("-",), newlines_in_values=True
    )
    with in_process() as pipeline:
        read = pipeline | ReadFiles(f"{tmp_path}/*.txt", format="csv", dialect=dialect)
        rows = [
            ("rows.txt#0+0", str({"n": 1, "s": "a;\nb"})),
            ("rows.txt#0+1", str({"n": 2, "s": None})),
        ]
        assert_that(read.batches | beam.FlatMap(_rows), equal_to(rows))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.txt"], r"the extension of .*a\.txt names no format: give it as `format`"),
        (["a.jsonl", "b.csv"], r"files of several formats, such as \['.*a\.jsonl', '.*b\.csv'\]"),
    ],
)
def test_a_format_that_is_not_clear_fails(tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_text("x\n1\n")
    with pytest.raises(Exception, match=message), in_process() as pipeline:
        _ = pipeline | ReadFiles(str(tmp_path))


def test_files_of_a_folder_are_read_with_one_schema(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"x":1}\n')
    (tmp_path / "b.jsonl").write_text('{"y":"b","x":1.5}\n')
    with in_process() as pipeline:
        read = pipeline | ReadFiles(str(tmp_path))
        rows = [
            ("a.jsonl#0+0", str({"x": 1.0, "y": None})),
            ("b.jsonl#0+0", str({"x": 1.5, "y": "b"})),
        ]
        assert_that(read.batches | beam.FlatMap(_rows), equal_to(rows))


row = st.fixed_dictionaries(
    {
        "n": st.integers(-99, 99),
        "s": st.none() | st.text(max_size=3).filter(lambda s: "\0" not in s),
    }
)


@settings(deadline=None)
@given(st.lists(row, min_size=1, max_size=20), st.data())
def test_every_record_is_a_row_or_a_dead_letter_once(tmp_path_factory, rows, data):
    """Random lines are broken; the good ones are untouched, the bad ones are there as they were."""
    good = [json.dumps(row).encode() for row in rows]
    broken = data.draw(st.dictionaries(st.integers(0, len(good) - 1), st.integers(1, 5)))
    lines = [line[: -broken[n]] if n in broken else line for n, line in enumerate(good)]
    path = tmp_path_factory.mktemp("broken") / "a.jsonl"
    path.write_bytes(b'{"n":0,"s":"first"}\n' + b"\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "_RANGE_BYTES", data.draw(st.integers(1, 60)))
        [split] = splits_of(path)
        batches, letters, receipt = run(_ReadFn(None, {}, None, "run"), split)
    found = [row for batch in batches for row in user_columns(batch).to_pylist()]
    assert found[1:] == [row for n, row in enumerate(rows) if n not in broken]
    payloads = [row["payload"] for batch in letters for row in batch.to_pylist()]
    assert payloads == [lines[n] for n in sorted(broken)]
    assert receipt.rows == len(rows) + 1
    ids = [name for batch in batches for name in _ids(batch)]
    ids += [row["row_id"].rpartition("/")[2] for batch in letters for row in batch.to_pylist()]
    assert len(set(ids)) == receipt.rows
