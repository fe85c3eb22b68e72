"""Small fitted estimators, and the model around one without a file."""

import io
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa

from scoreline.models.artifact import Artifact
from scoreline.models.estimator import EstimatorModel
from scoreline.models.estimator_contract import contract_of
from scoreline.models.model import ModelInfo

NAMES = ("a", "b", "c", "d")
INFO = ModelInfo("churn", "0123456789ab", "0" * 64, "pickle", "churn.joblib")


def numbers(rows: int = 60, dtype: type = np.float64) -> pd.DataFrame:
    values = np.abs(np.random.default_rng(7).normal(size=(rows, len(NAMES)))) + 0.1
    return pd.DataFrame(values.astype(dtype), columns=list(NAMES))


def classes(frame: pd.DataFrame, labels: tuple[Any, ...] = (0, 1)) -> np.ndarray:
    """A target of as many classes as labels, each of which occurs."""
    ranks = np.argsort(np.argsort(frame.iloc[:, 0].to_numpy(np.float64)))
    return np.array(labels)[ranks * len(labels) // len(frame)]


def mixed(rows: int = 60) -> pd.DataFrame:
    """Numbers, a word and a text."""
    frame = numbers(rows)[["a", "b"]]
    plan = np.where(frame["a"] > frame["a"].median(), "gold", "basic")
    note = np.where(frame["b"] > frame["b"].median(), "very good", "not bad at all")
    return frame.assign(plan=plan, note=note)


def batch_of(frame: pd.DataFrame) -> pa.RecordBatch:
    return pa.RecordBatch.from_pandas(frame, preserve_index=False)


def model_of(
    estimator: Any,
    *outputs: str,
    features: tuple[str, ...] | None = None,
) -> EstimatorModel:
    contract = contract_of(estimator, features, INFO.name)
    return EstimatorModel(estimator, INFO, contract, outputs or ("predict",))


def pickled(estimator: Any, uri: str = "models/churn.joblib", **options: Any) -> Artifact:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer, **options)
    return Artifact(uri, buffer.getvalue())


def identical(column: pa.Array, expected: Any) -> bool:
    """Equal to the bit: NaN equals NaN, -0.0 does not equal 0.0."""
    came = column.to_numpy(zero_copy_only=False)
    expected = np.asarray(expected)
    if expected.dtype.kind in "OUST":
        return came.tolist() == expected.tolist()
    return came.dtype == expected.dtype and came.tobytes() == expected.tobytes()
