"""Turns a seed into the Parquet files and fitted models that every program is given.

Kinds of files (all have 20 float32 columns f00..f19, standard normal, snappy, row groups of
1,048,576 rows; a shorter file is a prefix of a longer one):

====================  ==============================================================================
``clean``             nothing else
``nan``               one NaN in f07 every 65,536 rows: a contract without nulls screens it out
``overflow``          1e30 there instead: finite, so it passes any check of the input, and makes
                      the model ``squares`` raise, because its square is infinite
``kinds``             one more column, the string ``kind``, for the model ``kinds``
``unseen``            the same, where every 65,536 rows a kind is unseen, and the encoder raises
====================  ==============================================================================

Run by inputs.py::

    python benchmarks/data.py rows clean 1000000 out.parquet
    python benchmarks/data.py model logistic out.joblib
"""

import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from inputs import POISON_AT, POISON_EVERY
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

FEATURES = tuple(f"f{number:02d}" for number in range(20))
CHUNK_ROWS = 1_048_576  # rows drawn at a time, and the row group
TRAIN_ROWS = 50_000
KINDS = ("basic", "family", "gold", "student", "trial")
UNSEEN = "never-trained"
HUGE = 1e30

_SEED = 20_240_607
_SPOILED = "f07"


def chunk(kind: str, number: int) -> pa.Table:
    """Turns a kind of file and a chunk's number into its CHUNK_ROWS rows."""
    random = np.random.default_rng([_SEED, number])
    values = random.standard_normal((len(FEATURES), CHUNK_ROWS), dtype=np.float32)
    columns = dict(zip(FEATURES, values, strict=True))
    poison = slice(POISON_AT, None, POISON_EVERY)  # CHUNK_ROWS is a multiple: same in each chunk
    if kind == "nan":
        columns[_SPOILED][poison] = np.nan
    elif kind == "overflow":
        columns[_SPOILED][poison] = HUGE
    table = pa.table(columns)
    if kind in ("kinds", "unseen"):
        codes = random.integers(len(KINDS), size=CHUNK_ROWS, dtype=np.int32)
        if kind == "unseen":
            codes[poison] = len(KINDS)
        encoded = pa.DictionaryArray.from_arrays(codes, [*KINDS, UNSEEN])
        table = table.append_column("kind", encoded.cast(pa.string()))
    return table


def write_rows(kind: str, num_rows: int, path: Path) -> None:
    """Writes the first `num_rows` rows of a kind, holding one chunk at a time."""
    partial = path.with_suffix(".partial")
    schema = chunk(kind, 0).schema
    with pq.ParquetWriter(partial, schema, compression="snappy") as writer:
        for number, start in enumerate(range(0, num_rows, CHUNK_ROWS)):
            rows = chunk(kind, number).slice(0, num_rows - start)
            writer.write_table(rows, row_group_size=CHUNK_ROWS)
    partial.rename(path)


def logistic() -> BaseEstimator:
    """A linear pipeline: so cheap that everything around the model shows."""
    return make_pipeline(StandardScaler(), LogisticRegression())


def trees() -> BaseEstimator:
    """Gradient boosting: most of the time is in the model."""
    return HistGradientBoostingClassifier(random_state=0)


def squares() -> BaseEstimator:
    """A pipeline in which a large finite number becomes infinite and is refused."""
    return make_pipeline(StandardScaler(), FunctionTransformer(np.square), LogisticRegression())


def kinds() -> BaseEstimator:
    """A column transformer over numbers and one category that refuses an unseen one."""
    columns = ColumnTransformer(
        [
            ("number", StandardScaler(), list(FEATURES)),
            ("kind", OneHotEncoder(handle_unknown="error"), ["kind"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression())


MODELS: dict[str, Callable[[], BaseEstimator]] = {
    "logistic": logistic,
    "trees": trees,
    "squares": squares,
    "kinds": kinds,
}


def labels(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Turns training rows into classes 0 and 1 that lines alone cannot separate."""
    noise = np.random.default_rng(_SEED).standard_normal(len(frame))
    score = frame["f00"] + frame["f01"] * frame["f02"] + np.sin(3 * frame["f03"]) + 0.5 * noise
    return np.asarray(score > 0, dtype=np.int64)


def write_model(name: str, path: Path) -> None:
    """Fits a model on a frame with named float32 columns and saves it."""
    source = chunk("kinds" if name == "kinds" else "clean", 0)
    frame = source.slice(0, TRAIN_ROWS).to_pandas()
    partial = path.with_suffix(".partial")
    joblib.dump(MODELS[name]().fit(frame, labels(frame)), partial)
    partial.rename(path)


if __name__ == "__main__":
    if sys.argv[1] == "rows":
        write_rows(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        write_model(sys.argv[2], Path(sys.argv[3]))
