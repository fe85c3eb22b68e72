"""Models and functions that misbehave, for jobs that name them or load them from a pickle."""

import ctypes
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


class Odd:
    """A model of one column `x`; it is no estimator of scikit-learn's, only looks like one."""

    feature_names_in_ = np.array(["x"])
    n_features_in_ = 1

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(rows)[:, 0].astype(float) * 2


class Picky(Odd):
    """Raises on a batch that holds a value over 900, whatever the other rows."""

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        values = np.asarray(rows)[:, 0].astype(float)
        if (values > 900).any():
            raise ArithmeticError(f"cannot\ncompute [{values.max():g}]")
        return super().predict(rows)


class OneShort(Odd):
    """Loses a row of every batch that has more than one."""

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        result = super().predict(rows)
        return result[:-1] if len(result) > 1 else result


class AlwaysShort(Odd):
    """Loses a row of every batch."""

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return super().predict(rows)[:-1]


def double_a(batch: pa.RecordBatch) -> pa.RecordBatch:
    index = batch.schema.get_field_index("a")
    return batch.set_column(index, "a", pc.multiply(batch.column("a"), 2))


def shout(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"shouted": pc.utf8_upper(batch.column("prediction"))})


def lose_a_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(1) if batch.num_rows > 1 else batch


def lose_id_7(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.not_equal(batch.column("id"), 7))


def lose_a(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.drop_columns(["a"])


def slow(batch: pa.RecordBatch) -> pa.RecordBatch:
    time.sleep(0.05)
    return batch


def stuck(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Half a minute in which no Python code runs in this thread; for a real batch only."""
    if batch.num_rows > 1:
        ctypes.CDLL(None).sleep(30)
    return batch
