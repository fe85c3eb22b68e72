import json
import math

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.transforms.coder import RecordBatchCoder
from scoreline.transforms.formats.json_check import MAX_JSON_DEPTH, RecordJudge
from scoreline.transforms.formats.json_lines import JsonLinesDecoder, decode_json_lines
from scoreline.transforms.formats.json_schema import infer_json_schema, wire_schema
from scoreline.transforms.formats.settled import settled

FLAT = pa.schema(
    {"i": pa.int64(), "x": pa.float64(), "s": pa.string(), "b": pa.bool_(), "u": pa.uint64()}
)
NESTED = pa.schema(
    {
        "i": pa.int64(),
        "o": pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())}),
        "x": pa.float64(),
    }
)


def rejected(decoded):
    return [(reject.ordinal, reject.error_code, reject.payload) for reject in decoded.rejects]


# ------------------------------------------------------------------ a reference, row by row


def reference(line: bytes, schema: pa.Schema):
    """The row that one line must give, or None if it is malformed."""
    judge = RecordJudge(wire_schema(schema))
    if judge.fault(line) is not None or judge.repeated_key(line) is not None:
        return None
    value = json.loads(line)
    return {field.name: project(value.get(field.name), field.type) for field in schema}


def project(value, data_type):
    if value is None:
        return None
    if pa.types.is_struct(data_type):
        return {field.name: project(value.get(field.name), field.type) for field in data_type}
    if pa.types.is_list(data_type):
        return [project(item, data_type.value_type) for item in value]
    return float(value) if pa.types.is_floating(data_type) else value


def check(block: bytes, schema: pa.Schema, decoder=None):
    """Holds the decoder against the reference; returns what it decoded."""
    decoded = (decoder or JsonLinesDecoder(schema)).decode(block)
    lines = [line.removesuffix(b"\r") for line in block.split(b"\n")]
    lines = [line for line in lines if line.strip(b" \t\r")]
    rows = [reference(line, schema) for line in lines]
    assert decoded.num_records == len(lines)
    assert decoded.ordinals.to_pylist() == [i for i, row in enumerate(rows) if row is not None]
    assert [(r.ordinal, r.payload) for r in decoded.rejects] == [
        (i, lines[i]) for i, row in enumerate(rows) if row is None
    ]
    if decoded.batch is not None:
        decoded.batch.validate(full=True)
        assert decoded.batch.schema == schema
        assert decoded.batch.to_pylist() == [row for row in rows if row is not None]
    return decoded


# ------------------------------------------------------------------ single cases

GOOD = b'{"i":1,"x":0.5,"s":"a","b":true,"u":7}'

MALFORMED = {
    b'{"i":1': "malformed_json",
    b"": None,
    b"null": "wrong_type",
    b"[1]": "wrong_type",
    b'"text"': "wrong_type",
    b"x": "malformed_json",
    b'{"i":1}{"i":2}': "malformed_json",
    b'{"i":1} {"i":2}': "malformed_json",
    b'{"i":1},': "malformed_json",
    b'{"i":1,}': "malformed_json",
    b"{'i':1}": "malformed_json",
    b'{"i":01}': "malformed_json",
    b'{"x":1.}': "malformed_json",
    b'{"x":.5}': "malformed_json",
    b'{"x":-.5}': "malformed_json",
    b'{"x":-01}': "malformed_json",
    b'{"x":+1}': "malformed_json",
    b'{"x":1.e5}': "malformed_json",
    b'{"x":1e}': "malformed_json",
    b'{"x":-}': "malformed_json",
    b'{"x":NaN}': "malformed_json",
    b'{"x":Infinity}': "malformed_json",
    b'{"x":-Infinity}': "malformed_json",
    b'{"x":nan}': "malformed_json",
    b'{"other":NaN}': "malformed_json",
    b'{"i":0x1F}': "malformed_json",
    b'{"i":1_0}': "malformed_json",
    b'{"x":1e999}': "number_out_of_range",
    b'{"other":1e999}': "number_out_of_range",
    b'{"i":9223372036854775808}': "number_out_of_range",
    b'{"i":123456789012345678901234567890}': "number_out_of_range",
    b'{"u":-1}': "number_out_of_range",
    b'{"u":18446744073709551616}': "number_out_of_range",
    b'{"i":1.5}': "wrong_type",
    b'{"i":1.0}': "wrong_type",
    b'{"i":"1"}': "wrong_type",
    b'{"i":true}': "wrong_type",
    b'{"i":{}}': "wrong_type",
    b'{"i":[]}': "wrong_type",
    b'{"x":"0.5"}': "wrong_type",
    b'{"s":1}': "wrong_type",
    b'{"s":{"a":1}}': "wrong_type",
    b'{"b":1}': "wrong_type",
    b'{"b":"true"}': "wrong_type",
    b'{"b":TRUE}': "malformed_json",
    b'{"b":truex}': "malformed_json",
    b'{"s":"\xff"}': "invalid_utf8",
    b'{"other":"\xff"}': "invalid_utf8",
    b'{"\xff":1}': "invalid_utf8",
    b'{"s":"\xed\xa0\x80"}': "invalid_utf8",
    b'{"s":"\\ud800"}': "malformed_json",
    b'{"s":"\\x"}': "malformed_json",
    b'{"s":"a\tb"}': "malformed_json",
    b'{"s":"a\x00b"}': "malformed_json",
    b'{"i":1}\x00': "malformed_json",
    b'{"i":1}\x00 {"i":1}': "malformed_json",
    b'{"i":1,"i":2}': "duplicate_key",
    b'{"i":1,"i":1}': "duplicate_key",
    b'{"i":1,"\\u0069":1}': "duplicate_key",
    b'{"other":' + b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH + b"}": "too_deep",
    b'{"other":' + b"[" * 2000 + b"]" * 2000 + b"}": "too_deep",
    b'{"other":' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}": "too_deep",
    b'{"other":' + b"[" * 100_000 + b"}": "too_deep",
    b'\xef\xbb\xbf{"i":1}': "malformed_json",
    b'/* c */ {"i":1}': "malformed_json",
}

ACCEPTED = [
    b"{}",
    b'  {"i" : 1 , "x" : 2 }\t',
    b'{"i":null,"x":null,"s":null,"b":null,"u":null}',
    b'{"x":-0}',
    b'{"x":-0.0,"i":-0}',
    b'{"x":1E5}',
    b'{"x":1e+5,"u":18446744073709551615}',
    b'{"x":123456789012345678901234567890}',
    b'{"i":-9223372036854775808}',
    b'{"s":"NaN Infinity","x":1}',
    b'{"s":"}{","x":1}',
    b'{"s":"\\"}\\\\","x":1}',
    b'{"s":"\\u00e9\\ud83d\\ude00\\n"}',
    '{"s":"é😀","ключ":"é"}'.encode(),
    b'{"s":"a.e5 1.e5"}',
    b'{"s":"' + b"[" * 200 + b'"}',
    b'{"other":1,"other":2,"i":3}',
    b'{"other":' + b"[" * (MAX_JSON_DEPTH - 1) + b"]" * (MAX_JSON_DEPTH - 1) + b"}",
    b'{"other":[' + b"[]," * 200 + b"[]]}",
    b'{"i":5,"other":{"a":[1,{"b":null}]}}',
]


@pytest.mark.parametrize("line", MALFORMED)
@pytest.mark.parametrize("copies", [1, 30])
def test_a_malformed_line_costs_only_itself(line, copies):
    block = b"\n".join([GOOD] * copies + [line] + [GOOD] * copies) + b"\n"
    decoded = check(block, FLAT)
    expected = [(copies, MALFORMED[line], line)] if line else []
    assert rejected(decoded) == expected


@pytest.mark.parametrize("line", ACCEPTED)
@pytest.mark.parametrize("copies", [0, 1, 30])
def test_valid_lines_are_read(line, copies):
    block = b"\n".join([GOOD] * copies + [line] * max(copies, 1)) + b"\n"
    assert not check(block, FLAT).rejects.records


def test_offsetting_lines_do_not_hide_each_other():
    lines = [
        b'{"i":1}{"i":2}',
        b'{"i":',
        b"3}",
        b'{"s":"}',
        b'{"}',
        b'{"o":{"a":1}',
        b'{"i":2}}',
        GOOD,
    ]
    decoded = check(b"\n".join(lines), FLAT)
    assert decoded.ordinals.to_pylist() == [7]


def test_line_ends_blank_lines_and_byte_order_mark():
    block = b'\xef\xbb\xbf{"i":1}\r\n\r\n  \t\n{"i":2}\n\n{"i":3}'
    decoded = decode_json_lines(block, FLAT)
    assert decoded.batch.column("i").to_pylist() == [1, 2, 3]
    assert decoded.ordinals.to_pylist() == [0, 1, 2]


def test_nothing_to_decode():
    for block in (b"", b"\n\n", b" \n\t\r\n"):
        decoded = decode_json_lines(block, FLAT)
        assert decoded.batch is None
        assert decoded.num_records == 0


def test_only_malformed_lines():
    decoded = decode_json_lines(b"a\nb\n", FLAT)
    assert decoded.batch is None
    assert [reject.ordinal for reject in decoded.rejects] == [0, 1]
    assert decoded.rejects.to_batch().column("payload").to_pylist() == [b"a", b"b"]


def test_nested_values_stay_nested():
    lines = [
        b'{"i":1,"o":{"a":2,"b":["x",null]},"x":1}',
        b'{"o":null}',
        b'{"o":{"b":[]}}',
        b'{"o":{"a":"x"}}',
        b'{"o":{"a":1,"a":2}}',
        b'{"o":{"b":[1]}}',
        b'{"o":[1]}',
        b'{"o":{"a":1.5}}',
    ]
    decoded = check(b"\n".join(lines * 40), NESTED)
    assert [code for _, code, _ in rejected(decoded)[:5]] == [
        "wrong_type", "duplicate_key", "wrong_type", "wrong_type", "wrong_type",
    ]  # fmt: skip
    assert (
        decoded.rejects.records[0].error_message == "column 'o.a': expected int64, got string \"x\""
    )


def test_types_that_json_lacks_are_read_from_strings():
    schema = pa.schema(
        {
            "t": pa.timestamp("us", "UTC"),
            "d": pa.date32(),
            "m": pa.decimal128(10, 2),
            "f": pa.float32(),
            "k": pa.int8(),
            "c": pa.dictionary(pa.int32(), pa.string()),
            "y": pa.binary(),
        }
    )
    good = (
        b'{"t":"2024-05-01T10:00:00Z","d":"2024-05-01","m":"12.50",'
        b'"f":0.5,"k":5,"c":"red","y":"/w=="}'
    )
    bad = [
        good.replace(b"10:00", b"25:00"),
        good.replace(b"-05-01", b"-13-01"),
        good.replace(b"12.50", b"12.505"),
        good.replace(b"0.5", b"1e39"),
        good.replace(b":5,", b":300,"),
        good.replace(b"/w==", b"?"),
    ]
    decoded = decode_json_lines(b"\n".join([good] * 20 + bad + [good]), schema)
    assert decoded.batch.schema == schema
    assert decoded.batch.num_rows == 21
    row = decoded.batch.to_pylist()[-1]
    assert (str(row["m"]), row["k"], row["c"], row["y"]) == ("12.50", 5, "red", b"\xff")
    codes = [code for _, code, _ in rejected(decoded)]
    assert codes == ["wrong_type"] * 3 + ["number_out_of_range"] * 2 + ["wrong_type"]
    assert decoded.rejects.records[4].error_message == "column 'k': expected int8, got 300"


def test_schemas_that_cannot_be_read():
    with pytest.raises(ValueError, match="expected a schema with at least one column"):
        JsonLinesDecoder(pa.schema([]))
    with pytest.raises(
        TypeError, match=r"column 'a': expected a type that JSON can hold, got duration"
    ):
        JsonLinesDecoder(pa.schema({"a": pa.duration("s")}))
    with pytest.raises(TypeError, match="inside lists and structs"):
        JsonLinesDecoder(pa.schema({"a": pa.list_(pa.timestamp("s"))}))


def test_a_line_of_ten_megabytes():
    line = b'{"i":1,"s":"' + b"x" * 10_000_000 + b'"}'
    decoded = decode_json_lines(b"\n".join([GOOD, line, GOOD, line[:-1], GOOD]), FLAT)
    assert decoded.ordinals.to_pylist() == [0, 1, 2, 4]


# ------------------------------------------------------------------ properties

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["NaN", "}", "{", '"', "\\", "1.e5", ":", ",", "é"]),
)
values = st.recursive(
    scalars,
    lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=2), s, max_size=3),
    max_leaves=5,
)
typed = {
    "i": st.one_of(st.integers(-(2**63), 2**63 - 1), st.none()),
    "x": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 5), st.none()),
    "s": st.one_of(st.text(max_size=5), st.none()),
    "b": st.one_of(st.booleans(), st.none()),
    "u": st.integers(0, 2**64 - 1),
}
good_rows = st.fixed_dictionaries(typed)
odd_rows = st.dictionaries(st.sampled_from([*FLAT.names, "other", "é"]), values, max_size=6)
spaced = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :\t")])


@st.composite
def json_blocks(draw):
    """Blocks of mostly uniform lines, with odd, cut, joined and mangled lines among them."""
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        separators, ascii_only = draw(spaced), draw(st.booleans())
        rows = draw(st.lists(good_rows, min_size=1, max_size=4)) * draw(st.integers(1, 8))
        lines += [
            json.dumps(row, separators=separators, ensure_ascii=ascii_only).encode() for row in rows
        ]
        lines += [json.dumps(row).encode() for row in draw(st.lists(odd_rows, max_size=2))]
    for _ in range(draw(st.integers(0, 4))):
        if lines:
            at = draw(st.integers(0, len(lines) - 1))
            lines[at] = mangle(draw, lines[at])
    return draw(st.sampled_from([b"\n", b"\r\n"])).join(lines)


def mangle(draw, line):
    at = draw(st.integers(0, len(line)))
    inserted = draw(
        st.sampled_from(
            [
                b"",
                b"\n",
                b'"',
                b"{",
                b"}",
                b"}{",
                b",",
                b"\xff",
                b"\0",
                b"NaN",
                b"0",
                b"-",
                b".",
                b"e",
                b"\\",
                b" ",
                b"null",
                b"[",
                b"\r",
                b"1",
            ]
        )
    )
    return line[:at] + inserted + line[at + draw(st.integers(0, 3)) :]


@settings(max_examples=150, deadline=None)
@given(json_blocks())
def test_every_line_is_judged_as_alone(block):
    check(block, FLAT)


@settings(max_examples=100, deadline=None)
@given(json_blocks())
def test_nested_and_partial_schemas(block):
    check(block, pa.schema({"i": pa.int64(), "s": pa.string()}))
    check(block, pa.schema({"other": pa.struct({"": pa.int64()}), "b": pa.bool_()}))


@settings(max_examples=100, deadline=None)
@given(st.lists(good_rows, min_size=1, max_size=20))
def test_what_is_encoded_is_decoded(rows):
    block = b"".join(orjson.dumps(row) + b"\n" for row in rows * 3)
    decoded = decode_json_lines(block, FLAT)
    assert decoded.batch.to_pylist() == rows * 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=20, max_size=40))
def test_floats_are_read_to_the_last_bit(numbers):
    block = b"".join(b'{"x":%b}\n' % repr(x).encode() for x in numbers)
    read = decode_json_lines(block, pa.schema({"x": pa.float64()})).batch.column("x").to_pylist()
    assert [(x, math.copysign(1, x)) for x in read] == [(x, math.copysign(1, x)) for x in numbers]


# ------------------------------------------------------------------ schemas


def test_inferred_types():
    first = b'{"i":1,"m":1,"u":18446744073709551615,"h":1,"s":"2024-01-01","b":true,"n":null,'
    sample = (
        b"""%b"o":{"a":1},"l":[1,null]}
{"i":2,"m":1.5,"u":1,"h":-1,"o":{"b":"x"},"l":[],"e":[],"z":{},"y":1}
broken
{"h":18446744073709551615,"y":"a","late":[{"k":[1.5]}]}
"""
        % first
    )
    assert infer_json_schema(sample) == pa.schema(
        {
            "i": pa.int64(),
            "m": pa.float64(),
            "u": pa.uint64(),
            "h": pa.float64(),
            "s": pa.string(),
            "b": pa.bool_(),
            "n": pa.null(),
            "o": pa.struct({"a": pa.int64(), "b": pa.string()}),
            "l": pa.list_(pa.int64()),
            "e": pa.list_(pa.null()),
            "y": pa.string(),
            "late": pa.list_(pa.struct({"k": pa.list_(pa.float64())})),
        }
    )


@pytest.mark.parametrize(
    ("values", "expected", "codes"),
    [
        (["1", "2", '"x"'], pa.int64(), ["wrong_type"]),
        (["1", "2.5", "true", "[1]"], pa.float64(), ["wrong_type", "wrong_type"]),
        (['"a"', '"b"', "1"], pa.string(), ["wrong_type"]),
        (["1", '"a"'], pa.string(), ["wrong_type"]),
        (["[1]", "[2]", "{}", "3"], pa.list_(pa.int64()), ["wrong_type", "wrong_type"]),
        (["1", "2", "123456789012345678901234567890"], pa.int64(), ["number_out_of_range"]),
        (["0.5", "2", "123456789012345678901234567890"], pa.float64(), []),
        (["null", "true"], pa.bool_(), []),
    ],
)
def test_most_values_say_the_type_and_the_others_are_malformed(values, expected, codes):
    block = "".join(f'{{"x":{value},"y":1}}\n' for value in values).encode()
    assert infer_json_schema(block).field("x").type == expected
    decoded = decode_json_lines(block)
    assert [reject.error_code for reject in decoded.rejects] == codes


def test_deep_records_say_nothing_of_the_schema_and_what_is_allowed_can_be_sent_on():
    def nested(depth):
        return b'{"x":' + b'{"a":' * (depth - 1) + b"1" + b"}" * (depth - 1) + b"}\n"

    block = nested(MAX_JSON_DEPTH + 1) + nested(900) + nested(1000) + nested(5000)
    with pytest.raises(ValueError, match="got none in 4 lines"):
        infer_json_schema(block)
    decoded = decode_json_lines(block + nested(MAX_JSON_DEPTH))
    assert [reject.error_code for reject in decoded.rejects] == ["too_deep"] * 4
    coder = RecordBatchCoder()
    assert coder.decode(coder.encode(decoded.batch)).equals(decoded.batch)


def test_no_schema_without_records():
    with pytest.raises(
        ValueError, match="expected at least one JSON object with members, got none in 2 lines"
    ):
        infer_json_schema(b"[1]\n{}\n")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=2), scalars, min_size=1, max_size=4),
        min_size=1,
        max_size=6,
    )
)
def test_an_inferred_schema_reads_unmixed_columns(rows):
    block = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    check(block, settled(infer_json_schema(block)))


def test_the_types_that_json_has_itself():
    schema = pa.schema(
        {
            "a": pa.int8(),
            "b": pa.float32(),
            "c": pa.dictionary(pa.int8(), pa.string()),
            "d": pa.date32(),
        }
    )
    assert wire_schema(schema).types == [pa.int64(), pa.float64(), pa.string(), pa.string()]
    with pytest.raises(
        TypeError, match=r"column 'a\.b\[\]': expected a type that JSON can hold, got duration"
    ):
        wire_schema(pa.schema({"a": pa.struct({"b": pa.list_(pa.duration("s"))})}))
