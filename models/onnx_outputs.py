"""Turns what an ONNX graph gives into named output columns."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import ContractError, ModelOutputError, RowCountError
from .onnx_graph import Graph, Port, label_and_probabilities
from .outputs import to_arrow, to_columns
from .tensors import to_lists

_FLOATS = ("float32", "float64")
_OFFERED = {
    "classifier": ("predict", "predict_proba"),
    "predictor": ("predict",),
    "graph": ("predict",),
}


def offered(graph: Graph) -> tuple[str, ...]:
    """What may be asked of a graph, of `scoreline.models.outputs.OUTPUTS`."""
    return _OFFERED[graph.role]


def wanted_ports(graph: Graph, outputs: tuple[str, ...], model_name: str) -> tuple[Port, ...]:
    """The graph's outputs that are needed for the asked ones: the others are not computed.

    Raises:
        ContractError: the graph does not give them; names what it gives.
    """
    missing = [output for output in outputs if output not in offered(graph)]
    if missing:
        names = ", ".join(port.name for port in graph.outputs)
        raise ContractError(
            f"model {model_name!r} (ONNX) has no {', '.join(missing)}: the graph's outputs are "
            f"{names}. It offers --outputs {','.join(offered(graph))}"
        )
    if not graph.outputs:
        raise ContractError(f"model {model_name!r} (ONNX) has no output: there is nothing to write")
    pair = label_and_probabilities(graph.outputs)
    if graph.role != "classifier" or pair is None:
        return graph.outputs
    by_output = dict(zip(_OFFERED["classifier"], pair, strict=True))
    return tuple(by_output[output] for output in outputs)


def to_output_columns(
    graph: Graph, ports: Sequence[Port], results: Sequence[Any], num_rows: int
) -> dict[str, pa.Array]:
    """Turns the graph's results for some of its outputs into columns.

    A classifier's are `prediction` and `probability_<class>`, a predictor's `prediction`; any
    other graph's have the names of its outputs, tensors as lists of a fixed size.

    Raises:
        ModelOutputError: not one result for each row.
    """
    columns: dict[str, pa.Array] = {}
    for port, result in zip(ports, results, strict=True):
        if graph.role == "graph":
            found = _own_columns(port, result, num_rows)
        elif port.kind == "maps" or (graph.role == "classifier" and port.dtype in _FLOATS):
            found = _probabilities(port, result, num_rows, graph.classes)
        else:
            flat = result[:, 0] if np.ndim(result) == 2 and np.shape(result)[1] == 1 else result
            found = to_columns("predict", flat, num_rows, None)
        repeated = columns.keys() & found.keys()
        if repeated:
            raise ModelOutputError(f"the graph's outputs would write {sorted(repeated)} twice")
        columns |= found
    return columns


def _probabilities(
    port: Port, result: Any, num_rows: int, classes: tuple[Any, ...] | None
) -> dict[str, pa.Array]:
    if port.kind == "maps":
        keys, result = _matrix(port, result, num_rows, classes)
        return to_columns("predict_proba", result, num_rows, keys)
    return to_columns("predict_proba", result, num_rows, classes)


def _own_columns(port: Port, result: Any, num_rows: int) -> dict[str, pa.Array]:
    if port.kind == "maps":
        keys, matrix = _matrix(port, result, num_rows, None)
        pairs = zip(keys, matrix.T, strict=True)
        return {f"{port.name}_{key}": to_arrow(column) for key, column in pairs}
    if port.kind == "tensors":
        return {
            f"{port.name}_{index}": _tensor_column(port, part, num_rows)
            for index, part in enumerate(result)
        }
    return {port.name: _tensor_column(port, result, num_rows)}


def _tensor_column(port: Port, array: Any, num_rows: int) -> pa.Array:
    _check_rows(port, np.shape(array)[:1], num_rows)
    if array.ndim == 1:
        return to_arrow(array)
    if array.shape[1:] == (1,):
        return to_arrow(array[:, 0])
    return to_lists(array)


def _matrix(
    port: Port, maps: Any, num_rows: int, classes: tuple[Any, ...] | None
) -> tuple[tuple[Any, ...], np.ndarray]:
    """The names and the values of maps, one for each row; float32, as ZipMap gives them."""
    _check_rows(port, (len(maps),), num_rows)
    names = classes or tuple(maps[0])
    matrix = np.empty((len(names), num_rows), np.float32)
    try:
        for values, name in zip(matrix, names, strict=True):
            values[:] = np.fromiter(map(itemgetter(name), maps), np.float32, num_rows)
    except KeyError as error:
        raise ModelOutputError(
            f"the graph's output {port.name!r} has no {error} in some row: expected {names}"
        ) from None
    return names, matrix.T


def _check_rows(port: Port, shape: tuple[int, ...], num_rows: int) -> None:
    if shape != (num_rows,):
        came = f"{shape[0]} results" if shape else "one value"
        raise (RowCountError if shape else ModelOutputError)(
            f"the graph's output {port.name!r} has {came} for {num_rows} rows; it must have one "
            "for each row, in order"
        )
