"""What a file says of its graph: kinds, shapes, and whether it is a classifier of which classes."""

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import DOUBLE, FLOAT, INT64, STRING, graph, value

from scoreline.models.onnx_graph import Graph, graph_of

X = value("x", FLOAT, None, 3)
TREE: dict[str, Any] = {
    "nodes_treeids": [0],
    "nodes_nodeids": [0],
    "nodes_featureids": [0],
    "nodes_modes": ["LEAF"],
    "nodes_values": [0.0],
    "nodes_truenodeids": [0],
    "nodes_falsenodeids": [0],
}


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    domain = "" if operator in _PLAIN else "ai.onnx.ml"
    return helper.make_node(operator, inputs, outputs, domain=domain, **attributes)


_PLAIN = ("ArgMax", "Cast", "Gather", "Identity", "Reshape", "Softmax")


def read(nodes: list[Any], outputs: list[Any], **constants: Any) -> Graph:
    return graph_of(graph(nodes, [X], outputs, constants))


def test_types_and_shapes_as_a_person_reads_them():
    ports = [
        value("a", FLOAT, "rows", 3),
        value("b", STRING, None, 1),
        value("c", INT64, 8),
        value("d", 16, None),
        helper.make_tensor_sequence_value_info("e", FLOAT, [None]),
    ]
    model = graph([node("Identity", ["a"], ["y"])], ports, [value("y", FLOAT, None, 3)])
    model.graph.input.add(name="f")
    read_ = graph_of(model)
    assert [str(port) for port in read_.inputs] == [
        *("a: float32[?, 3]", "b: string[?, 1]", "c: int64[8]", "d: tensor[?]"),
        *("e: tensors[]", "f: other[]"),
    ]
    assert read_.inputs[0].row_shape == (3,)
    assert read_.inputs[2].row_shape == ()
    assert read_.opsets == {"ai.onnx": 17, "ai.onnx.ml": 3}
    assert read_.made_by == ("by hand", "1")


LABEL, SCORES = value("label", INT64, None), value("scores", FLOAT, None, 3)
WORD = value("word", STRING, None)


@pytest.mark.parametrize(
    ("attributes", "label", "classes"),
    [
        ({"classlabels_int64s": [3, 5, 7]}, LABEL, (3, 5, 7)),
        ({"classlabels_strings": ["a", "b", "c"]}, WORD, ("a", "b", "c")),
    ],
)
@pytest.mark.parametrize(
    "operator", ["TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"]
)
@pytest.mark.parametrize("normalised", [False, True])
def test_an_operator_that_classifies_knows_the_classes(
    attributes: dict[str, Any], label: Any, classes: tuple, operator: str, normalised: bool
):
    attributes = {
        name.replace("64s", "s") if operator.startswith("Lin") else name: value_
        for name, value_ in attributes.items()
    }
    raw = "raw" if normalised else "scores"
    nodes = [node(operator, ["x"], [label.name, raw], **attributes)]
    if normalised:
        nodes.append(node("Normalizer", ["raw"], ["scores"], norm="L1"))
    for outputs in ([label, SCORES], [SCORES, label]):
        found = read(nodes, outputs)
        assert found.role == "classifier"
        assert found.classes == classes


def test_classes_may_stand_in_a_tensor_that_the_label_is_picked_from():
    nodes = [
        node("Softmax", ["x"], ["scores"]),
        node("ArgMax", ["scores"], ["index"]),
        node("ArrayFeatureExtractor", ["classes", "index"], ["picked"]),
        node("Reshape", ["picked", "shape"], ["label"]),
    ]
    outputs = [value("label", INT64, None), SCORES]
    shape = np.array([-1])
    for classes in (np.array([1, 2, 4]), np.array([1, 2, 4], np.int32)):
        assert read(nodes, outputs, classes=classes, shape=shape).classes == (1, 2, 4)
    words = [value("label", STRING, None), SCORES]
    found = read(nodes, words, classes=np.array(["no", "so", "yes"], object), shape=shape)
    assert found.classes == ("no", "so", "yes")
    # What does not fit the probabilities or the label's type is no list of its classes.
    assert read(nodes, outputs, classes=np.array([1, 2]), shape=shape).classes is None
    assert (
        read(nodes, outputs, classes=np.array(["a", "b", "c"], object), shape=shape).classes is None
    )


def test_classes_of_a_label_encoder():
    nodes = [
        node("ArgMax", ["x"], ["index"]),
        node(
            "LabelEncoder",
            ["index"],
            ["word"],
            keys_int64s=[2, 0, 1],
            values_strings=["c", "a", "b"],
        ),
        node("Identity", ["x"], ["scores"]),
    ]
    assert read(nodes, [WORD, SCORES]).classes == ("a", "b", "c")


def test_a_label_and_probabilities_by_name_alone():
    nodes = [
        node("ArgMax", ["x"], ["output_label"]),
        node("Identity", ["x"], ["output_probability"]),
    ]
    outputs = [value("output_label", INT64, None), value("output_probability", FLOAT, None, 3)]
    found = read(nodes, outputs)
    assert (found.role, found.classes) == ("classifier", None)


@pytest.mark.parametrize(
    "outputs",
    [
        [LABEL, SCORES],
        [LABEL],
        [value("label", FLOAT, None), value("probabilities", FLOAT, None, 3)],
        [value("label", INT64, None, 2), value("probabilities", FLOAT, None, 3)],
        [LABEL, value("probabilities", FLOAT, None, 3), value("more", FLOAT, None)],
        [value("y", FLOAT, None, 3)],
        [value("y", FLOAT, None, 2, 2)],
    ],
    ids=lambda outputs: ",".join(port.name for port in outputs),
)
def test_what_is_no_classifier_is_a_graph_or_a_predictor(outputs: list[Any]):
    nodes = [node("Identity", ["x"], [port.name]) for port in outputs]
    expected = "predictor" if len(outputs) == 1 and outputs[0] is LABEL else "graph"
    assert read(nodes, outputs).role == expected


@pytest.mark.parametrize("dims", [[None], [None, 1], [8], [8, 1]])
def test_one_value_for_each_row_is_a_prediction(dims: list[int | None]):
    assert read([node("Identity", ["x"], ["y"])], [value("y", DOUBLE, *dims)]).role == "predictor"


@pytest.mark.parametrize(
    "regressor",
    [
        node("LinearRegressor", ["x"], ["y"], coefficients=[0.0] * 6, targets=2),
        node("TreeEnsembleRegressor", ["x"], ["y"], n_targets=2, **TREE),
    ],
    ids=lambda regressor: regressor.op_type,
)
def test_what_ends_in_a_regressor_is_a_prediction_of_several_targets(regressor: Any):
    assert read([regressor], [value("y", FLOAT, None, 2)]).role == "predictor"


def test_a_graph_that_is_a_circle_is_read_nevertheless():
    nodes = [node("Identity", ["label"], ["scores"]), node("Identity", ["scores"], ["label"])]
    assert read(nodes, [LABEL, SCORES]).role == "graph"
