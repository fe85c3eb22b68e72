"""Which columns the inputs of an ONNX graph are made of, and how a batch becomes these inputs."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from .contract import Contract, Feature
from .dictionaries import decode_dictionary
from .errors import ContractError, ModelError
from .exact import to_dtype
from .numeric import as_numbers
from .onnx_graph import Graph, Port
from .tensors import tensor_type, to_tensor


@dataclass(frozen=True)
class Feed:
    """How one input of a graph is made.

    Attributes:
        port: the input.
        columns: one number or text of each makes a row; or the one column whose lists are rows.
        tensor: the type of these lists; None if the columns hold single values.
    """

    port: Port
    columns: tuple[str, ...]
    tensor: pa.DataType | None = None


def feeds_of(graph: Graph, features: tuple[str, ...] | None, model_name: str) -> tuple[Feed, ...]:
    """Decides which columns each input is made of.

    By default an input takes one column of its own name: of single values if it has one per row,
    else of lists. `features`, or the metadata of the file, name the columns otherwise: one for
    each input, or one for each number of all inputs.

    Raises:
        ModelError: an input takes what no column can hold.
        ContractError: the named columns are too many or too few.
    """
    for port in graph.inputs:
        _check_port(port, model_name)
    names = features or graph.feature_names
    if names is None:
        return tuple(_named_like_input(port) for port in graph.inputs)
    by_value = _split(graph.inputs, names)
    if by_value is not None:
        return by_value
    if len(names) == len(graph.inputs):
        pairs = zip(graph.inputs, names, strict=True)
        return tuple(_of_one_column(port, name) for port, name in pairs)
    who = "--features names" if features else "its metadata (feature_names) names"
    raise ContractError(
        f"model {model_name!r} takes {_described(graph)}, but {who} {len(names)}: {list(names)}. "
        "Name with --features one column for each input, or one for each number, in this order."
    )


def contract_of(graph: Graph, feeds: tuple[Feed, ...]) -> Contract:
    """What the columns must hold so that the graph takes them."""
    found = [_feature(feed, name) for feed in feeds for name in feed.columns]
    single = len(feeds) == 1 and feeds[0].tensor is None
    return Contract(tuple(found), "matrix" if single else "tensors", _advice(graph))


def to_inputs(batch: pa.RecordBatch, feeds: tuple[Feed, ...]) -> dict[str, np.ndarray]:
    """Turns a batch into arrays, by the names of a graph's inputs.

    Raises:
        ValueError: a value is none that the graph takes; `Conform` finds these before.
    """
    return {feed.port.name: _array(batch, feed) for feed in feeds}


def _check_port(port: Port, model_name: str) -> None:
    takes = f"model {model_name!r}: the input {port}"
    if port.kind != "tensor" or port.dtype is None:
        raise ModelError(
            f"{takes} takes what no column can hold. Export it with tensors of numbers or strings."
        )
    if port.dims == ():
        raise ModelError(
            f"{takes} is one value for all rows. Give it a default in the graph (an initializer)."
        )


def _named_like_input(port: Port) -> Feed:
    return _of_one_column(port, port.name)


def _of_one_column(port: Port, name: str) -> Feed:
    if port.row_shape in ((), (1,)):
        return Feed(port, (name,))
    return Feed(port, (name,), tensor_type(port.value_type, port.row_shape))


def _split(ports: tuple[Port, ...], names: tuple[str, ...]) -> tuple[Feed, ...] | None:
    """One column for each number of all inputs, in order; None if their count is another."""
    widths = [_width(port) for port in ports]
    if len(ports) == 1 and widths == [None] and len(ports[0].row_shape) <= 1:
        return (Feed(ports[0], names),)  # the graph takes as many as there are
    known = [width for width in widths if width is not None]
    if len(known) < len(widths) or sum(known) != len(names):
        return None
    rest = iter(names)
    pairs = zip(ports, known, strict=True)
    return tuple(Feed(port, tuple(islice(rest, width))) for port, width in pairs)


def _width(port: Port) -> int | None:
    """How many values an input takes of each row, if they are in one line and it says how many."""
    if port.dims is None or len(port.row_shape) > 1:
        return None
    return port.row_shape[0] if port.row_shape else 1


def _feature(feed: Feed, name: str) -> Feature:
    port = feed.port
    is_float = np.dtype(port.dtype).kind == "f"
    if feed.tensor is not None:
        return Feature(name, "tensor", is_float, True, feed.tensor)
    if port.dtype == "object":
        return Feature(name, "text", nullable=False)
    if is_float:
        return Feature(name, "number")  # a missing value is NaN
    return Feature(name, "number", nullable=False, infinite=False, type=port.value_type)


def _described(graph: Graph) -> str:
    return f"the inputs {', '.join(map(str, graph.inputs))}"


def _advice(graph: Graph) -> str:
    """What to do about missing columns: a graph seldom knows the names that its author had."""
    if len(graph.inputs) == 1 and graph.inputs[0].row_shape not in ((), (1,)):
        return (
            f"The graph takes {_described(graph)} and does not name columns: name those of single "
            "numbers in the order of training with --features A,B,..., or the one column of lists "
            "with --features A (model.features)."
        )
    return (
        f"The graph takes {_described(graph)}: rename the columns like that (--rename OLD=NEW), or "
        "name them in this order with --features A,B,... (model.features)."
    )


def _array(batch: pa.RecordBatch, feed: Feed) -> np.ndarray:
    dtype = np.dtype(feed.port.dtype)
    if feed.tensor is not None:
        name = feed.columns[0]
        return to_tensor(
            batch.column(name), feed.tensor, lambda values: _values(values, name, dtype)
        )
    if len(feed.columns) == 1:
        values = _values(batch.column(feed.columns[0]), feed.columns[0], dtype)
        return values if feed.port.dims is not None and not feed.port.row_shape else values[:, None]
    array = np.empty((batch.num_rows, len(feed.columns)), dtype)
    for index, name in enumerate(feed.columns):
        array[:, index] = _values(batch.column(name), name, dtype)
    return array


def _values(column: pa.Array, name: str, dtype: np.dtype) -> np.ndarray:
    """The values of one column in a graph's dtype."""
    if dtype.kind != "O":
        numbers, unsafe = as_numbers(column)
        if unsafe is not None:
            raise ValueError(f"column {name!r}: a text spells no number")
        try:
            return to_dtype(numbers, dtype)
        except ValueError as error:
            raise ValueError(f"column {name!r}: {error}") from None
    text = decode_dictionary(column)
    if text.null_count:
        raise ValueError(f"column {name!r}: a missing value, and no text stands for one")
    return text.cast(pa.string()).to_numpy(zero_copy_only=False)
