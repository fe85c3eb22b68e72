"""The columns and metadata keys by which a batch carries what its user never sees."""

import pyarrow as pa

PREFIX = "_scoreline_"
POSITION = PREFIX + "position"
EVENT_TIME = PREFIX + "event_time"
PAYLOAD = PREFIX + "payload"
CAST_PREFIX = PREFIX + "cast:"
ERROR_CLASS = PREFIX + "error_class"
ERROR_MESSAGE = PREFIX + "error_message"

SOURCE_KEY = b"scoreline.source"
OFFSET_KEY = b"scoreline.offset"
SPLIT_KEY = b"scoreline.split"
OUTPUTS_KEY = b"scoreline.outputs"
VERSION_KEY = b"scoreline.model_version"
REJECTED_KEY = b"scoreline.rejected"


def user_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Drops the columns that only the pipeline knows.

    >>> user_columns(pa.record_batch({"x": [1], "_scoreline_position": [0]})).schema.names
    ['x']
    """
    return batch.select([name for name in batch.schema.names if not name.startswith(PREFIX)])


def with_metadata(batch: pa.RecordBatch, **entries: str) -> pa.RecordBatch:
    """Adds `scoreline.<key>` entries to the batch's schema metadata."""
    metadata = dict(batch.schema.metadata or {})
    metadata.update({f"scoreline.{key}".encode(): value.encode() for key, value in entries.items()})
    return batch.replace_schema_metadata(metadata)


def metadata_of(batch: pa.RecordBatch, key: bytes, default: str = "") -> str:
    """Reads one entry of the batch's schema metadata."""
    return (batch.schema.metadata or {}).get(key, default.encode()).decode()
