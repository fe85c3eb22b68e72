from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from scoreline.transforms.coder import RecordBatchCoder
from scoreline.transforms.identity import source_of
from scoreline.transforms.messages import MESSAGE_SCHEMA, Message, message_batch, message_columns

SOURCE = "projects/p/subscriptions/s"
AT = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def test_a_batch_holds_all_that_a_queue_says_of_its_messages():
    sent = [
        Message(b"\xff", "1", AT, (("kind", "a"), ("x", "")), "key"),
        Message(b"", "2", AT),
    ]
    batch = message_batch(sent, SOURCE)
    assert batch.schema.equals(MESSAGE_SCHEMA)
    assert source_of(batch) == SOURCE
    batch.validate(full=True)
    assert batch.to_pylist() == [
        {
            "payload": b"\xff",
            "attributes": [("kind", "a"), ("x", "")],
            "message_id": "1",
            "publish_time": AT,
            "ordering_key": "key",
        },
        {
            "payload": b"",
            "attributes": [],
            "message_id": "2",
            "publish_time": AT,
            "ordering_key": "",
        },
    ]


def test_a_batch_field_by_field():
    micros = np.array([0, 1_714_564_800_123_456])
    batch = message_columns([b"a", b"b"], ["1", "2"], micros, source=SOURCE)
    batch.validate(full=True)
    assert batch.schema.equals(MESSAGE_SCHEMA)
    assert batch.column("publish_time").to_pylist() == [datetime(1970, 1, 1, tzinfo=UTC), AT]
    assert batch.column("attributes").to_pylist() == [[], []]
    assert batch.column("ordering_key").to_pylist() == ["", ""]
    keyed = message_columns(
        [b"a"], ["1"], pa.array([AT], pa.timestamp("us", "UTC")), [{}.items()], ["k"], source=SOURCE
    )
    assert keyed.column("ordering_key").to_pylist() == ["k"]


def test_it_goes_through_the_coder():
    batch = message_batch([Message(b"x", "1", AT, (("a", "b"),))] * 3, SOURCE)
    again = RecordBatchCoder().decode(RecordBatchCoder().encode(batch))
    assert again.equals(batch)
    assert source_of(again) == SOURCE
