import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_by_one import check_one_by_one, codes

from scoreline.transforms.formats.messages import MessageDecoder, MessageReading, payload_columns

TEXT = MessageReading("raw", pa.schema({"review": pa.string()}))
BYTES = MessageReading("raw", pa.schema([]))


def test_raw_text():
    decoded = check_one_by_one(TEXT, [b"a\nb", "é".encode(), b"\xff", b"", b" ", b"\xc3"])
    assert decoded.batch.to_pydict() == {"review": ["a\nb", "é", " "]}
    assert codes(decoded) == {2: "invalid_utf8", 3: "empty_message", 5: "invalid_utf8"}


def test_raw_bytes_are_never_malformed():
    decoded = check_one_by_one(BYTES, [b"\xff\0", b"", b"x"])
    assert decoded.batch.to_pydict() == {"payload": [b"\xff\0", b"", b"x"]}
    named = MessageReading("raw", pa.schema({"image": pa.binary()}))
    assert MessageDecoder(named).decode([b""]).batch.to_pydict() == {"image": [b""]}


@given(st.lists(st.binary(max_size=5) | st.just("é".encode()), min_size=1, max_size=12))
def test_raw_messages_are_judged_as_alone(payloads):
    check_one_by_one(TEXT, payloads)
    check_one_by_one(BYTES, payloads)


@pytest.mark.parametrize(
    "schema", [{"x": pa.int64()}, {"a": pa.string(), "b": pa.string()}, {"x": pa.large_string()}]
)
def test_raw_messages_give_one_column(schema):
    with pytest.raises(ValueError, match="expected one column of strings or bytes, got"):
        MessageDecoder(MessageReading("raw", pa.schema(schema)))


def test_columns_are_known_beforehand_and_nullable():
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
    reading = MessageReading("json", schema)
    assert payload_columns(reading) == pa.schema({"x": pa.int64()})
    assert MessageDecoder(reading).schema == payload_columns(reading)
    assert payload_columns(BYTES) == pa.schema({"payload": pa.binary()})


def test_no_messages_are_no_batch():
    for reading in (TEXT, BYTES, MessageReading("json", pa.schema({"x": pa.int64()}))):
        decoded = MessageDecoder(reading).decode([])
        assert decoded.batch is None
        assert decoded.num_records == 0


def test_a_reading_survives_the_way_to_a_worker():
    reading = MessageReading("json", pa.schema({"x": pa.string()}), frozenset({"x"}))
    assert pickle.loads(pickle.dumps(reading)) == reading
