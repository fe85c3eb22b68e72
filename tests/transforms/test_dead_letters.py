from datetime import UTC, datetime

import pyarrow as pa
import pytest
from arrow_data import batches, same_rows
from hypothesis import given

from scoreline.models.reserved import CAST_PREFIX
from scoreline.transforms.dead_letters import (
    DEAD_LETTER_SCHEMA,
    Reasons,
    decode_payload,
    raw_dead_letters,
    to_dead_letters,
)
from scoreline.transforms.identity import identify, identify_messages, identify_records


def reasons(rows):
    return Reasons(
        "conform",
        [f"code{i}" for i in range(rows)],
        ["Class"] * rows,
        [f"message {i}" for i in range(rows)],
    )


@given(batches())
def test_every_payload_is_its_row_and_nothing_else(batch):
    identified = identify(batch, "f", 7, 3)
    with_cast = identified.append_column(CAST_PREFIX + "x", pa.nulls(batch.num_rows))
    dead = to_dead_letters(with_cast, reasons(batch.num_rows), "run", None)
    assert dead.num_rows == batch.num_rows
    for row, payload in enumerate(dead.column("payload").to_pylist()):
        decoded = decode_payload(payload)
        decoded.validate(full=True)
        assert same_rows(decoded, batch.slice(row, 1))


def test_every_field_is_filled():
    batch = identify(pa.record_batch({"x": [1, 2]}), "dir/f.parquet", 4, 2)
    before = datetime.now(UTC)
    dead = to_dead_letters(batch, reasons(2), "run-1", "v1")
    assert dead.schema.equals(DEAD_LETTER_SCHEMA)
    assert dead.schema.metadata == batch.schema.metadata  # the split is needed to write it
    row = dead.to_pylist()[1]
    assert before <= row.pop("failed_at") <= datetime.now(UTC)
    assert decode_payload(row.pop("payload")).to_pylist() == [{"x": 2}]
    assert row == {
        "row_id": "dir/f.parquet#5",
        "run_id": "run-1",
        "source": "dir/f.parquet",
        "position": "5",
        "stage": "conform",
        "error_code": "code1",
        "error_class": "Class",
        "error_message": "message 1",
        "payload_encoding": "arrow-ipc",
        "event_time": None,
        "attempt": 1,
        "model_version": "v1",
        "retryable": False,
    }


def test_rows_without_identity_have_none():
    dead = to_dead_letters(pa.record_batch({"x": [1]}), reasons(1), "", None)
    row = dead.to_pylist()[0]
    assert (row["row_id"], row["source"], row["position"]) == (None, None, None)


def test_reasons_of_another_length_are_refused():
    with pytest.raises(ValueError, match="not all the same length"):
        to_dead_letters(pa.record_batch({"x": [1, 2]}), reasons(1), "", None)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_payload_holds_the_dictionary_entry_of_its_row_only(ordered):
    words = pa.array([f"word {i} " * 10 for i in range(1000)])
    column = pa.DictionaryArray.from_arrays(
        pa.array([999, None], pa.int16()), words, ordered=ordered
    )
    dead = to_dead_letters(pa.record_batch({"x": column}), reasons(2), "", None)
    first, second = dead.column("payload").to_pylist()
    assert len(first) < 1000
    assert decode_payload(first).schema.field("x").type == column.type
    assert decode_payload(first).to_pylist() == [{"x": "word 999 " * 10}]
    assert decode_payload(second).to_pylist() == [{"x": None}]


def test_records_that_were_never_rows_keep_their_bytes():
    records = pa.record_batch({"payload": [b"\xff\x00{", b""], "ordinal": [3, 9]})
    batch = identify_records(records, records.column("ordinal"), "a.jsonl", 100, 4)
    dead = raw_dead_letters(batch, reasons(2), "run-1")
    assert dead.schema.equals(DEAD_LETTER_SCHEMA)
    assert dead.schema.metadata == batch.schema.metadata
    assert [(row["row_id"], row["payload"]) for row in dead.to_pylist()] == [
        ("a.jsonl#100+3", b"\xff\x00{"),
        ("a.jsonl#100+9", b""),
    ]
    row = dead.to_pylist()[0]
    assert (row["payload_encoding"], row["model_version"], row["position"]) == (
        "raw",
        None,
        "100+3",
    )


def test_what_came_in_a_message_keeps_its_time():
    times = pa.array([datetime(2024, 5, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC"))
    rows = pa.record_batch({"x": [1, 2]})
    batch = identify_messages(rows, pa.array(["17", "18"]), times, "subscriptions/s")
    dead = to_dead_letters(batch, reasons(2), "run", None)
    assert dead.schema.equals(DEAD_LETTER_SCHEMA)
    assert dead.column("event_time").equals(times)
    assert dead.column("row_id").to_pylist() == ["subscriptions/s#17", "subscriptions/s#18"]
    assert decode_payload(dead.column("payload")[1].as_py()).to_pylist() == [{"x": 2}]
