"""Scores with an ONNX graph in onnxruntime."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .artifact import Artifact
from .contract import Contract, Kind
from .errors import ContractError, ModelError, ModelOutputError
from .model import ModelInfo
from .model_format import Description, ModelFormat, require
from .onnx_file import (
    check_parsed,
    check_self_contained,
    custom_domains,
    damaged,
    external_data,
    is_onnx,
    parse,
)
from .onnx_graph import Graph, Port, graph_of
from .onnx_inputs import Feed, contract_of, feeds_of, to_inputs
from .onnx_outputs import offered, to_output_columns, wanted_ports
from .restrict import Rule
from .trust import Trust

_FATAL = 4  # of onnxruntime's log: what it has to say, it raises too


class OnnxModel:
    """A graph in a session. Running does not change it: threads may share it.

    Args:
        session: onnxruntime's.
        graph: what the file says of it.
        feeds: what its inputs are made of.
        ports: its outputs to compute.
        info: for reports.
    """

    def __init__(
        self,
        session: Any,
        graph: Graph,
        feeds: tuple[Feed, ...],
        ports: tuple[Port, ...],
        info: ModelInfo,
    ):
        self.info = info
        self.contract: Contract = contract_of(graph, feeds)
        self._session = session
        self._graph = graph
        self._feeds = feeds
        self._ports = ports
        self._names = [port.name for port in ports]
        self._fixed_rows = _fixed_rows(graph, info.name)

    @classmethod
    def load(
        cls,
        artifact: Artifact,
        trust: Trust,
        outputs: tuple[str, ...],
        features: tuple[str, ...] | None,
    ) -> "OnnxModel":
        """Makes a session of the very bytes of a file, after a look at what they hold."""
        del trust  # no part of it is about data
        model = parse(artifact)
        check_parsed(artifact, model)
        graph = _graph(artifact, model)
        feeds = feeds_of(graph, features, artifact.name)
        ports = wanted_ports(graph, outputs, artifact.name)
        info = ModelInfo.of(artifact, FORMAT.name, _notes(graph, artifact.name))
        return cls(_session(artifact, graph), graph, feeds, ports, info)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns the contract's columns of a batch into the asked outputs."""
        inputs = to_inputs(batch, self._feeds)
        if self._fixed_rows is None:
            results = self._session.run(self._names, inputs)
        else:
            results = self._run_in_pieces(inputs, batch.num_rows, self._fixed_rows)
        return pa.record_batch(to_output_columns(self._graph, self._ports, results, batch.num_rows))

    def _run_in_pieces(self, inputs: dict[str, np.ndarray], num_rows: int, size: int) -> list[Any]:
        """Runs a graph that takes a fixed number of rows; the last row fills up the last piece."""
        pieces = []
        for start in range(0, num_rows, size):
            count = min(size, num_rows - start)
            piece = {name: array[start : start + count] for name, array in inputs.items()}
            if count < size:
                piece = {name: _filled(array, size) for name, array in piece.items()}
            results = self._session.run(self._names, piece)
            pieces.append([_first_rows(result, size, count) for result in results])
        return [_joined(parts) for parts in zip(*pieces, strict=True)]


def _graph(artifact: Artifact, model: Any) -> Graph:
    try:
        return graph_of(model)
    except Exception as error:  # a graph that nobody would make, such as one with absurd numbers
        raise damaged(artifact, error) from None


def _session(artifact: Artifact, graph: Graph) -> Any:
    """Opens a session in which nothing but the file's bytes counts.

    Raises:
        ModelError: onnxruntime cannot run the graph.
    """
    runtime = require("onnxruntime", "onnx", artifact)
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = num_threads()
    options.inter_op_num_threads = 1
    # An arena would keep the most that all threads ever used at once, for as long as it lives.
    options.enable_cpu_mem_arena = False
    # Threads that have nothing to do sleep: others wait for the processor.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A file may be ONNX to us and at the same time onnxruntime's own format to onnxruntime.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return runtime.InferenceSession(
            artifact.data,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # to the same provider; it would print that on stdout
        )
    except Exception as error:  # each of its errors has a class of its own
        opsets = ", ".join(f"{name} {version}" for name, version in graph.opsets.items())
        raise ModelError(
            f"cannot load model {artifact.uri}: {_first_line(error)}. It uses the operator sets "
            f"{opsets or 'of no version'}, and this is onnxruntime {runtime.__version__}: "
            f"{_what_to_do(error)}"
        ) from None


def _what_to_do(error: Exception) -> str:
    if "locale" in str(error):
        return (
            "text is compared in a locale that this machine does not have. Install it, or export "
            "the vectoriser with options={'locale': 'C'}."
        )
    return (
        "the file may be damaged, or made for a newer one. Export it again, or upgrade "
        "'scoreline[onnx]'."
    )


def num_threads() -> int:
    """How many threads one run may use: 0 leaves it to onnxruntime, one for each core.

    Where this process may use fewer processors than there are, by its affinity, by the quota of a
    container or by LOKY_MAX_CPU_COUNT, so many. Bits of a sum over many trees may depend on it, so
    it is onnxruntime's own number wherever it can be.
    """
    import joblib

    allowed = joblib.cpu_count()
    return allowed if allowed < (os.cpu_count() or 1) else 0


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _fixed_rows(graph: Graph, model_name: str) -> int | None:
    """The number of rows that a graph takes at a time; None for any."""
    fixed = {port.dims[0] for port in graph.inputs if port.dims and port.dims[0] is not None}
    if len(fixed) > 1:
        raise ModelError(
            f"model {model_name!r} takes inputs of different fixed numbers of rows: "
            f"{', '.join(map(str, graph.inputs))}. Export it with one number, or an open one."
        )
    return fixed.pop() if fixed else None


def _filled(array: np.ndarray, size: int) -> np.ndarray:
    """Repeats the last row: what the graph took once, it takes again."""
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])


def _first_rows(result: Any, size: int, count: int) -> Any:
    """The rows that were asked for; a result of another length stays, for who checks it."""
    if isinstance(result, list) and result and isinstance(result[0], np.ndarray):
        return [_first_rows(part, size, count) for part in result]
    if np.ndim(result) == 0 and not isinstance(result, list):
        raise ModelOutputError(f"the graph gives one value for {size} rows; expected one for each")
    return result[:count] if len(result) == size else result


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    if parts[0] and isinstance(parts[0][0], np.ndarray):
        return [np.concatenate(each) for each in zip(*parts, strict=True)]
    return [row for part in parts for row in part]


def _notes(graph: Graph, model_name: str) -> tuple[str, ...]:
    size = _fixed_rows(graph, model_name)
    if size is None:
        return ()
    return (
        f"the graph takes {size} rows at a time: batches are cut into pieces of {size}; exported "
        "with an open first dimension it would be faster",
    )


def _describe(artifact: Artifact) -> Description:
    model = parse(artifact)
    graph = _graph(artifact, model)
    producer, version = graph.made_by
    contract = _contract(graph, artifact.name)
    notes = [
        f"takes {', '.join(map(str, graph.inputs))}",
        f"gives {', '.join(map(str, graph.outputs))}",
        f"operator sets {', '.join(f'{name} {number}' for name, number in graph.opsets.items())}",
        *(f"metadata {key}: {value[:200]}" for key, value in sorted(graph.metadata.items())),
        *(
            f"data outside of the file, which is refused: {place!r}"
            for place in external_data(model)
        ),
        *(f"custom operators, which are refused: {name}" for name in custom_domains(model)),
        *(["its columns have no names: give them with --features"] * _is_unnamed_matrix(graph)),
        *_notes(graph, artifact.name),
    ]
    return Description(
        kind={"classifier": "classifier", "predictor": "model", "graph": "graph"}[graph.role],
        features=contract.names if contract is not None else None,
        outputs=offered(graph),
        classes=tuple(map(str, graph.classes)) if graph.classes else None,
        made_with={producer: version} if producer else {},
        notes=tuple(notes),
        rules=_rules(contract),
    )


def _contract(graph: Graph, model_name: str) -> Contract | None:
    """The contract, as far as the file names its columns itself."""
    if _is_unnamed_matrix(graph):
        return None
    try:
        return contract_of(graph, feeds_of(graph, None, model_name))
    except (ModelError, ContractError):
        return None


def _is_unnamed_matrix(graph: Graph) -> bool:
    """Whether the only name in the file is that of a variable of the exporter's."""
    single = len(graph.inputs) == 1 and graph.feature_names is None
    return single and graph.inputs[0].row_shape not in ((), (1,))


def _rules(contract: Contract | None) -> dict[str, Rule]:
    features = contract.features if contract is not None else ()
    kinds: dict[str, Kind | None] = {"number": "number", "text": "text"}
    return {
        feature.name: Rule(kinds.get(feature.kind), required=not feature.nullable)
        for feature in features
    }


FORMAT = ModelFormat(
    name="onnx",
    title="ONNX graph",
    extensions=(".onnx",),
    extra="onnx",
    recognises=is_onnx,
    load=OnnxModel.load,
    describe=_describe,
    check_trust=check_self_contained,
    is_native=True,
)
