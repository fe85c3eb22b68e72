"""Turns a number into a batch of ten columns, some 87 bytes a row, as predictions look."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

BATCH_ROWS = 50_000

_SEED = 20_261_123
_START = np.datetime64("2026-01-01T00:00:00", "us")
_PLANS = ("basic", "family", "gold", "student", "trial")


def batch(number: int, num_rows: int = BATCH_ROWS) -> pa.RecordBatch:
    """Turns a batch's number into its rows; the same rows each time."""
    random = np.random.default_rng([_SEED, number])
    first = number * BATCH_ROWS
    ids = np.arange(first, first + num_rows)
    columns = {
        "order_id": ids,
        "customer": random.integers(0, 10**9, num_rows),
        "placed_at": pa.array(_START + ids.astype("timedelta64[s]"), pa.timestamp("us", "UTC")),
        "amount": np.round(random.standard_normal(num_rows) * 100, 2),
        "discount": random.random(num_rows),
        "is_new": random.random(num_rows) < 0.1,
        "plan": pa.array(np.take(_PLANS, random.integers(len(_PLANS), size=num_rows))),
        "prediction": random.random(num_rows),
        "model_version": pa.array(["3f1c9b2a7d04"] * num_rows),
        "row_id": pa.array([f"orders/{row:010d}" for row in ids.tolist()]),
    }
    return pa.record_batch(columns)


def batches(num_rows: int) -> list[pa.RecordBatch]:
    """Turns a number of rows into batches of `BATCH_ROWS` and a rest."""
    starts = range(0, num_rows, BATCH_ROWS)
    return [batch(start // BATCH_ROWS, min(BATCH_ROWS, num_rows - start)) for start in starts]


def copies(number: int) -> Iterator[pa.RecordBatch]:
    """Gives so many batches, one by one, of the same rows: to make others takes most of a run."""
    first = batch(0)
    for _ in range(number):
        yield pa.record_batch(first.columns, schema=first.schema)
