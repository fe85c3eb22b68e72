"""Tables for the tests of boosters, and how their columns may come."""

import base64
import pickle
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn_models import identical

NUMBERS = ("a", "b", "c", "d")
PLANS = ("basic", "gold", "silver")
ZONES = (10, 20, 30)


def numbers(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Columns of four types, with missing values."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=rows).astype(np.float32),
            "b": random.normal(size=rows),
            "c": random.integers(-50, 50, rows),
            "d": random.integers(0, 2, rows).astype(bool),
        }
    )
    frame.loc[random.random(rows) < 0.1, "a"] = np.nan
    frame.loc[random.random(rows) < 0.1, "b"] = np.nan
    return frame


def mixed(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """The same with a category of text, with missing values, and one of whole numbers."""
    random = np.random.default_rng(seed + 1)
    plan = np.array([*PLANS, None], object)[random.integers(0, 4, rows)]
    zone = np.array(ZONES)[random.integers(0, 3, rows)]
    frame = numbers(rows, seed)
    frame.insert(1, "plan", pd.Categorical(plan, categories=PLANS))
    return frame.assign(zone=pd.Categorical(zone, categories=ZONES))


def target(frame: pd.DataFrame, classes: int | None = None) -> np.ndarray:
    """Values that depend on all columns; as many classes of them if asked."""
    score = np.nan_to_num(frame["a"]) + np.nan_to_num(frame["b"]) + frame["c"] / 50 + frame["d"]
    if "plan" in frame:
        score = score + frame["plan"].cat.codes * 1.5 - frame["zone"].cat.codes
    score = score.to_numpy(np.float64)
    if classes is None:
        return score
    return np.argsort(np.argsort(score)) * classes // len(score)


def batch_of(frame: pd.DataFrame) -> pa.RecordBatch:
    return pa.RecordBatch.from_pandas(frame, preserve_index=False)


def arrangements(frame: pd.DataFrame) -> Iterator[pa.RecordBatch]:
    """The rows of a frame, or some of them, as they may come: all score as the frame would."""
    batch = batch_of(frame)
    yield batch
    yield batch.slice(7, 100)
    yield batch.slice(len(frame) - 1)
    columns = list(reversed(batch.schema.names))
    yield batch.select(columns).append_column("remark", pa.array(["x"] * len(frame)))
    yield _without_dictionaries(batch).slice(3, 50)
    yield _shuffled_dictionaries(batch).slice(5, 50)


def _without_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def _shuffled_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Categories in the order in which they occur from the back."""
    arrays = [
        column.dictionary_decode()[::-1].dictionary_encode()[::-1]
        if pa.types.is_dictionary(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def as_trained(batch: pa.RecordBatch, frame: pd.DataFrame) -> pd.DataFrame:
    """A batch as the frame that its model was trained on: same columns, same types."""
    came = batch.to_pandas()[list(frame.columns)]
    return came.astype({name: frame.dtypes[name] for name in ("plan", "zone") if name in frame})


def assert_identical(scored: pa.RecordBatch, expected: Any) -> None:
    """All columns of what was scored equal the library's answer, to the bit."""
    expected = np.asarray(expected)
    columns = [expected] if expected.ndim == 1 else list(expected.T)
    assert scored.num_columns == len(columns)
    for column, values in zip(scored.columns, columns, strict=True):
        assert identical(column, np.ascontiguousarray(values)), column.type


def assert_same_in_threads(
    model: Any, batches: Sequence[pa.RecordBatch], expected: Sequence[pa.RecordBatch]
) -> None:
    """Threads that share one model, one for each batch, score as one thread would."""
    wrong = []

    def score(number: int) -> None:
        for _ in range(20):
            if not model.score(batches[number]).equals(expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=score, args=(number,)) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class _Touching:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def pickles_as_text(marker: Path) -> list[str]:
    """Pickles that touch the marker when they are loaded, as text that a file's fields can hold."""
    plain = pickle.dumps(_Touching(marker), protocol=0).decode()
    return [plain, base64.b64encode(pickle.dumps(_Touching(marker))).decode()]
