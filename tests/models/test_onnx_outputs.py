"""What a graph gives becomes columns; what is not one result for each row is an error."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scoreline.models import ContractError, ModelOutputError
from scoreline.models.onnx_graph import Graph, Port, Role
from scoreline.models.onnx_outputs import offered, to_output_columns, wanted_ports

LABEL = Port("label", "tensor", "int64", (None,))
MATRIX = Port("probabilities", "tensor", "float32", (None, 2))
MAPS = Port("probabilities", "maps")


def made(role: Role, *ports: Port, classes: tuple[Any, ...] | None = None) -> Graph:
    return Graph((), ports, role, classes, None, ("", ""), {}, {})


def columns(graph: Graph, *results: Any, rows: int = 2) -> dict[str, pa.Array]:
    return to_output_columns(graph, graph.outputs, results, rows)


def values(graph: Graph, *results: Any) -> dict[str, list]:
    return {name: column.to_pylist() for name, column in columns(graph, *results).items()}


def test_what_may_be_asked_for():
    classifier = made("classifier", MATRIX, LABEL)
    assert offered(classifier) == ("predict", "predict_proba")
    assert wanted_ports(classifier, ("predict",), "m") == (LABEL,)
    assert wanted_ports(classifier, ("predict_proba", "predict"), "m") == (MATRIX, LABEL)
    several = made("graph", LABEL, MATRIX)
    assert offered(several) == ("predict",)
    assert wanted_ports(several, ("predict",), "m") == (LABEL, MATRIX)
    with pytest.raises(ContractError) as raised:
        wanted_ports(several, ("predict", "transform", "raw_score"), "m")
    assert str(raised.value) == (
        "model 'm' (ONNX) has no transform, raw_score: the graph's outputs are label, "
        "probabilities. It offers --outputs predict"
    )


def test_a_graph_without_outputs():
    with pytest.raises(ContractError, match=r"has no output: there is nothing to write"):
        wanted_ports(made("graph"), ("predict",), "m")


def test_a_classifier_has_a_column_for_each_class():
    label, matrix = np.array([7, 5]), np.array([[0.25, 0.75], [1, 0]], np.float32)
    expected = {"prediction": [7, 5], "probability_5": [0.25, 1.0], "probability_7": [0.75, 0.0]}
    assert values(made("classifier", LABEL, MATRIX, classes=(5, 7)), label, matrix) == expected
    maps = [{5: 0.25, 7: 0.75}, {7: 0.0, 5: 1.0}]
    assert values(made("classifier", LABEL, MAPS, classes=(5, 7)), label, maps) == expected
    assert values(made("classifier", LABEL, MAPS), label, maps) == expected
    numbered = values(made("classifier", LABEL, MATRIX), label, matrix)
    assert list(numbered) == ["prediction", "probability_0", "probability_1"]
    reversed_ = values(made("classifier", MAPS, LABEL, classes=(7, 5)), maps, label)
    assert list(reversed_) == ["probability_7", "probability_5", "prediction"]
    of_maps = columns(made("classifier", LABEL, MAPS), label, maps)
    assert of_maps["probability_5"].type == pa.float32()


def test_a_prediction_is_flat():
    for shape in ((2,), (2, 1)):
        array = np.array([1.5, 2.5], np.float32).reshape(shape)
        port = Port("y", "tensor", "float32", (None, *shape[1:]))
        assert values(made("predictor", port), array) == {"prediction": [1.5, 2.5]}
    several = Port("y", "tensor", "float32", (None, 2))
    assert values(made("predictor", several), np.eye(2)) == {
        "prediction_0": [1.0, 0.0],
        "prediction_1": [0.0, 1.0],
    }


def test_other_graphs_have_columns_of_their_own_names():
    ports = (
        Port("flat", "tensor", "int64", (None, 1)),
        Port("words", "tensor", "object", (None, 2)),
        Port("cube", "tensor", "float64", (None, 1, 2)),
        Port("scores", "maps"),
        Port("parts", "tensors"),
    )
    words = np.array([["a", "b"], ["c", ""]], object)
    found = columns(
        made("graph", *ports),
        np.array([[1], [2]]),
        words,
        np.zeros((2, 1, 2)),
        [{"x": 1.0, "y": 0.5}, {"x": 0.0, "y": 0.25}],
        [np.array([1, 2]), np.array([[3, 4], [5, 6]])],
    )
    assert {name: column.to_pylist() for name, column in found.items()} == {
        "flat": [1, 2],
        "words": [["a", "b"], ["c", ""]],
        "cube": [[[0.0, 0.0]], [[0.0, 0.0]]],
        "scores_x": [1.0, 0.0],
        "scores_y": [0.5, 0.25],
        "parts_0": [1, 2],
        "parts_1": [[3, 4], [5, 6]],
    }
    assert found["words"].type == pa.list_(pa.string(), 2)


@pytest.mark.parametrize(
    ("port", "result", "words"),
    [
        (LABEL, np.arange(3), "the graph's output 'label' has 3 results for 2 rows"),
        (LABEL, np.array(5), "the graph's output 'label' has one value for 2 rows"),
        (MAPS, [{"a": 1.0}], "the graph's output 'probabilities' has 1 results for 2 rows"),
        (Port("parts", "tensors"), [np.arange(3)], "the graph's output 'parts' has 3 results"),
    ],
    ids=["long", "one value", "maps", "sequence"],
)
def test_not_one_result_for_each_row(port: Port, result: Any, words: str):
    with pytest.raises(ModelOutputError, match=words):
        columns(made("graph", port), result)


def test_a_map_without_a_class():
    with pytest.raises(ModelOutputError, match=r"'probabilities' has no 'b' in some row"):
        columns(made("classifier", MAPS, classes=("a", "b")), [{"a": 1.0, "b": 0.0}, {"a": 1.0}])


def test_two_columns_of_one_name():
    ports = (Port("s", "maps"), Port("s_a", "tensor", "float32", (None,)))
    with pytest.raises(ModelOutputError, match=r"would write \['s_a'\] twice"):
        columns(made("graph", *ports), [{"a": 1.0}] * 2, np.zeros(2))
