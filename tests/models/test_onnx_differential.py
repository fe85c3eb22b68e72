"""ONNX graphs over every shape that a batch can come in, against onnxruntime's own answers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
from differential import Case, check_case, load, rows_of
from onnx import ModelProto
from onnx_models import FLOAT, INT64, artifact, passing
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAMES = ("a", "b", "c", "d")
BOTH = ("predict", "predict_proba")
# The stated bound: float32 has 24 bits, sums of a batch of another size are rounded otherwise.
BOUND = 2.0**-16
NUMBERS = rows_of(pa.schema([(name, pa.float64()) for name in NAMES]))
MIXED = rows_of(
    pa.schema([("a", pa.float32()), ("n", pa.int64()), ("plan", pa.string()), ("b", pa.float64())])
)
TRAINED = NUMBERS.slice(0, 2_000).to_pandas()
LABELS = np.where(TRAINED.a > 0.5, "high", np.where(TRAINED.b > 0, "mid", "low"))


def session(model: ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def matrix(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """What anybody would write: the columns through pandas."""
    frame = batch.select(list(NAMES)).to_pandas()
    return {"X": frame.to_numpy(np.float32, na_value=np.nan)}


def as_classifier(answer: list[Any]) -> Mapping[str, Any]:
    label, probabilities = answer
    if isinstance(probabilities, list):
        probabilities = pd.DataFrame(probabilities).astype(np.float32)
        named = {f"probability_{name}": column for name, column in probabilities.items()}
    else:
        pairs = zip(("high", "low", "mid"), probabilities.T, strict=True)
        named = {f"probability_{name}": column for name, column in pairs}
    return {"prediction": label, **named}


def of_numbers(
    name: str,
    estimator: Any,
    target: Any,
    columns: Callable[[list[Any]], Mapping[str, Any]],
    *outputs: str,
    **options: Any,
) -> Case:
    estimator.fit(TRAINED, target)
    settings = {id(estimator): options} if options else None
    model = to_onnx(estimator, TRAINED.to_numpy(np.float32)[:1], options=settings)
    runtime = session(model)
    return Case(
        name,
        load(artifact(model), *outputs, features=NAMES),
        NUMBERS,
        lambda batch: columns(runtime.run(None, matrix(batch))),
        nullable=("a", "c"),
        encodable=("b",),
        bound=BOUND,
    )


def of_columns() -> Case:
    frame = MIXED.slice(0, 2_000).to_pandas()
    encode = make_column_transformer(
        (StandardScaler(), ["a", "n", "b"]), (OneHotEncoder(), ["plan"])
    )
    estimator = make_pipeline(encode, LogisticRegression()).fit(frame, LABELS)
    types = [
        ("a", FloatTensorType([None, 1])),
        ("n", Int64TensorType([None, 1])),
        ("plan", StringTensorType([None, 1])),
        ("b", FloatTensorType([None, 1])),
    ]
    model = to_onnx(estimator, initial_types=types, options={id(estimator): {"zipmap": False}})
    runtime = session(model)
    dtypes = {"a": np.float32, "n": np.int64, "plan": object, "b": np.float32}

    def own(batch: pa.RecordBatch) -> Mapping[str, Any]:
        given = batch.to_pandas()
        inputs = {name: given[[name]].to_numpy().astype(dtype) for name, dtype in dtypes.items()}
        return as_classifier(runtime.run(None, inputs))

    return Case(
        "column transformer",
        load(artifact(model), *BOTH),
        MIXED,
        own,
        encodable=("plan", "n"),
        bound=BOUND,
    )


def of_inputs() -> Case:
    """Identity is exact: whatever the batch's shape, the very values have to come back."""
    model = passing(("a", FLOAT, [None, 1]), ("n", INT64, [None]))
    runtime = session(model)

    def own(batch: pa.RecordBatch) -> Mapping[str, Any]:
        given = batch.to_pandas()
        inputs = {
            "a": given[["a"]].to_numpy(np.float32, na_value=np.nan),
            "n": given["n"].to_numpy().astype(np.int64),
        }
        a, n = runtime.run(None, inputs)
        return {"a_out": a[:, 0], "n_out": n}

    return Case("two inputs", load(artifact(model)), MIXED, own, ("a",), ("n",))


def one(answer: list[Any]) -> Mapping[str, Any]:
    return {"prediction": answer[0][:, 0]}


def two(answer: list[Any]) -> Mapping[str, Any]:
    return {"prediction_0": answer[0][:, 0], "prediction_1": answer[0][:, 1]}


CASES = [
    lambda: of_numbers(
        "logistic regression", LogisticRegression(), LABELS, as_classifier, *BOTH, zipmap=False
    ),
    lambda: of_numbers(
        *("forest with maps", RandomForestClassifier(20, random_state=0), LABELS),
        *(as_classifier, *BOTH),
    ),
    lambda: of_numbers("linear regression", LinearRegression(), TRAINED.a * 3 + TRAINED.b, one),
    lambda: of_numbers(
        "two targets", RandomForestRegressor(10, random_state=0), TRAINED[["a", "b"]], two
    ),
    of_columns,
    of_inputs,
]


IDS = ["logistic", "maps", "linear", "two targets", "columns", "inputs"]


@pytest.mark.parametrize("make", CASES, ids=IDS)
def test_predictions_are_the_runtimes_own(make: Callable[[], Case]):
    check_case(make())
