"""Functions that stand as models, and factories of Beam's handlers; found by `module:name`."""

import os
import sys
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, PredictionResult
from apache_beam.ml.inference.sklearn_inference import (
    ModelFileType,
    SklearnModelHandlerNumpy,
    SklearnModelHandlerPandas,
)

not_callable = 5


def total(batch: pa.RecordBatch) -> np.ndarray:
    """The sum of a and b."""
    return pc.add(batch["a"], batch["b"]).to_numpy(zero_copy_only=False)


def both(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Two columns with names of their own."""
    total_ = pc.add(batch["a"], batch["b"])
    return pa.record_batch({"total": total_, "sign": pc.if_else(pc.less(total_, 0), "-", "+")})


def names(batch: pa.RecordBatch) -> pa.Array:
    """Which columns came, and of which type."""
    said = ",".join(f"{field.name}:{field.type}" for field in batch.schema)
    return pa.array([said] * batch.num_rows)


def matrix(batch: pa.RecordBatch) -> np.ndarray:
    return np.stack([batch["a"].to_numpy(), batch["b"].to_numpy()], axis=1)


def picky(batch: pa.RecordBatch) -> pa.Array:
    """Fails on a row of zeros, so on the made-up one, and where a is negative."""
    if pc.any(pc.less_equal(batch["a"], 0)).as_py():
        raise ValueError("a must be positive")
    return batch["a"]


def one_short(batch: pa.RecordBatch) -> pa.Array:
    return batch["a"].slice(1)


class Scaled:
    """An object that is called."""

    def __init__(self, factor: float):
        self.factor = factor

    def __call__(self, batch: pa.RecordBatch) -> dict[str, Any]:
        return {"scaled": pc.multiply(batch["a"], self.factor)}


twice = Scaled(2.0)


def sklearn_rows() -> ModelHandler:
    return SklearnModelHandlerNumpy(os.environ["MODEL"], ModelFileType.JOBLIB)


def sklearn_frames() -> ModelHandler:
    return SklearnModelHandlerPandas(os.environ["MODEL"], ModelFileType.JOBLIB, max_batch_size=16)


def onnx_rows() -> ModelHandler:
    """Takes float32; columns may be of another type."""
    from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy

    handler = OnnxModelHandlerNumpy(os.environ["MODEL"], providers=["CPUExecutionProvider"])
    return handler.with_preprocess_fn(
        lambda row: np.array([row["a"], row["b"], row["c"], row["d"]], np.float32)
    )


def keyed() -> ModelHandler:
    return KeyedModelHandler(sklearn_rows()).with_postprocess_fn(str)


def broken() -> ModelHandler:
    raise RuntimeError("no such place")


def no_handler() -> int:
    return 5


class Lengths(ModelHandler[str, dict[str, Any], Any]):
    """Takes texts, gives dicts."""

    def load_model(self) -> Any:
        return Scaled(1.0)

    def run_inference(
        self, batch: Sequence[str], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[dict[str, Any]]:
        assert isinstance(batch, list)
        return [
            {"length": len(text), "halves": np.array([text[:1], text[1:]], object)}
            for text in batch
        ]


class Unannotated(ModelHandler):
    """Says only in its method what it takes."""

    def load_model(self) -> Any:
        return Scaled(3.0)

    def run_inference(self, batch: Sequence[dict], model: Any, inference_args: Any = None) -> list:
        return [PredictionResult(row, row["a"] * model.factor, "id") for row in batch]


class Batches(ModelHandler[pa.RecordBatch, PredictionResult, Any]):
    """Takes batches, as scoreline has them."""

    def load_model(self) -> Any:
        return Scaled(2.0)

    def run_inference(
        self, batch: Sequence[pa.RecordBatch], model: Any, inference_args: Any = None
    ) -> list[PredictionResult]:
        (only,) = batch
        return [PredictionResult(only, model(only))]


class Loses(Unannotated):
    """Gives one result too few."""

    def run_inference(self, batch: Sequence[dict], model: Any, inference_args: Any = None) -> list:
        return super().run_inference(batch, model)[1:]


class Takes(ModelHandler[pd.Series, Any, Any]):
    """Takes what scoreline does not make."""

    def load_model(self) -> Any:
        return Scaled(1.0)


def after() -> ModelHandler:
    return Unannotated().with_postprocess_fn(lambda result: {"tripled": result.inference})


def told_otherwise() -> ModelHandler:
    return Takes()


told_otherwise.scoreline_examples = "dict"  # type: ignore[attr-defined]


def told_wrongly() -> ModelHandler:
    return Takes()


told_wrongly.scoreline_examples = "rows"  # type: ignore[attr-defined]


def _xgboost_handlers() -> Any:
    """Beam's module of them imports datatable, of which it needs one name for an annotation."""
    sys.modules.setdefault("datatable", SimpleNamespace(Frame=object))  # type: ignore[arg-type]
    from apache_beam.ml.inference import xgboost_inference

    return xgboost_inference


def xgboost_arrays() -> ModelHandler:
    from xgboost import XGBClassifier

    return _xgboost_handlers().XGBoostModelHandlerNumpy(XGBClassifier, os.environ["MODEL"])


def xgboost_frames() -> ModelHandler:
    from xgboost import Booster

    return _xgboost_handlers().XGBoostModelHandlerPandas(Booster, os.environ["MODEL"])
