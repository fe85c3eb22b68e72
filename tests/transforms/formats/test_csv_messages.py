import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_by_one import check_one_by_one

from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.formats.messages import MessageDecoder, MessageReading

SCHEMA = pa.schema({"n": pa.int64(), "s": pa.string()})
DIALECT = CsvDialect(names=("s", "n"))
READING = MessageReading("csv", SCHEMA, dialect=DIALECT)

GOOD = {
    b"a,1": {"n": 1, "s": "a"},
    b"a,1\n": {"n": 1, "s": "a"},
    b"a,1\r\n": {"n": 1, "s": "a"},
    b"a,1\n\n\n": {"n": 1, "s": "a"},
    b"\na,1": {"n": 1, "s": "a"},
    b"\xef\xbb\xbfa,1": {"n": 1, "s": "a"},
    b",": {"n": None, "s": None},
    b'"",2': {"n": 2, "s": ""},
    b'"a, ""b""",-3\n': {"n": -3, "s": 'a, "b"'},
    b'"a\nb",4': {"n": 4, "s": "a\nb"},
    b'"a\r\n\r\nb",4\r\n': {"n": 4, "s": "a\r\n\r\nb"},
    b" ,5": {"n": 5, "s": " "},
}
MALFORMED = {
    b"": "empty_message",
    b"\n": "empty_message",
    b"\r\n\n": "empty_message",
    b"\xef\xbb\xbf\n": "empty_message",
    b"a": "wrong_field_count",
    b" ": "wrong_field_count",
    b"a,1,2": "wrong_field_count",
    b"a,x": "wrong_type",
    b"a,1.5": "wrong_type",
    b"a,9223372036854775808": "number_out_of_range",
    b"a,1\nb,2": "malformed_csv",
    b"a,1\nb,2\n": "malformed_csv",
    b'"a,1': "malformed_csv",
    b'"a\nb,1': "malformed_csv",
    b'a,1\n"': "malformed_csv",
    b"a\r,1": "malformed_csv",
    b"\xff,1": "invalid_utf8",
}


@pytest.mark.parametrize("multiline", [False, True])
def test_every_message_is_one_record(multiline):
    dialect = CsvDialect(names=("s", "n"), newlines_in_values=multiline)
    reading = MessageReading("csv", SCHEMA, dialect=dialect)
    payloads = [*GOOD, *MALFORMED] * 2
    decoded = check_one_by_one(reading, payloads)
    assert decoded.batch.to_pylist() == list(GOOD.values()) * 2
    assert [one.error_code for one in decoded.rejects] == list(MALFORMED.values()) * 2


def test_several_records_are_counted():
    decoded = MessageDecoder(READING).decode([b"a,1\nb,2\nc,3"])
    [reject] = decoded.rejects
    assert reject.error_message == "expected one record in a message, got 3"


def test_a_dialect_of_its_own():
    dialect = CsvDialect(delimiter=";", quote="'", names=("s", "n"), null_values=("-",))
    reading = MessageReading("csv", SCHEMA, dialect=dialect)
    decoded = check_one_by_one(reading, [b"'a;b';1", b"-;2", b"a,b;3"])
    assert decoded.batch.to_pylist() == [
        {"n": 1, "s": "a;b"},
        {"n": 2, "s": None},
        {"n": 3, "s": "a,b"},
    ]


def test_a_column_that_the_messages_lack_is_an_error():
    with pytest.raises(ValueError, match=r"expected columns \['x'\] in the source"):
        MessageDecoder(MessageReading("csv", pa.schema({"x": pa.int64()}), dialect=DIALECT))


_cells = st.sampled_from(
    [b"", b"a", b"1", b"-5", b" 2 ", b"1.5", b'"q"', b'"a\nb"', b'"', b"\r", b"\xff", b"NA", b"\n"]
)
_lines = st.lists(_cells, min_size=1, max_size=3).map(b",".join)
_messages = st.lists(_lines, min_size=1, max_size=2).map(b"\n".join)


@settings(max_examples=150)
@given(st.lists(_messages, min_size=1, max_size=20), st.booleans())
def test_every_message_is_judged_as_alone(payloads, multiline):
    dialect = CsvDialect(names=("s", "n"), newlines_in_values=multiline)
    check_one_by_one(MessageReading("csv", SCHEMA, dialect=dialect), payloads)
