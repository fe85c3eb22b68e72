from datetime import UTC, datetime, timedelta

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from in_process import has_batch_coder, in_process, row_counts

from scoreline.models.reserved import user_columns
from scoreline.transforms.dead_letters import DEAD_LETTER_SCHEMA
from scoreline.transforms.decode import Decode, MessageColumns, decode
from scoreline.transforms.formats.messages import MessageDecoder, MessageReading
from scoreline.transforms.identity import event_times, positions, row_ids, source_of
from scoreline.transforms.messages import Message, message_batch

SOURCE = "projects/p/subscriptions/s"
AT = datetime(2024, 5, 1, 12, 0, 0, 5, tzinfo=UTC)
READING = MessageReading("json", pa.schema({"x": pa.int64(), "s": pa.string()}))


def sent(*payloads, attributes=()):
    return message_batch(
        [
            Message(payload, f"id{index}", AT + timedelta(seconds=index), attributes)
            for index, payload in enumerate(payloads)
        ],
        SOURCE,
    )


def decoded(batch, columns=None, run_id="", reading=READING):
    return decode(batch, MessageDecoder(reading), columns, run_id)


def test_rows_carry_the_identity_of_their_messages():
    good, dead = decoded(sent(b'{"x":1,"s":"a"}', b'{"x":2}'))
    assert dead is None
    assert user_columns(good).to_pylist() == [{"x": 1, "s": "a"}, {"x": 2, "s": None}]
    assert source_of(good) == SOURCE
    assert positions(good).to_pylist() == ["id0", "id1"]
    assert row_ids(good).to_pylist() == [f"{SOURCE}#id0", f"{SOURCE}#id1"]
    assert event_times(good).to_pylist() == [AT, AT + timedelta(seconds=1)]


def test_a_malformed_message_becomes_a_dead_letter_with_its_bytes():
    good, dead = decoded(sent(b"", b'{"x":1}', b"\xff", b'{"x":2}'), run_id="run-1")
    assert good.column("x").to_pylist() == [1, 2]
    assert positions(good).to_pylist() == ["id1", "id3"]
    assert event_times(good)[1].as_py() == AT + timedelta(seconds=3)
    assert dead.schema.equals(DEAD_LETTER_SCHEMA)
    first, second = dead.to_pylist()
    assert first["row_id"] == f"{SOURCE}#id0"
    assert (first["source"], first["position"], first["run_id"]) == (SOURCE, "id0", "run-1")
    assert (first["stage"], first["error_code"]) == ("decode", "empty_message")
    assert (first["payload"], first["payload_encoding"]) == (b"", "raw")
    assert (first["event_time"], first["model_version"]) == (AT, None)
    assert (second["error_code"], second["payload"]) == ("invalid_utf8", b"\xff")
    assert second["event_time"] == AT + timedelta(seconds=2)


def test_a_batch_of_nothing_but_malformed_messages_gives_no_empty_batch():
    good, dead = decoded(sent(b"x", b"y"))
    assert good is None
    assert dead.num_rows == 2


def test_columns_are_renamed_and_added():
    columns = MessageColumns(
        rename=(("x", "amount"), ("unknown", "y")),
        attributes=(("kind", "kind"), ("region", "where")),
        message_id="id",
        publish_time="at",
    )
    batch = message_batch(
        [
            Message(b'{"x":1,"s":"a"}', "7", AT, (("kind", "k"), ("other", "o"))),
            Message(b"bad", "8", AT),
            Message(b'{"x":2}', "9", AT, (("region", "eu"), ("kind", "l"))),
        ],
        SOURCE,
    )
    good, _ = decoded(batch, columns)
    assert user_columns(good).to_pylist() == [
        {"amount": 1, "s": "a", "kind": "k", "where": None, "id": "7", "at": AT},
        {"amount": 2, "s": None, "kind": "l", "where": "eu", "id": "9", "at": AT},
    ]
    sliced, _ = decoded(batch.slice(2), columns)
    assert user_columns(sliced).to_pylist() == user_columns(good).to_pylist()[1:]


def test_the_same_schema_whether_or_not_a_message_has_attributes():
    columns = MessageColumns(attributes=(("kind", "kind"),))
    without, _ = decoded(sent(b"{}"), columns)
    with_some, _ = decoded(sent(b"{}", attributes=(("kind", "a"),)), columns)
    assert without.schema.equals(with_some.schema)
    assert without.column("kind").to_pylist() == [None]


@pytest.mark.parametrize(
    "added",
    [
        {"attributes": {"a": "s"}},
        {"message_id": "s"},
        {"publish_time": "x"},
        {"rename": {"x": "s"}},
        {"attributes": {"a": "id"}, "message_id": "id"},
    ],
)
def test_two_columns_of_one_name_are_an_error(added):
    with pytest.raises(ValueError, match=r"expected each column once, got \['(s|x|id)'\] more"):
        Decode(READING, **added)


def test_a_name_may_be_taken_once_it_is_free():
    Decode(READING, rename={"s": "text"}, attributes={"a": "s"})


def test_reserved_names_are_an_error():
    with pytest.raises(ValueError, match=r"\['_scoreline_position'\]: names that start with"):
        Decode(READING, message_id="_scoreline_position")


def test_what_is_wrong_with_a_reading_is_said_at_construction():
    with pytest.raises(ValueError, match="untyped columns"):
        Decode(MessageReading("json", READING.schema, frozenset({"x"})))
    with pytest.raises(ValueError, match="expected one column of strings or bytes"):
        Decode(MessageReading("raw", READING.schema))


def _rows(batch: pa.RecordBatch) -> list:
    return [*zip(batch.column("x").to_pylist(), row_ids(batch).to_pylist(), strict=True)]


def _codes(batch: pa.RecordBatch) -> list:
    return batch.select(["row_id", "error_code"]).to_pylist()


def test_the_transform_parts_messages_and_counts_them():
    batches = [sent(b'{"x":1}', b"bad"), sent(b"", b""), sent(b'{"x":5}')]
    with in_process() as pipeline:
        outcome = pipeline | beam.Create(batches) | Decode(READING, run_id="r")
        rows = [(1, f"{SOURCE}#id0"), (5, f"{SOURCE}#id0")]
        assert_that(outcome.accepted | beam.FlatMap(_rows), equal_to(rows), "Accepted")
        dead = [(1, "malformed_json"), (0, "empty_message"), (1, "empty_message")]
        expected = [{"row_id": f"{SOURCE}#id{i}", "error_code": code} for i, code in dead]
        assert_that(outcome.dead_letters | beam.FlatMap(_codes), equal_to(expected), "Dead")
    assert row_counts(pipeline) == {"rows_read": 5, "rows_dead_lettered": 3}


def test_both_outputs_have_the_coder_for_batches():
    outcome = beam.Pipeline() | beam.Create([sent(b"{}")]) | Decode(READING)
    assert has_batch_coder(outcome.accepted)
    assert has_batch_coder(outcome.dead_letters)
