import datetime as dt
import io
import json

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_by_one import check_one_by_one, codes

from scoreline.transforms.formats.avro_messages import avro_columns
from scoreline.transforms.formats.messages import MessageDecoder, MessageReading

AVRO = {
    "type": "record",
    "name": "Tx",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "a", "type": ["null", "double"], "default": None},
        {"name": "b", "type": ["null", "double"]},
        {"name": "x", "type": "double"},
        {"name": "n", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["u", "v"]}},
        {"name": "again", "type": "Kind"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}
TEXT = json.dumps(AVRO)
READING = MessageReading("avro", avro_columns(TEXT), avro_schema=TEXT)
PARSED = fastavro.parse_schema(AVRO)
AT = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)


def row(**values):
    plain = {"id": "i", "a": 1.5, "b": 2.5, "x": 0.5, "n": 7, "at": AT}
    return {**plain, "kind": "u", "again": "v", "tags": ["t"], **values}


def datum(**values):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, PARSED, row(**values))
    return stream.getvalue()


def test_messages_are_bare_data():
    rows = [row(n=1), row(n=2, a=None), row(n=3, tags=[]), row(n=4, id="é")]
    decoded = check_one_by_one(READING, [datum(**one) for one in rows])
    assert decoded.batch.to_pylist() == rows


GOOD = datum()
MALFORMED = [
    GOOD[:-1],
    GOOD[:5],
    GOOD + b"\0",
    GOOD * 2,
    GOOD + GOOD[:7],
    b"\0",
    b"\xff" * 20,
    b"not avro at all",
    b"\x05" + GOOD[1:],  # a string of minus three bytes
    b"\x02\xff" + GOOD[2:],  # a string that is no UTF-8
    b'{"id": "json"}',
    b"Obj\x01",
]


@pytest.mark.parametrize("payload", MALFORMED)
def test_a_malformed_message_spoils_no_neighbour(payload):
    decoded = check_one_by_one(READING, [GOOD, payload, datum(a=None), payload, GOOD])
    assert codes(decoded) == {1: "malformed_avro", 3: "malformed_avro"}
    assert decoded.batch.num_rows == 3
    for reject in decoded.rejects:
        assert reject.error_message.startswith("expected one Avro record, got ")


def test_bytes_that_are_cut_off_here_and_left_over_there_do_not_make_up_for_each_other():
    first, second = datum(tags=["a" * 20]), datum(tags=["b" * 20])
    both = first + second
    for cut in range(1, len(both)):
        if cut != len(first):
            decoded = MessageDecoder(READING).decode([both[:cut], both[cut:]])
            assert decoded.batch is None


def test_what_is_wrong_is_said():
    decoded = MessageDecoder(READING).decode([GOOD[:-1], GOOD + b"\0\0", b""])
    first, second, third = decoded.rejects
    assert first.error_message == "expected one Avro record, got one that is cut short"
    assert first.error_class == "EOFError"
    assert second.error_message == "expected one Avro record, got one with 2 bytes after it"
    assert third.error_code == "empty_message"


def test_some_columns_in_other_types():
    schema = pa.schema({"n": pa.int8(), "x": pa.float32(), "id": pa.string()})
    reading = MessageReading("avro", schema, avro_schema=TEXT)
    decoded = check_one_by_one(reading, [datum(n=1), datum(n=1000), datum(n=3)])
    assert decoded.batch.to_pylist() == [
        {"n": 1, "x": 0.5, "id": "i"},
        {"n": 3, "x": 0.5, "id": "i"},
    ]
    assert codes(decoded) == {1: "wrong_type"}
    assert decoded.rejects.records[0].error_message == "column 'n': expected int8, got 1000"


_rows = st.fixed_dictionaries(
    {
        "id": st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
        "a": st.none() | st.floats(allow_nan=False),
        "b": st.none() | st.floats(allow_nan=False),
        "n": st.integers(-(2**63), 2**63 - 1),
        "kind": st.sampled_from("uv"),
        "tags": st.lists(st.sampled_from(["", "x"]), max_size=2),
    }
)


@st.composite
def payloads(draw):
    data = datum(**draw(_rows))
    if draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, len(data)))
        inserted = draw(st.binary(max_size=2))
        data = data[:at] + inserted + data[at + draw(st.integers(0, 2)) :]
    return data


@settings(max_examples=100)
@given(st.lists(payloads(), min_size=1, max_size=12))
def test_every_message_is_judged_as_alone(batch):
    check_one_by_one(READING, batch)


@settings(max_examples=50)
@given(st.lists(_rows, min_size=1, max_size=12))
def test_what_is_encoded_is_decoded(rows):
    decoded = MessageDecoder(READING).decode([datum(**one) for one in rows])
    assert decoded.batch.to_pylist() == [row(**one) for one in rows]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected one as JSON"),
        ('"string"', "expected that of a record"),
        ('{"type": "record", "name": "R"}', "expected a record with at least one field"),
        ('{"type": "record", "name": "R", "fields": [{"name": "x"}]}', "expected one as JSON"),
        ('{"type": "array", "items": "long"}', "expected that of a record"),
        ('{"type": "nonsense"}', "expected one as JSON"),
        ("5", "expected one as JSON"),
    ],
)
def test_what_is_no_schema_of_records_is_an_error(text, message):
    with pytest.raises(ValueError, match=f"avro schema: {message}"):
        avro_columns(text)


def test_wanted_columns_must_be_there_and_of_a_kind():
    def wanted(schema):
        return MessageDecoder(MessageReading("avro", pa.schema(schema), avro_schema=TEXT))

    with pytest.raises(ValueError, match=r"expected the fields \['y'\], got \['id', 'a'"):
        wanted({"y": pa.int64()})
    with pytest.raises(TypeError, match="column 'n': expected a type that can be cast"):
        wanted({"n": pa.list_(pa.int64())})
    with pytest.raises(ValueError, match="expected the writer's schema, got none"):
        MessageDecoder(MessageReading("avro", pa.schema({"x": pa.float64()})))


def test_a_time_that_does_not_fit_is_malformed_even_if_python_cannot_spell_it():
    schema = pa.schema({"at": pa.timestamp("ns", "UTC")})
    reading = MessageReading("avro", schema, avro_schema=TEXT)
    at = PARSED["fields"][5]["name"]
    plain = {
        **AVRO,
        "fields": [{**f, "type": "long"} if f["name"] == at else f for f in AVRO["fields"]],
    }
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(plain), row(at=2**62))
    decoded = check_one_by_one(reading, [GOOD, stream.getvalue()])
    assert decoded.batch.num_rows == 1
    [reject] = decoded.rejects
    assert reject.error_code == "wrong_type"
    assert reject.error_message.endswith("got a time that no calendar has")
