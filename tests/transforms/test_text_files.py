import bz2
import gzip
import io
import json
from itertools import chain, pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.models.reserved import REJECTED_KEY, metadata_of, user_columns
from scoreline.transforms import byte_ranges, text_files
from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.identity import row_ids
from scoreline.transforms.parquet_files import UnreadableFileError
from scoreline.transforms.text_files import ByteRange, inspect_text

COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    ".bz2": bz2.compress,
}
BOM = b"\xef\xbb\xbf"
WITH_NEWLINES = CsvDialect(newlines_in_values=True)


def inspect(path, dialect=None):
    format_ = "json" if ".jsonl" in str(path) else "csv"
    return inspect_text(str(path), format_, dialect or CsvDialect())


def read(ranges, columns=None):
    """The good rows, and (row_id, code, payload) of the others, each with its row_id."""
    rows, rejected = [], []
    for range_ in ranges:
        for batch in range_.read(0, columns):
            assert batch.num_rows
            ids = [name.rpartition("#")[2] for name in row_ids(batch).to_pylist()]
            if metadata_of(batch, REJECTED_KEY):
                codes, payloads = batch.column("error_code"), batch.column("payload")
                rejected += zip(ids, codes.to_pylist(), payloads.to_pylist(), strict=True)
            else:
                rows += zip(ids, user_columns(batch).to_pylist(), strict=True)
    return rows, rejected


def read_all(path, dialect=None, columns=None):
    return read([range_ for range_, _ in inspect(path, dialect).ranges()], columns)


def values(rows):
    return [tuple(row.values()) for _, row in rows]


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


# ------------------------------------------------------------------ formats and line ends

JSON = b'{"x":1,"s":"a"}\n{"x":2}\noops\n{"x":3,"s":null}'
CSV = b"x,s\n1,a\n2,\n3\n4,b"


@pytest.mark.parametrize("extension", COMPRESS)
@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b"\r\n\r\n\n"])
def test_json_lines_are_read_whatever_they_are_wrapped_in(write, extension, mark, end):
    text = mark + JSON.replace(b"\n", end)
    rows, rejected = read_all(write(f"a.jsonl{extension}", COMPRESS[extension](text)))
    start = len(mark)
    assert rows == [
        (f"{start}+0", {"x": 1, "s": "a"}),
        (f"{start}+1", {"x": 2, "s": None}),
        (f"{start}+3", {"x": 3, "s": None}),
    ]
    assert rejected == [(f"{start}+2", "malformed_json", b"oops")]


@pytest.mark.parametrize("extension", COMPRESS)
@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b"\r\n\r\n\n"])
def test_csv_is_read_whatever_it_is_wrapped_in(write, extension, mark, end):
    text = mark + CSV.replace(b"\n", end)
    rows, rejected = read_all(write(f"a.csv{extension}", COMPRESS[extension](text)))
    start = len(mark) + len(b"x,s") + end.index(b"\n") + 1
    assert rows == [
        (f"{start}+0", {"x": 1, "s": "a"}),
        (f"{start}+1", {"x": 2, "s": None}),
        (f"{start}+3", {"x": 4, "s": "b"}),
    ]
    assert rejected == [(f"{start}+2", "wrong_field_count", b"3")]


def test_csv_without_a_header_starts_with_a_record_also_behind_a_mark(write):
    path = write("a.csv", BOM + b"1,2\n3,4\n")
    dialect = CsvDialect(header=False, names=("a", "b"))
    assert values(read_all(path, dialect)[0]) == [(1, 2), (3, 4)]


def test_compressed_text_is_known_by_its_first_bytes_too(write):
    info = inspect(write("a.csv", gzip.compress(CSV)))
    assert info.is_sequential
    assert values(read([range_ for range_, _ in info.ranges()])[0]) == [
        (1, "a"),
        (2, None),
        (4, "b"),
    ]


def test_nul_bytes_cost_their_record_at_most(write):
    rows, rejected = read_all(write("a.jsonl", b'{"x":1}\n{"x":2}\0\n\0\n{"x":3}\n'))
    assert values(rows) == [(1,), (3,)]
    assert [(code, payload) for _, code, payload in rejected] == [
        ("malformed_json", b'{"x":2}\0'),
        ("malformed_json", b"\0"),
    ]
    rows, rejected = read_all(write("a.csv", b"x,s\n1,a\0b\n\0,c\n2,d\n"))
    assert values(rows)[0] == (1, "a\0b") or values(rows)[0] == ("1", "a\0b")
    assert len(rows) + len(rejected) == 3


def test_a_record_that_json_cannot_have_is_rejected_with_its_bytes(write):
    deep = b'{"x":1,"y":' + b"[" * 5000 + b"]" * 5000 + b"}"
    lines = {
        b'{"x":NaN}': "malformed_json",
        b'{"x":Infinity}': "malformed_json",
        b'{"x":-Infinity}': "malformed_json",
        b'{"x":1,"x":2}': "duplicate_key",
        b'{"x":18446744073709551616}': "number_out_of_range",
        b'{"x":-9223372036854775809}': "number_out_of_range",
        b'{"x":1e400}': "number_out_of_range",
        b'{"x":"\xff"}': "invalid_utf8",
        deep: "too_deep",
    }
    text = b'{"x":1}\n{"x":2}\n' + b"\n".join(lines) + b"\n" + b'{"x":3}\n' * 20
    rows, rejected = read_all(write("a.jsonl", text))
    assert values(rows) == [(1,), (2,)] + [(3,)] * 20
    assert [(payload, code) for _, code, payload in rejected] == list(lines.items())


# ------------------------------------------------------------------ ranges

cells = st.sampled_from(["1", "22", "", "x", '"a"', '"a,b"', '"', "é", "\r"])
records = st.lists(st.tuples(st.integers(-99, 99).map(str), cells).map(",".join), max_size=25)


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(byte_ranges, "_BLOCK_BYTES", 16)
    monkeypatch.setattr(byte_ranges.read_blocks, "__kwdefaults__", _DEFAULTS | {"block_bytes": 16})
    monkeypatch.setattr(byte_ranges, "_STEP_BYTES", 5)


_DEFAULTS = dict(byte_ranges.read_blocks.__kwdefaults__)


def without_place(found):
    return [[entry[1:] for entry in entries] for entries in found]


@settings(deadline=None)
@given(st.data(), records, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_cut_gives_the_same_rows_and_the_same_rejects(tmp_path_factory, data, lines, end, mark):
    """The header belongs to the first range, even to one that ends inside it."""
    path = tmp_path_factory.mktemp("cut") / "a.csv"
    text = (BOM if mark else b"") + end.join(["number,text", *lines, ""]).encode()
    path.write_bytes(text)
    try:
        info = inspect(path)
    except UnreadableFileError:  # no record is good: nothing says what the columns are
        return
    whole = read([ByteRange(str(path), 0, len(text), info.reading)])
    edges = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    cuts = [
        ByteRange(str(path), start, stop, info.reading)
        for start, stop in pairwise([0, *edges, len(text)])
    ]
    assert without_place(read(cuts)) == without_place(whole)
    ids = [row_id for found in read(cuts) for row_id, *_ in found]
    assert len(set(ids)) == len(ids)
    assert sum(map(len, whole)) == sum(line.strip("\r") != "" for line in lines)


json_values = st.none() | st.integers(-(2**70), 2**70) | st.text(max_size=3) | st.booleans()


@settings(deadline=None)
@given(st.data())
def test_good_and_rejected_are_the_records_of_any_damaged_json(tmp_path_factory, data):
    rows = data.draw(
        st.lists(st.fixed_dictionaries({"x": st.integers(-9, 9), "s": json_values}), min_size=1)
    )
    lines = [b'{"x":0}', *(json.dumps(row, ensure_ascii=False).encode() for row in rows)]
    for _ in range(data.draw(st.integers(0, 5))):
        line = data.draw(st.integers(1, len(lines) - 1))
        at = data.draw(st.integers(0, len(lines[line])))
        noise = data.draw(st.sampled_from([b"}", b"{", b'"', b"\xff", b"\0", b"NaN", b"", b","]))
        lines[line] = lines[line][:at] + noise + lines[line][at + data.draw(st.integers(0, 2)) :]
    records = [line for line in lines if line.strip()]
    path = tmp_path_factory.mktemp("damaged") / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    info = inspect(path)
    edges = sorted(data.draw(st.lists(st.integers(0, info.num_bytes), max_size=5)))
    cuts = [
        ByteRange(str(path), start, stop, info.reading)
        for start, stop in pairwise([0, *edges, info.num_bytes])
    ]
    good, rejected = read(cuts)
    assert len(good) + len(rejected) == len(records)
    assert [payload for *_, payload in rejected] == [
        line for line in records if line in {payload for *_, payload in rejected}
    ]


def test_files_are_cut_into_ranges_that_cover_them(write, monkeypatch):
    monkeypatch.setattr(text_files, "_RANGE_BYTES", 100)
    path = write("a.csv", b"x,s\n" + b"".join(b"%d,a\n" % n for n in range(100)))
    info = inspect(path)
    ranges = list(info.ranges())
    assert [weight for _, weight in ranges] == [100] * 4 + [info.num_bytes - 400]
    assert not info.is_sequential
    assert info.num_rows is None
    assert all(range_.num_rows is None for range_, _ in ranges)
    assert values(read([range_ for range_, _ in ranges])[0]) == [(n, "a") for n in range(100)]


def test_what_must_be_read_in_sequence_is_one_range(write, monkeypatch):
    monkeypatch.setattr(text_files, "_RANGE_BYTES", 10)
    for path, dialect in [
        (write("a.csv.gz", gzip.compress(CSV * 9)), None),
        (write("b.csv", CSV * 9), WITH_NEWLINES),
    ]:
        info = inspect(path, dialect)
        assert info.is_sequential
        assert [weight for _, weight in info.ranges()] == [info.num_bytes]


def test_a_line_of_ten_megabytes_is_a_record_wherever_it_stands(write):
    long = b'{"x":2,"s":"' + b"y" * 10_000_000 + b'"}'
    for lines in ([long, b'{"x":1}'], [b'{"x":1}', long, b'{"x":3}']):
        rows, rejected = read_all(write("a.jsonl", b"\n".join(lines)))
        assert [len(str(row)) > 10_000_000 for _, row in rows] == [line is long for line in lines]
        assert rejected == []
    rows, _ = read_all(write("a.csv", b"x,s\n1," + b"y" * 10_000_000 + b"\n2,z\n"))
    assert [row["x"] for _, row in rows] == [1, 2]


def test_a_line_that_is_too_long_is_rejected_with_its_beginning(write, monkeypatch):
    monkeypatch.setattr(
        byte_ranges.read_blocks, "__kwdefaults__", _DEFAULTS | {"max_line_bytes": 5 * 2**20}
    )
    for dialect in (CsvDialect(), WITH_NEWLINES):
        path = write("a.csv", b'x,s\n1,a\n2,"a\n' + b"3," + b"y" * 6 * 2**20 + b"\n4,b\n")
        rows, rejected = read_all(path, dialect)
        assert [row["x"] for _, row in rows] == [1, 4]
        assert [code for _, code, _ in rejected] == ["malformed_csv", "too_long"]
        assert rejected[1][2] == b"3," + b"y" * (2**20 - 2)


# ------------------------------------------------------------------ newlines in values


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("extension", COMPRESS)
def test_records_with_newlines_are_read_over_blocks(write, extension):
    text = 'n,s\n1,"a\nb"\n2,"' + "long line\r\n" * 9 + '"\n\n3,"x""y"\n4\n5,z'
    path = write(f"a.csv{extension}", COMPRESS[extension](text.encode()))
    rows, rejected = read_all(path, WITH_NEWLINES)
    assert values(rows) == [(1, "a\nb"), (2, "long line\r\n" * 9), (3, 'x"y'), (5, "z")]
    assert [entry[1:] for entry in rejected] == [("wrong_field_count", b"4")]


@pytest.mark.usefixtures("_small")
def test_a_mark_that_nobody_closes_costs_its_line(write, monkeypatch):
    monkeypatch.setattr(text_files, "_MAX_OPEN_BYTES", 40)
    good = "".join(f"{n},text {n}\n" for n in range(20))
    for text, payload in [
        (f'n,s\n{good}7,"open\n{good}', b'7,"open'),
        (f'n,s\n{good}7,"open', b'7,"open'),
        (f'n,s\n{good}7,"stray"\r,\n{good}', b'7,"stray"\r,'),
    ]:
        rows, rejected = read_all(write("a.csv", text.encode()), WITH_NEWLINES)
        assert len(rows) == good.count("\n") * text.count(good)
        assert [entry[1:] for entry in rejected] == [("malformed_csv", payload)]


tokens = st.lists(st.sampled_from(['"', ",", "a", "\n", "1", "\r\n", '""', "\r"]), max_size=40)


@settings(deadline=None)
@given(tokens, st.integers(1, 30), st.integers(0, 20))
def test_records_do_not_depend_on_where_blocks_end(text, block_bytes, open_bytes):
    data = ("a,b\n" + "".join(text)).encode()
    dialect = WITH_NEWLINES.with_names(("a", "b"))

    def cut(size, limit):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_files, "_MAX_OPEN_BYTES", limit)
            blocks = byte_ranges.read_blocks(io.BytesIO(data), block_bytes=size)
            return list(text_files._whole_records(blocks, dialect))

    found = cut(block_bytes, open_bytes)
    assert b"".join(block.data for block in found) == data
    at = 0
    for block in found:
        assert block.offset == at
        at += len(block.data)
    if open_bytes > len(data):
        whole = [decoded_records(block.data, dialect) for block in cut(1000, 1000)]
        parts = [decoded_records(block.data, dialect) for block in found]
        assert list(chain(*parts)) == list(chain(*whole))


def decoded_records(data, dialect):
    lines = text_files.CsvDecoder(dialect, pa.schema({"a": pa.string()})).decode(data)
    good = [] if lines.batch is None else lines.batch.column("a").to_pylist()
    named = dict(zip(lines.ordinals.to_pylist(), good, strict=True))
    named.update({reject.ordinal: reject.payload for reject in lines.rejects})
    return [named[ordinal] for ordinal in sorted(named)]


# ------------------------------------------------------------------ columns and types


def test_columns_may_be_chosen_and_must_be_there(write):
    for path in (write("a.csv", CSV), write("a.jsonl", JSON)):
        assert values(read_all(path, columns=("s",))[0])[0] == ("a",)
        with pytest.raises(
            ValueError, match=r"has the columns \['x', 's'\], but \['z'\] not exactl"
        ):
            read_all(path, columns=("s", "z"))
        with pytest.raises(ValueError, match="expected a schema with at least one column, got non"):
            read_all(path, columns=())


def test_types_are_told_from_the_first_lines_and_may_be_given(write):
    info = inspect(write("a.csv", b"x,s,n\n1,a,\n2,b,\n"))
    assert info.schema == pa.schema({"x": pa.int64(), "s": pa.string(), "n": pa.string()})
    typed = info.typed({"x": pa.float64(), "n": pa.int8()})
    assert typed.schema.types == [pa.float64(), pa.string(), pa.int8()]
    [(range_, _)] = typed.ranges()
    assert values(read([range_])[0]) == [(1.0, "a", None), (2.0, "b", None)]


def test_names_alone_are_columns_of_text(write):
    info = inspect(write("a.csv", b"x,s\n"))
    assert info.schema.types == [pa.string(), pa.string()]
    assert read([range_ for range_, _ in info.ranges()]) == ([], [])


@pytest.mark.parametrize("extension", COMPRESS)
def test_the_first_good_rows(write, extension):
    info = inspect(write(f"a.csv{extension}", COMPRESS[extension](CSV)))
    [head] = info.head(("s",))
    assert user_columns(head).to_pydict() == {"s": ["a", None, "b"]}
    assert list(inspect(write("b.csv", b"x,s\n")).head(("x",))) == []


# ------------------------------------------------------------------ files that are no good


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "expected at least one JSON object with members, got none in 0 lines"),
        ("a.jsonl", b"PAR1\0\0", "got none in 1 lines"),
        ("a.csv", b"", "expected a first line with column names, got an empty source"),
        ("a.csv", b"a,a\n1,2\n", r"expected each column name once, got \['a'\] more than once"),
        ("a.csv", b"a,b\n1\n2\n", "expected records with 2 fields, separated by ',', got none"),
        ("a.csv", b"a\xff,b\n1,2\n", "expected UTF-8"),
        ("a.csv.gz", b"a,b\n1,2\n", r"a\.csv\.gz is no sound gzip file"),
        (
            "a.csv.gz",
            gzip.compress(CSV, mtime=0)[:-9],
            r"a\.csv\.gz is cut short: its gzip stream has no end",
        ),
    ],
)
def test_what_is_no_file_of_its_format_is_named(write, name, content, message):
    path = write(name, content)
    with pytest.raises(
        UnreadableFileError, match=rf"cannot read .*{name} as (csv|json): .*{message}"
    ):
        inspect(path)


def test_a_wrong_delimiter_is_told_with_the_right_one(write):
    path = write("a.csv", b"age;plan;city\n1,5;a;b\n")
    with pytest.raises(UnreadableFileError) as error:
        inspect(path)
    assert str(error.value) == (
        f"cannot read {path} as csv: the first line is one column, 'age;plan;city'. It looks as if "
        "the delimiter were ';': give it with --csv-delimiter (source.csv.delimiter)."
    )
    assert inspect(path, CsvDialect(delimiter=";")).schema.names == ["age", "plan", "city"]
    assert inspect(write("b.csv", b"one\n1\n")).schema.names == ["one"]


def test_a_missing_file_is_named(tmp_path, memory):
    for path in (tmp_path / "no.csv", "memory://b/no.jsonl"):
        with pytest.raises(UnreadableFileError, match=rf"cannot read {path} as"):
            inspect(path)


@pytest.mark.parametrize("extension", [".gz", ".zst", ".bz2"])
def test_a_stream_cut_short_names_the_byte_up_to_which_it_was_read(write, monkeypatch, extension):
    monkeypatch.setattr(text_files, "_SAMPLE_BYTES", 1000)
    lines = b"".join(b'{"x":%d}\n' % (n * 7919 % 100_003) for n in range(900_000))
    content = COMPRESS[extension](lines)
    path = write(f"a.jsonl{extension}", content[: len(content) * 3 // 4])
    [(range_, _)] = inspect(path).ranges()
    rows = 0
    with pytest.raises(  # noqa: PT012
        UnreadableFileError, match=rf"cannot read {path} from byte (\d+) on: .* is cut short"
    ) as error:
        for batch in range_.read(0, None):
            rows += batch.num_rows
    offset = int(str(error.value).split("from byte ")[1].split(" ")[0])
    assert rows == lines[:offset].count(b"\n") > 100_000
    assert lines[offset - 1 : offset] == b"\n"


def test_a_file_that_shrank_or_vanished_since_it_was_inspected_is_an_error(write):
    for dialect in (CsvDialect(), WITH_NEWLINES):
        path = write("a.csv", CSV)
        [(range_, _)] = inspect(path, dialect).ranges()
        path.write_bytes(CSV[:8])
        with pytest.raises(
            UnreadableFileError, match=r"from byte \d+ on: expected at least 16 byte"
        ):
            read([range_])
        path.unlink()
        with pytest.raises(UnreadableFileError, match=rf"cannot read {path} from byte 0 on"):
            read([range_])


def test_a_file_that_grew_gives_the_rows_that_it_had(write):
    path = write("a.csv", CSV + b"\n")
    [(range_, _)] = inspect(path).ranges()
    path.write_bytes(CSV + b"\n5,c\n")
    assert [row["x"] for _, row in read([range_])[0]] == [1, 2, 4]
