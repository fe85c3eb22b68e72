"""Row identity: which source object a row came from, and where in it.

The source is one entry of the batch's metadata, the position one reserved column: integers for the
rows of files, which costs the fast path eight bytes a row, and the ids of messages. The text
`source#position` is only made where it is written.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.models.reserved import (
    EVENT_TIME,
    OFFSET_KEY,
    POSITION,
    SOURCE_KEY,
    metadata_of,
    with_metadata,
)


def identify(batch: pa.RecordBatch, source: str, first: int, split: int) -> pa.RecordBatch:
    """Gives the rows of a batch the positions `first`, `first + 1`, ... in `source`.

    The position is the number of the row in its file, from 0.

    >>> row_ids(identify(pa.record_batch({"x": [7, 8]}), "a.parquet", 10, split=0)).to_pylist()
    ['a.parquet#10', 'a.parquet#11']
    """
    return _identified(batch, pa.array(np.arange(first, first + batch.num_rows)), source, split)


def identify_records(
    batch: pa.RecordBatch, ordinals: pa.Array, source: str, offset: int, split: int
) -> pa.RecordBatch:
    """Gives the rows of a batch of text records the positions `offset+ordinal` in `source`.

    Args:
        batch: of one block of text.
        ordinals: the number of each record in its block, from 0.
        source: the file.
        offset: of the block's first byte in the file.
        split: the number of the split.

    >>> batch = pa.record_batch({"x": [7, 8]})
    >>> row_ids(identify_records(batch, pa.array([0, 2]), "a.csv", 4096, 0)).to_pylist()
    ['a.csv#4096+0', 'a.csv#4096+2']
    """
    return with_metadata(_identified(batch, ordinals, source, split), offset=str(offset))


def identify_messages(
    batch: pa.RecordBatch, message_ids: pa.Array, publish_times: pa.Array, source: str
) -> pa.RecordBatch:
    """Gives the rows of a batch the ids of the messages that they came in, and their times.

    Args:
        batch: one row for each message.
        message_ids: of each row, as text.
        publish_times: of each row; they become the event time.
        source: where the messages came from: `projects/P/subscriptions/S`.

    >>> ids, times = pa.array(["17"]), pa.array([0], pa.timestamp("us", "UTC"))
    >>> batch = identify_messages(pa.record_batch({"x": [7]}), ids, times, "subscriptions/s")
    >>> row_ids(batch).to_pylist()
    ['subscriptions/s#17']
    """
    bare = batch.replace_schema_metadata(None)
    identified = bare.append_column(POSITION, message_ids)
    return with_metadata(identified.append_column(EVENT_TIME, publish_times), source=source)


def _identified(
    batch: pa.RecordBatch, positions: pa.Array, source: str, split: int
) -> pa.RecordBatch:
    bare = batch.replace_schema_metadata(None)  # what a file says of itself is not what we say
    return with_metadata(bare.append_column(POSITION, positions), source=source, split=str(split))


def row_ids(batch: pa.RecordBatch) -> pa.Array:
    """The text `source#position` of each row; null where the batch carries no identity."""
    if POSITION not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.string())
    return pc.binary_join_element_wise(source_of(batch), positions(batch), "#")


def positions(batch: pa.RecordBatch) -> pa.Array:
    """The position of each row as text; null where the batch carries no identity."""
    if POSITION not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.string())
    ordinals = batch.column(POSITION).cast(pa.string())
    offset = metadata_of(batch, OFFSET_KEY)
    return pc.binary_join_element_wise(offset, ordinals, "+") if offset else ordinals


def source_of(batch: pa.RecordBatch) -> str:
    """The source object of all rows of a batch; empty where it carries no identity."""
    return metadata_of(batch, SOURCE_KEY)


def event_times(batch: pa.RecordBatch) -> pa.Array:
    """When what each row tells of happened; null where the batch does not say."""
    type_ = pa.timestamp("us", "UTC")
    if EVENT_TIME not in batch.schema.names:
        return pa.nulls(batch.num_rows, type_)
    return batch.column(EVENT_TIME).cast(type_)
