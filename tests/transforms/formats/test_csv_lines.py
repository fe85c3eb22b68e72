import csv
import datetime as dt
import io

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.transforms.formats.csv_dialect import CsvDialect, likely_delimiter, sniff_header
from scoreline.transforms.formats.csv_lines import CsvDecoder, decode_csv
from scoreline.transforms.formats.csv_quotes import (
    split_records,
)
from scoreline.transforms.formats.csv_schema import infer_csv_schema

NAMES = ("i", "x", "s", "b")
SCHEMA = pa.schema({"i": pa.int64(), "x": pa.float64(), "s": pa.string(), "b": pa.bool_()})
DIALECT = CsvDialect(names=NAMES)
MULTILINE = CsvDialect(names=NAMES, newlines_in_values=True)


def rejected(decoded):
    return [(reject.ordinal, reject.error_code, reject.payload) for reject in decoded.rejects]


def assert_same_as_alone(block, dialect=DIALECT, schema=SCHEMA):
    """The verdict on a record and its row must not depend on the records around it."""
    decoded = CsvDecoder(dialect, schema).decode(block)
    records = split_records(block, dialect)
    rows, bad = [], []
    for ordinal in range(len(records)):
        alone = CsvDecoder(dialect, schema).decode(records[ordinal] + b"\r\n")
        if alone.batch is not None:
            rows.append((ordinal, alone.batch.to_pylist()[0]))
        else:
            bad += [(ordinal, reject.error_code, reject.payload) for reject in alone.rejects]
    assert decoded.num_records == len(records)
    assert rejected(decoded) == bad
    assert decoded.ordinals.to_pylist() == [ordinal for ordinal, _ in rows]
    if decoded.batch is not None:
        decoded.batch.validate(full=True)
        assert decoded.batch.schema == schema
        assert repr(decoded.batch.to_pylist()) == repr([row for _, row in rows])
    return decoded


GOOD = b"1,0.5,a,true"
MALFORMED = {
    b"1,2,x": "wrong_field_count",
    b"1,2,x,true,": "wrong_field_count",
    b"  ": "wrong_field_count",
    b"1,2,x\xff,true": "invalid_utf8",
    b"1,2,x,true,\xff": "invalid_utf8",
    b"1.5,2,x,true": "wrong_type",
    b"x,2,x,true": "wrong_type",
    b"1,x,x,true": "wrong_type",
    b"1,1_0,x,true": "wrong_type",
    b"1,2,x,yes": "wrong_type",
    b"9223372036854775808,2,x,true": "number_out_of_range",
    b"1,1e999,x,true": "number_out_of_range",
    b"1,-1e999,x,true": "number_out_of_range",
    b'1,2,"x,true': "malformed_csv",
    b'"1,2,x,true': "malformed_csv",
    b'1,2,"x""y,true': "malformed_csv",
    b'1,2,5" x,"true': "malformed_csv",
    b"1,2,x\ry,true": "malformed_csv",
    b"1,2,x,true\r": "malformed_csv",
}
ACCEPTED = {
    b"1,2,x,true": (1, 2.0, "x", True),
    b" 1 , 2.5 , x , true ": (1, 2.5, " x ", True),
    b'"1","2","3","true"': (1, 2.0, "3", True),
    b",,,": (None, None, None, None),
    b'"","","",""': (None, None, "", None),
    b"NA,NaN,NA,null": (None, None, None, None),
    b'"NA"," NaN ","NA","null"': (None, None, "NA", None),
    b"1,inf,x,1": (1, float("inf"), "x", True),
    b"1,-inf,x,0": (1, float("-inf"), "x", False),
    b'1,2,5" x,FALSE': (1, 2.0, '5" x', False),
    b'1,2,"a"b,true': (1, 2.0, "ab", True),
    b'1,2,"a""b",true': (1, 2.0, 'a"b', True),
    b'1,2,"a,b",true': (1, 2.0, "a,b", True),
    b'1,2,"a"b"c,true': (1, 2.0, 'ab"c', True),
    b'1,2,"",true': (1, 2.0, "", True),
    b"1,2,a\x00b,true": (1, 2.0, "a\x00b", True),
    "1,2,é😀,true".encode(): (1, 2.0, "é😀", True),
    b"-5,+2.5e-3,x,True": (-5, 0.0025, "x", True),
}


@pytest.mark.parametrize("line", MALFORMED)
@pytest.mark.parametrize("copies", [0, 1, 30])
def test_a_malformed_record_costs_only_itself(line, copies):
    end = b"\r\n" if line.endswith(b"\r") else b"\n"
    block = end.join([GOOD] * copies + [line] + [GOOD] * copies) + end
    decoded = assert_same_as_alone(block) if end == b"\n" else decode_csv(block, DIALECT, SCHEMA)
    assert rejected(decoded) == [(copies, MALFORMED[line], line)]


@pytest.mark.parametrize("line", ACCEPTED)
@pytest.mark.parametrize("dialect", [DIALECT, MULTILINE])
def test_valid_records_are_read(line, dialect):
    for block in (
        line,
        b"\n".join([GOOD, line, GOOD, b"x,1,a,0"]),
        b"\r\n".join([GOOD] * 3 + [line, b""]),
    ):
        decoded = decode_csv(block, dialect, SCHEMA)
        rows = [tuple(row.values()) for row in decoded.batch.to_pylist()]
        assert ACCEPTED[line] in rows


def test_messages_say_what_was_expected():
    decoded = decode_csv(b'1,2\nx,1,a,0\n1,1e400,a,0\n1,2,"a,0\n', DIALECT, SCHEMA)
    assert [reject.error_message for reject in decoded.rejects] == [
        "expected 4 fields, got 2",
        "column 'i': expected int64, got 'x'",
        "column 'x': expected double, got '1e400'",
        "expected quoted fields that close, got one that stays open or a stray carriage return; "
        "if quoted fields may hold line breaks, give --csv-newlines-in-values "
        "(source.csv.newlines_in_values)",
    ]


def test_blank_lines_are_no_records():
    decoded = decode_csv(b"\n1,2,x,0\n\r\n\n1,2,y,0\r\n\n", DIALECT, SCHEMA)
    assert decoded.ordinals.to_pylist() == [0, 1]
    assert decode_csv(b"\n\n", DIALECT, SCHEMA).batch is None


def test_one_column():
    dialect = CsvDialect(names=("s",))
    decoded = assert_same_as_alone(b'a\n\n""\n \nb,c\nNA\n', dialect, pa.schema({"s": pa.string()}))
    assert decoded.batch.column("s").to_pylist() == ["a", "", " ", None]


def test_columns_may_be_chosen_and_reordered():
    schema = pa.schema({"b": pa.bool_(), "i": pa.int32()})
    decoded = decode_csv(b"1,not a number,x,true\n2,,y,0\n", DIALECT, schema)
    assert decoded.batch.to_pylist() == [{"b": True, "i": 1}, {"b": False, "i": 2}]
    assert decoded.batch.schema == schema


def test_an_open_quote_swallows_nothing():
    lines = [GOOD, b'1,2,"open,true', GOOD, b'1,2,"also open,true', GOOD]
    for dialect in (DIALECT, MULTILINE):
        block = b"\n".join(lines)
        if dialect is MULTILINE:
            block = b"\n".join(lines[:3])
        decoded = assert_same_as_alone(block, dialect)
        assert decoded.num_records == block.count(b"\n") + 1
        assert {code for _, code, _ in rejected(decoded)} == {"malformed_csv"}


@pytest.mark.parametrize(
    ("record", "newlines", "advised"),
    [(b'1,"open', False, True), (b'1,"open', True, False), (b"1,a\rb", False, False)],
)
def test_line_breaks_in_values_are_advised_where_a_quote_stays_open(record, newlines, advised):
    dialect = CsvDialect(names=("x", "y"), newlines_in_values=newlines)
    schema = pa.schema({"x": pa.int64(), "y": pa.string()})
    (reject,) = CsvDecoder(dialect, schema).decode(record + b"\n").rejects.records
    assert reject.error_code == "malformed_csv"
    assert reject.error_message == (
        "expected quoted fields that close, got one that stays open or a stray carriage return"
        + advised * "; if quoted fields may hold line breaks, give --csv-newlines-in-values "
        + advised * "(source.csv.newlines_in_values)"
    )


def test_newlines_in_values():
    block = b'1,2,"a\nb\r\n\nc",true\n2,3,"x""\n",0\n3,4,5" y,1\n4\n'
    decoded = assert_same_as_alone(block, MULTILINE)
    assert decoded.batch.column("s").to_pylist() == ["a\nb\r\n\nc", 'x"\n', '5" y']
    assert rejected(decoded) == [(3, "wrong_field_count", b"4")]
    without = decode_csv(block, DIALECT, SCHEMA)
    assert without.ordinals.to_pylist() == [5]


def test_other_dialects():
    dialect = CsvDialect(
        delimiter=";", quote="'", escape="\\", names=("a", "b"), null_values=("-",)
    )
    schema = pa.schema({"a": pa.string(), "b": pa.float64()})
    block = b"'x;y';1\nx\\;y;2\n'it\\'s';-\n-;3\n'open\\';4\n\"q\";5\n'a''b';\n"
    decoded = assert_same_as_alone(block, dialect, schema)
    rows = [tuple(row.values()) for row in decoded.batch.to_pylist()]
    assert rows == [("x;y", 1.0), ("x;y", 2.0), ("it's", None), (None, 3.0), ('"q"', 5.0)]
    assert [code for _, code, _ in rejected(decoded)] == ["malformed_csv", "wrong_type"]
    plain = CsvDialect(delimiter="\t", quote=None, names=("a", "b"))
    decoded = assert_same_as_alone(b'"x\t1\n"y"\t2\n', plain, schema)
    assert decoded.batch.column("a").to_pylist() == ['"x', '"y"']


def test_other_types():
    schema = pa.schema(
        {
            "d": pa.date32(),
            "t": pa.timestamp("us"),
            "z": pa.timestamp("ms", "UTC"),
            "m": pa.decimal128(8, 2),
            "k": pa.time64("us"),
            "f": pa.float32(),
            "c": pa.dictionary(pa.int32(), pa.string()),
            "y": pa.binary(),
            "n": pa.int8(),
        }
    )
    good = b"2024-05-01,2024-05-01 10:00:00,2024-05-01T10:00:00Z,12.50,10:00:00.5,0.1,red,/w==,5"
    bad = [
        good.replace(old, new)
        for old, new in [
            (b"2024-05-01,", b"2024-15-01,"),
            (b" 10:00:00", b" 25:00:00"),
            (b"00Z", b"00"),
            (b"12.50", b"12.505"),
            (b"10:00:00.5", b"25:00"),
            (b"0.1", b"1e39"),
            (b"/w==", b"?"),
            (b",5", b",300"),
        ]
    ]
    names = tuple(schema.names)
    block = b"\n".join([good] * 3 + bad + [good])
    decoded = assert_same_as_alone(block, CsvDialect(names=names), schema)
    assert decoded.batch.num_rows == 4
    codes = [code for _, code, _ in rejected(decoded)]
    assert codes[:5] == ["wrong_type"] * 5
    assert codes[5:] == ["number_out_of_range", "wrong_type", "number_out_of_range"]
    row = decoded.batch.to_pylist()[0]
    assert (row["k"], row["c"], row["y"], str(row["m"])) == (
        dt.time(10, 0, 0, 500_000),
        "red",
        b"\xff",
        "12.50",
    )


def test_construction_is_checked():
    with pytest.raises(
        ValueError,
        match=r"expected columns \['q'\] in the source, which has \['i', 'x', 's', 'b'\]",
    ):
        CsvDecoder(DIALECT, pa.schema({"q": pa.int64()}))
    with pytest.raises(TypeError, match="column 's': expected a type that CSV can hold, got list"):
        CsvDecoder(DIALECT, pa.schema({"s": pa.list_(pa.int64())}))
    with pytest.raises(ValueError, match="csv delimiter: expected one ASCII character, got '::'"):
        CsvDialect(delimiter="::")
    with pytest.raises(ValueError, match="expected different characters"):
        CsvDialect(delimiter=",", quote=",")
    with pytest.raises(ValueError, match=r"expected each name once, got \['a'\]"):
        CsvDialect(names=("a", "b", "a"))


# ------------------------------------------------------------------ headers and schemas


def test_headers():
    assert sniff_header(b'a,"b, c"\r\n1,2', CsvDialect()).names == ("a", "b, c")
    assert sniff_header(b"\n\na;b\n1;2", CsvDialect(delimiter=";")).num_bytes == 6
    assert sniff_header(b'"a\nb",c\n1,2\n', CsvDialect()).num_bytes == 8
    assert sniff_header(b"a,b", CsvDialect()).num_bytes == 3
    assert sniff_header(b"\xef\xbb\xbf1,2\n", CsvDialect(header=False)) == sniff_header(
        b"\xef\xbb\xbf3,4\n", CsvDialect(header=False)
    )
    assert sniff_header(b"1,2\n", CsvDialect(header=False)).names == ("f0", "f1")
    assert sniff_header(b"1,2\n", CsvDialect(header=False, names=("a", "b"))).names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected a first line with column names, got an empty source"),
        (
            b"a,,c\n",
            r"expected a name for every column, got none for column 2\. Name it in the first line; "
            r"pandas leaves out the name of its index: write the file with index=False\.$",
        ),
        (b"1,2,1\n", r"got \['1'\] more than once; if the first line holds data"),
        (b"a\xff,b\n", "expected UTF-8"),
    ],
)
def test_bad_headers(text, message):
    with pytest.raises(ValueError, match=message):
        sniff_header(text, CsvDialect())


def test_the_likely_delimiter():
    assert likely_delimiter(b"a;b;c,d\n", CsvDialect()) is None
    assert likely_delimiter(b"\xef\xbb\xbfa\tb\n1,2", CsvDialect()) == "\t"
    assert likely_delimiter(b"a\n", CsvDialect()) is None


def test_inferred_types():
    names = ("i", "x", "b", "d", "t", "n", "m", "z", "q")
    sample = (
        b"1,1.5,true,2024-01-01,10:00:00,,1,007,\n"
        b"2,,false,2024-01-02,11:00:00,NA,x,1e5,\n"
        b'1,2\n\xff\n3,4,"\n'
    )
    schema = infer_csv_schema(
        sample, CsvDialect(names=names), pa.schema({"q": pa.float32(), "other": pa.int8()})
    )
    assert schema == pa.schema(
        [
            ("i", pa.int64()),
            ("x", pa.float64()),
            ("b", pa.bool_()),
            ("d", pa.string()),
            ("t", pa.string()),
            ("n", pa.null()),
            ("m", pa.string()),
            ("z", pa.float64()),
            ("q", pa.float32()),
        ]
    )
    with pytest.raises(
        ValueError,
        match=r"expected records with 2 fields, separated by ',', got none; the first one has 1$",
    ):
        infer_csv_schema(b"1;2\n", CsvDialect(names=("a", "b")))


CODES = [
    ("1001,02139", pa.string(), ["1001", "02139"]),
    ("-07,5", pa.string(), ["-07", "5"]),
    ("+31612345678,5", pa.string(), ["+31612345678", "5"]),
    ("0,10", pa.int64(), [0, 10]),
    ("0.5,00.5", pa.float64(), [0.5, 0.5]),
    ("007,0.5", pa.float64(), [7.0, 0.5]),
    ("9223372036854775808, 12 ", pa.uint64(), [2**63, 12]),
    ("18446744073709551616,1", pa.string(), ["18446744073709551616", "1"]),
    ("9223372036854775808,-1", pa.string(), ["9223372036854775808", "-1"]),
    ("9223372036854775808,1e3", pa.float64(), [2.0**63, 1000.0]),
]


@pytest.mark.parametrize(("values", "expected", "read"), CODES)
def test_whole_numbers_keep_every_digit(values, expected, read):
    block = values.replace(",", "\n").encode() + b"\n"
    schema = infer_csv_schema(block, CsvDialect(names=("x",)))
    assert schema == pa.schema({"x": expected})
    decoded = CsvDecoder(CsvDialect(names=("x",)), schema).decode(block)
    assert decoded.batch is not None
    assert decoded.batch["x"].to_pylist() == read


# ------------------------------------------------------------------ properties

cells = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(repr),
    st.sampled_from(
        [
            "",
            "true",
            "0",
            "NA",
            '""',
            '"x"',
            '"',
            '"a""b"',
            ' "x"',
            " 1 ",
            '5" x',
            "x",
            "é",
            "1e999",
            "0x1F",
            "\0",
            '"\r"',
            "\r",
            "+1",
            "nan",
            '"a,b"',
            '"NA"',
            '" 2 "',
            '"tr"ue',
        ]
    ),
)
rows = st.lists(
    st.one_of(st.just(GOOD.decode()), st.lists(cells, min_size=3, max_size=5).map(",".join)),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(rows, st.sampled_from(["\n", "\r\n"]), st.binary(max_size=2), st.integers(0, 200))
def test_a_record_is_judged_as_alone(lines, end, noise, at):
    block = end.join(lines).encode()
    block = block[:at] + noise + block[at:]
    block = block if block.endswith(b"\n") else block + b"\n"
    assert_same_as_alone(block)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(['"', ",", "a", "\n", "1", "\r\n", '""']), max_size=30))
def test_records_with_newlines_hold_every_byte(tokens):
    block = "".join(tokens).encode()
    records = split_records(block, MULTILINE)
    gaps = [0, *records.ends.tolist()], [*records.starts.tolist(), len(block)]
    assert all(block[stop:start].strip(b"\r\n") == b"" for stop, start in zip(*gaps, strict=True))
    assert_same_as_alone(block, MULTILINE)


text_rows = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=200, deadline=None)
@given(text_rows, st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_is_read(values, end):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows((i, x, s, str(b)) for i, x, s, b in values)
    block = out.getvalue().encode()
    decoded = assert_same_as_alone(block, MULTILINE)
    assert [tuple(row.values()) for row in decoded.batch.to_pylist()] == values
