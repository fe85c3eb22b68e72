import json

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_by_one import check_one_by_one, codes

from scoreline.transforms.formats.json_messages import JsonMessages, _Quotes
from scoreline.transforms.formats.messages import MessageDecoder, MessageReading

FLAT = pa.schema({"i": pa.int64(), "x": pa.float64(), "s": pa.string(), "b": pa.bool_()})
READING = MessageReading("json", FLAT)
GOOD = b'{"i":1,"x":0.5,"s":"a","b":true}'
ROW = {"i": 1, "x": 0.5, "s": "a", "b": True}

ONE_RECORD = [
    b'{"i":1,"x":0.5,"s":"a","b":true}\n',
    b'{"i":1,"x":0.5,"s":"a","b":true}\r\n',
    b'\n\n{"i":1,"x":0.5,"s":"a","b":true}\n\n',
    b'  {"i":1,"x":0.5,"s":"a","b":true}',
    b'{\n  "i": 1,\n  "x": 0.5,\n  "s": "a",\n  "b": true\n}',
    b'{\r\n\t"i": 1,\r\n\t"x": 0.5,\r\n\t"s": "a",\r\n\t"b": true\r\n}\r\n',
    b'\xef\xbb\xbf{"i":1,"x":0.5,"s":"a","b":true}',
    b'\xef\xbb\xbf\n{"i":1,"x":0.5,"s":"a","b":true}',
    b'{"other":{"i":[\n2,\n3]},"i":1,"x":0.5,"s":"\\u0061","b":true}',
]
MALFORMED = {
    b"": "empty_message",
    b" ": "empty_message",
    b"\n": "empty_message",
    b" \t\r\n\n": "empty_message",
    b"\xef\xbb\xbf": "empty_message",
    b"\xef\xbb\xbf \n": "empty_message",
    b"not json": "malformed_json",
    b"\x00": "malformed_json",
    b"\x0b": "malformed_json",
    b'{"i":1}{"i":2}': "malformed_json",
    b'{"i":1}\n{"i":2}': "malformed_json",
    b'{"i":1}\r{"i":2}': "malformed_json",
    b'{"i":1}\n{"i":2}\n': "malformed_json",
    b'{"i":1\n': "malformed_json",
    b'"i":1}': "malformed_json",
    b'{"s":"a\nb"}': "malformed_json",
    b'{"s":"a\rb"}': "malformed_json",
    b'{"i":1\n2}': "malformed_json",
    b'{"b":tr\nue}': "malformed_json",
    b'{"x":NaN}': "malformed_json",
    b'{"i":1}\x00': "malformed_json",
    b'{"s":"\xff"}': "invalid_utf8",
    b"\xff\xfe{\x00}\x00": "invalid_utf8",
    b'\xef\xbb{"i":1}': "invalid_utf8",
    b'\xef\xbb\xbf\xef\xbb\xbf{"i":1}': "malformed_json",
    b"[1]": "wrong_type",
    b"null": "wrong_type",
    b'{"i":"1"}': "wrong_type",
    b'{"s":1}': "wrong_type",
    b'{"i":9223372036854775808}': "number_out_of_range",
    b'{"i":1,"i":2}': "duplicate_key",
    b'{"o":' * 61 + b"1" + b"}" * 61: "too_deep",
}


@pytest.mark.parametrize("payload", ONE_RECORD)
def test_a_message_is_one_record_however_it_is_laid_out(payload):
    decoded = check_one_by_one(READING, [GOOD, payload, GOOD])
    assert decoded.batch.to_pylist() == [ROW] * 3


@pytest.mark.parametrize(("payload", "code"), MALFORMED.items())
def test_a_malformed_message_spoils_no_neighbour(payload, code):
    decoded = check_one_by_one(READING, [GOOD, payload, GOOD])
    assert codes(decoded) == {1: code}
    assert decoded.ordinals.to_pylist() == [0, 2]
    many = check_one_by_one(READING, [GOOD] * 20 + [payload] + [GOOD] * 20)
    assert codes(many) == {20: code}


def test_all_at_once():
    payloads = [*MALFORMED, *ONE_RECORD] * 2
    decoded = check_one_by_one(READING, payloads)
    assert decoded.batch.num_rows == 2 * len(ONE_RECORD)
    assert [one.error_code for one in decoded.rejects] == list(MALFORMED.values()) * 2
    only_bad = check_one_by_one(READING, list(MALFORMED))
    assert only_bad.batch is None


def test_messages_of_many_megabytes():
    large = orjson.dumps({"i": 2, "s": "x" * 9_000_000})
    pretty = b'{\n"i": 3,\n"s": "%b"\n}' % (b"y" * 5_000_000)
    decoded = MessageDecoder(READING).decode([GOOD, large, b"x" * 9_000_000, pretty, GOOD])
    assert decoded.batch.column("i").to_pylist() == [1, 2, 3, 1]
    assert len(decoded.batch.column("s")[1].as_py()) == 9_000_000
    assert codes(decoded) == {2: "malformed_json"}
    assert len(decoded.rejects.records[0].payload) == 9_000_000


# ------------------------------------------------------------------ columns of any value

UNTYPED = MessageReading(
    "json",
    pa.schema({"id": pa.string(), "i": pa.int64(), "any": pa.string(), "s": pa.string()}),
    frozenset({"id", "any"}),
)
VALUES = {
    b'"a"': "a",
    b'"\\u00e9\\n"': "é\n",
    b'""': "",
    b"null": None,
    b"7": "7",
    b"-0": "-0",
    b"0.10": "0.10",
    b"1E+5": "1E+5",
    b"123456789012345678901234567890": "123456789012345678901234567890",
    b"true": "true",
    b"false": "false",
    b"{}": "{}",
    b"[]": "[]",
    b'{"a": [1, "x", "\xc3\xa9"], "id": 5}': '{"a": [1, "x", "é"], "id": 5}',
    b'["null", null]': '["null", null]',
    b'"5"': "5",
    b'"{\\"id\\": 5, \\"any\\": 6}"': '{"id": 5, "any": 6}',
}


@pytest.mark.parametrize(("value", "text"), VALUES.items())
@pytest.mark.parametrize("gap", [b"", b" ", b"\n  "])
def test_a_value_that_is_no_string_comes_as_its_text(value, text, gap):
    payload = b'{%b"i"%b:%b1,%b"id"%b:%b%b%b}' % (gap, gap, gap, gap, gap, gap, value, gap)
    for decoder in (MessageDecoder(UNTYPED), warm()):
        decoded = check_one_by_one(UNTYPED, [payload] * 3, decoder)
        assert decoded.batch.column("id").to_pylist() == [text] * 3
        mixed = check_one_by_one(UNTYPED, [b'{"id":"x"}', payload, b'{"any":5}', b"{"], decoder)
        assert mixed.batch.column("id").to_pylist() == ["x", text, None]
        assert mixed.batch.column("any").to_pylist() == [None, None, "5"]


STILL_MALFORMED = {
    b'{"id":5,"i":"x"}': "wrong_type",
    b'{"id":5,"s":5}': "wrong_type",
    b'{"id":NaN}': "malformed_json",
    b'{"id":01}': "malformed_json",
    b'{"id":5,}': "malformed_json",
    b'{"id":5': "malformed_json",
    b'{"id":5}{"id":6}': "malformed_json",
    b'"id":5}': "malformed_json",
    b'["id", 5]': "wrong_type",
    b'{"id":1e999}': "number_out_of_range",
    b'{"id":5,"i":123456789012345678901}': "number_out_of_range",
    b'{"id":5,"id":6}': "duplicate_key",
    b'{"id":"5","id":6}': "duplicate_key",
    b'{"id":6,"id":"5"}': "duplicate_key",
    b'{"id":5,"i":1,"i":2}': "duplicate_key",
    b'{"id":"\xff","any":5}': "invalid_utf8",
    b'{"id":' + b"[" * 61 + b"]" * 61 + b"}": "too_deep",
}


@pytest.mark.parametrize(("payload", "code"), STILL_MALFORMED.items())
def test_quotes_make_no_malformed_message_good(payload, code):
    for decoder in (MessageDecoder(UNTYPED), warm()):
        decoded = check_one_by_one(UNTYPED, [b'{"id":1}', payload, b'{"id":2}'], decoder)
        assert codes(decoded) == {1: code}
        assert decoded.batch.column("id").to_pylist() == ["1", "2"]


def test_only_what_is_a_member_of_the_message_itself_is_put_in_quotes():
    schema = pa.schema({"id": pa.string(), "o": pa.struct({"id": pa.int64()}), "t": pa.string()})
    reading = MessageReading("json", schema, frozenset({"id"}))
    payload = b'{"o":{"id":5},"t":"{, \\"id\\":5,","x \\"id":5,"id":{"id":6}}'
    payloads = [payload, b'{"id":7}', b'{"t":"{\\"id\\":5}","id":7}']
    decoder = MessageDecoder(reading)
    for _ in range(3):
        decoded = check_one_by_one(reading, payloads, decoder)
        assert decoded.batch.to_pylist() == [
            {"id": '{"id":6}', "o": {"id": 5}, "t": '{, "id":5,'},
            {"id": "7", "o": None, "t": None},
            {"id": "7", "o": None, "t": '{"id":5}'},
        ]
    texts = pa.schema({"id": pa.string(), "o": pa.struct({"id": pa.string()})})
    reading = MessageReading("json", texts, frozenset({"id"}))
    decoder = warm(reading)
    decoded = check_one_by_one(reading, [b'{"o":{"id":5},"id":1}', b"[]"], decoder)
    assert codes(decoded) == {0: "wrong_type", 1: "wrong_type"}


def test_names_that_need_escapes():
    names = ["a.b", 'say "a"', "é", "(", "a\\b"]
    schema = pa.schema({name: pa.string() for name in names})
    reading = MessageReading("json", schema, frozenset(names))
    payload = orjson.dumps({name: index for index, name in enumerate(names)})
    escaped = json.dumps({name: index for index, name in enumerate(names)}).encode()
    other = b'{"a_b":true,"\\u0061.b":5}'
    decoder = MessageDecoder(reading)
    for _ in range(3):
        decoded = check_one_by_one(reading, [payload, escaped, payload, payload, other], decoder)
        row = {name: str(index) for index, name in enumerate(names)}
        last = {**dict.fromkeys(names), "a.b": "5"}
        assert decoded.batch.to_pylist() == [row] * 4 + [last]


def warm(reading=UNTYPED):
    """A decoder that has learnt that most messages need quotes."""
    decoder = MessageDecoder(reading)
    decoder.decode([b'{"id":1}', b'{"id":2}'])
    assert decoder._format._quote_first
    return decoder


def test_quotes_come_first_as_long_as_most_messages_need_them(monkeypatch):
    decoder = warm()
    calls = []
    of_lines = decoder._format._lines.decode
    monkeypatch.setattr(
        decoder._format._lines, "decode", lambda block: calls.append(block) or of_lines(block)
    )
    assert decoder.decode([b'{"id":1}', b'{"id":"2"}', b'{"id":3}']).batch.num_rows == 3
    assert [block for block in calls if block] == [b'{"id":"1"}\n{"id":"2"}\n{"id":"3"}\n']
    assert decoder.decode([b'{"id":"1"}', b'{"id":"2"}']).batch.num_rows == 2
    assert not decoder._format._quote_first


_scalars = st.sampled_from(list(VALUES)) | st.integers().map(lambda i: str(i).encode())
_gaps = st.sampled_from([b"", b"", b" ", b"\n", b"\r\n", b"\t"])
_keys = st.sampled_from([b'"id"', b'"any"', b'"i"', b'"s"', b'"x"', b'"\\u0069d"'])
_damage = st.sampled_from(
    [b"", b"\n", b'"', b"{", b"}", b"}{", b",", b"\xff", b"\0", b"NaN", b"0", b"-", b"\\", b"\r"]
)


@st.composite
def messages(draw):
    members = draw(st.lists(st.tuples(_keys, _gaps, _scalars, _gaps), max_size=4))
    text = b"{" + b",".join(b"%b%b:%b%b" % member for member in members) + b"}"
    text = draw(_gaps) + text + draw(_gaps)
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(_damage) + text[at + draw(st.integers(0, 2)) :]
    return text


@settings(max_examples=150)
@given(st.lists(st.lists(messages(), min_size=1, max_size=30), min_size=1, max_size=3))
def test_every_message_is_judged_as_alone(batches):
    decoder = MessageDecoder(UNTYPED)
    for batch in batches:
        check_one_by_one(UNTYPED, batch, decoder)
        check_one_by_one(MessageReading("json", FLAT), batch)


_any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "a", ""]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.lists(_any_json, min_size=1, max_size=20), st.sampled_from([None, 2]))
def test_the_text_of_a_value_is_that_value(values, indent):
    payloads = [json.dumps({"i": 1, "id": value}, indent=indent).encode() for value in values]
    texts = check_one_by_one(UNTYPED, payloads).batch.column("id").to_pylist()
    for value, text in zip(values, texts, strict=True):
        assert text == value if isinstance(value, str | None) else json.loads(text) == value


def test_quotes_leave_alone_what_needs_none():
    quotes = _Quotes(frozenset({"id"}))
    for record in (b'{"id":"a"}', b'{"id":null}', b"{}", b"[5]", b"5", b"{", b'{"x":{"id":5}}'):
        assert quotes.put_in(record) is None


def test_untyped_columns_are_columns_of_strings():
    with pytest.raises(ValueError, match=r"expected columns of strings, got \['i', 'y'\]"):
        JsonMessages(FLAT, frozenset({"i", "s", "y"}))
