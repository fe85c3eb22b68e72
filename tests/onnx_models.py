"""Small ONNX graphs, made by hand or exported from scikit-learn, and a session of the library."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
from onnx import ModelProto, TensorProto, helper, numpy_helper
from skl2onnx import to_onnx

from scoreline.models.artifact import Artifact
from scoreline.models.model import Model
from scoreline.models.onnx_model import FORMAT
from scoreline.models.trust import Trust

FLOAT, DOUBLE, STRING = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.STRING
INT32, INT64, BOOL = TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
_OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3))


def value(name: str, type_: int, *dims: int | str | None) -> Any:
    return helper.make_tensor_value_info(name, type_, list(dims))


def graph(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: dict[str, np.ndarray] | None = None,
    **options: Any,
) -> ModelProto:
    """A model of some nodes."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    body = helper.make_graph(list(nodes), "made", list(inputs), list(outputs), tensors)
    options = {"opset_imports": list(_OPSETS), "ir_version": 8, **options}
    return helper.make_model(body, producer_name="by hand", producer_version="1", **options)


def passing(*ports: tuple[str, int, Sequence[int | str | None]]) -> ModelProto:
    """A graph that gives each input back as an output of the name with `_out`."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name, *_ in ports]
    inputs = [value(name, type_, *dims) for name, type_, dims in ports]
    outputs = [value(f"{name}_out", type_, *dims) for name, type_, dims in ports]
    return graph(nodes, inputs, outputs)


def artifact(model: ModelProto, uri: str = "models/m.onnx") -> Artifact:
    return Artifact(uri, model.SerializeToString())


def load(model: ModelProto, *outputs: str, features: tuple[str, ...] | None = None) -> Model:
    return FORMAT.load(artifact(model), Trust(), outputs or ("predict",), features)


def own(model: ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """What onnxruntime itself gives, as anybody would ask it."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def exported(estimator: Any, frame: pd.DataFrame, **options: Any) -> ModelProto:
    """An estimator of numbers, as skl2onnx exports it: one input, a matrix of float32."""
    settings = {id(estimator): options} if options else None
    return to_onnx(estimator, frame.to_numpy(np.float32)[:1], options=settings)


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch(columns)
