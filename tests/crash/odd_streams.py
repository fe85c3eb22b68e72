"""Functions that misbehave, for streams that name them with --preprocess."""

import os
import time
from pathlib import Path

import pyarrow as pa
from raising import strike

_FAILS_AT = 8  # the batch that fails
_seen = 0


def lose_a_row_once(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Breaks the rule that no single row is to blame for: the whole run fails."""
    global _seen
    _seen += batch.num_rows > 1
    if _seen >= _FAILS_AT and batch.num_rows > 1 and strike(Path(os.environ["MARKER"])):
        return batch.slice(1)
    return batch


def sleep_once(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Works for WORK_SECS on one batch."""
    marker = Path(os.environ["MARKER"])
    if batch.num_rows > 1 and not marker.exists():
        marker.touch()
        time.sleep(float(os.environ["WORK_SECS"]))
    return batch
