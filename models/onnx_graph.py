"""What an ONNX graph takes and gives, read from the file: names, types, shapes, classes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Kind = Literal["tensor", "maps", "tensors", "other"]
Role = Literal["classifier", "predictor", "graph"]

# TensorProto.DataType; strings are objects to numpy.
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "object",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
_FEATURE_NAMES = "feature_names"  # the key of the metadata under which a graph may name columns

# Operators that hand the values of their first input on, in another form.
_PASSING = frozenset(
    (
        *("Cast", "Flatten", "Identity", "Normalizer", "Reshape", "Softmax", "Squeeze"),
        *("Transpose", "Unsqueeze"),
    )
)
_CLASS_ATTRIBUTES = (
    *("classlabels_strings", "classlabels_int64s", "classlabels_ints", "classlabels_int64"),
)
_REGRESSORS = frozenset(("LinearRegressor", "SVMRegressor", "TreeEnsembleRegressor"))
_MAX_STEPS = 100  # from an output back; a graph in a file may also be a circle


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph.

    Attributes:
        name: its name.
        kind: `tensor`, `maps` (a map for each row, which ZipMap gives), `tensors` (a sequence of
            them) or something else.
        dtype: of a tensor, as numpy names it; None for one that numpy does not know.
        dims: a tensor's dimensions, None for one that is not fixed; None if nothing is said.
    """

    name: str
    kind: Kind
    dtype: str | None = None
    dims: tuple[int | None, ...] | None = None

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        """The dimensions behind the first, which is that of the rows."""
        return (self.dims or ())[1:]

    @property
    def value_type(self) -> pa.DataType:
        """The Arrow type of a tensor's values."""
        return pa.string() if self.dtype == "object" else pa.from_numpy_dtype(np.dtype(self.dtype))

    def __str__(self) -> str:
        dims = ["?" if dim is None else str(dim) for dim in self.dims or ()]
        dtype = "string" if self.dtype == "object" else self.dtype
        return f"{self.name}: {dtype or self.kind}[{', '.join(dims)}]"


@dataclass(frozen=True)
class Graph:
    """What a file says of its graph.

    Attributes:
        inputs: in the graph's order, without those that have a default.
        outputs: in the graph's order.
        role: `classifier` gives a label and a probability for each class, `predictor` one
            prediction, `graph` whatever its outputs are.
        classes: of a classifier, in the order of the probabilities; None if it does not tell.
        feature_names: the columns that the inputs are made of, by the file's metadata.
        made_by: producer and its version.
        opsets: the version of each domain of operators.
        metadata: what else its author noted.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    role: Role
    classes: tuple[Any, ...] | None
    feature_names: tuple[str, ...] | None
    made_by: tuple[str, str]
    opsets: dict[str, int]
    metadata: dict[str, str]


def graph_of(model: Any) -> Graph:
    """Reads a `ModelProto`."""
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_port(each) for each in graph.input if each.name not in defaults)
    outputs = tuple(_port(each) for each in graph.output)
    classes = _classes(graph, outputs)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Graph(
        inputs,
        outputs,
        _role(graph, outputs, classes),
        classes,
        _named(metadata.get(_FEATURE_NAMES, "")),
        (model.producer_name, model.producer_version),
        {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        metadata,
    )


def label_and_probabilities(outputs: tuple[Port, ...]) -> tuple[Port, Port] | None:
    """The two outputs of a classifier by their types, whatever their order; None if they differ."""
    if len(outputs) != 2:
        return None
    labels = [port for port in outputs if port.dtype in ("int64", "object") and _is_flat(port)]
    scores = [
        port
        for port in outputs
        if port.kind == "maps"
        or (port.dtype in ("float32", "float64") and len(port.row_shape) == 1)
    ]
    return (labels[0], scores[0]) if len(labels) == len(scores) == 1 else None


def _role(graph: Any, outputs: tuple[Port, ...], classes: tuple[Any, ...] | None) -> Role:
    pair = label_and_probabilities(outputs)
    if pair is not None:
        label, probabilities = pair
        is_named = "label" in label.name.lower() and "prob" in probabilities.name.lower()
        if classes is not None or probabilities.kind == "maps" or is_named:
            return "classifier"
    if len(outputs) == 1 and outputs[0].kind == "tensor":
        one_value = outputs[0].dims is not None and _is_flat(outputs[0])
        operators = {node.op_type for node in _way_back(graph, outputs[0].name)}
        if one_value or operators & _REGRESSORS:
            return "predictor"
    return "graph"


def _is_flat(port: Port) -> bool:
    """Whether a tensor has one value in each row."""
    return port.kind == "tensor" and port.row_shape in ((), (1,))


def _port(info: Any) -> Port:
    type_ = info.type
    which = type_.WhichOneof("value")
    if which == "tensor_type":
        tensor = type_.tensor_type
        dims = None
        if tensor.HasField("shape"):
            dims = tuple(dim.dim_value or None for dim in tensor.shape.dim)
        return Port(info.name, "tensor", _DTYPES.get(tensor.elem_type), dims)
    if which == "sequence_type":
        held = type_.sequence_type.elem_type.WhichOneof("value")
        kinds: dict[str, Kind] = {"map_type": "maps", "tensor_type": "tensors"}
        return Port(info.name, kinds.get(held, "other"))
    return Port(info.name, "other")


def _named(text: str) -> tuple[str, ...] | None:
    """Names from the metadata: a JSON list, or separated by commas."""
    if not text.strip():
        return None
    try:
        names = json.loads(text)
    except ValueError:
        names = [name.strip() for name in text.split(",")]
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list else None


def _classes(graph: Any, outputs: tuple[Port, ...]) -> tuple[Any, ...] | None:
    """The classes of a classifier, found on the way from its outputs back."""
    pair = label_and_probabilities(outputs)
    if pair is None:
        return None
    label, probabilities = pair
    for port in (probabilities, label):
        classes = _classes_before(graph, port.name)
        declared = probabilities.row_shape[0] if probabilities.row_shape else None
        fits = declared is None or (classes is not None and declared == len(classes))
        if classes and fits and isinstance(classes[0], str) == (label.dtype == "object"):
            return classes
    return None


def _classes_before(graph: Any, output: str) -> tuple[Any, ...] | None:
    found = (_classes_of(graph, node) for node in _way_back(graph, output))
    return next((classes for classes in found if classes is not None), None)


def _way_back(graph: Any, output: str) -> Iterator[Any]:
    """The operators that a value comes from, up to the first that makes another value of it."""
    makers = {name: node for node in graph.node for name in node.output}
    for _ in range(_MAX_STEPS):
        node = makers.get(output)
        if node is None:
            return
        yield node
        if node.op_type not in _PASSING or not node.input:
            return
        output = node.input[0]


def _classes_of(graph: Any, node: Any) -> tuple[Any, ...] | None:
    """The classes that one operator knows; None if it knows none."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type in ("ArrayFeatureExtractor", "Gather") and node.input:
        return _constant(graph, node.input[0])
    for name in _CLASS_ATTRIBUTES:
        found = _values(attributes.get(name))
        if found:
            return found
    if node.op_type == "LabelEncoder":
        keys = _values(attributes.get("keys_int64s"))
        values = _values(attributes.get("values_strings"))
        values = values or _values(attributes.get("values_int64s"))
        if keys and len(keys) == len(values) and sorted(keys) == list(range(len(keys))):
            return tuple(values[keys.index(index)] for index in range(len(keys)))
    return None


def _values(attribute: Any) -> tuple[Any, ...]:
    if attribute is None:
        return ()
    return tuple(text.decode(errors="replace") for text in attribute.strings) or tuple(
        attribute.ints
    )


def _constant(graph: Any, name: str) -> tuple[Any, ...] | None:
    """The values of a tensor of the file, if they may be classes: text or whole numbers."""
    for tensor in graph.initializer:
        if tensor.name != name:
            continue
        if tensor.string_data:
            return tuple(text.decode(errors="replace") for text in tensor.string_data)
        packed = {7: ("<i8", tensor.int64_data), 6: ("<i4", tensor.int32_data)}
        if tensor.data_type in packed:
            dtype, numbers = packed[tensor.data_type]
            return tuple(numbers) or tuple(np.frombuffer(tensor.raw_data, dtype).tolist())
    return None
