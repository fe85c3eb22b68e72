"""ONNX files that want another file read, or a library loaded; each in another place."""

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx_models import BOOL, FLOAT, graph, value

X, Y = value("x", FLOAT, None, 1), value("y", FLOAT, None, 1)


def elsewhere(name: str, location: str) -> TensorProto:
    """A tensor of one number whose bytes lie at a location."""
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    for key, said in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=said)
    return tensor


def in_an_initializer(location: str) -> ModelProto:
    model = graph([helper.make_node("Add", ["x", "w"], ["y"])], [X], [Y])
    model.graph.initializer.append(elsewhere("w", location))
    return model


def in_a_constant(location: str) -> ModelProto:
    constant = helper.make_node("Constant", [], ["w"], value=elsewhere("w", location))
    return graph([constant, helper.make_node("Add", ["x", "w"], ["y"])], [X], [Y])


def in_a_sparse_initializer(location: str) -> ModelProto:
    model = graph([helper.make_node("Add", ["x", "w"], ["y"])], [X], [Y])
    sparse = model.graph.sparse_initializer.add(dims=[1])
    sparse.values.CopyFrom(elsewhere("w", location))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0]), "w_indices"))
    return model


def in_a_sub_graph(location: str) -> ModelProto:
    branches = {}
    for branch in ("then_branch", "else_branch"):
        node = helper.make_node("Add", ["x", f"w_{branch}"], [f"y_{branch}"])
        tensor = elsewhere(f"w_{branch}", location)
        outputs = [value(f"y_{branch}", FLOAT, None, 1)]
        branches[branch] = helper.make_graph([node], branch, [], outputs, [tensor])
    choose = helper.make_node("If", ["yes"], ["y"], **branches)
    return graph([choose], [X], [Y], {"yes": np.array(True)})


def in_a_function(location: str) -> ModelProto:
    constant = helper.make_node("Constant", [], ["w"], value=elsewhere("w", location))
    add = helper.make_node("Add", ["a", "w"], ["b"])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("made", 1)]
    function = helper.make_function("made", "F", ["a"], ["b"], [constant, add], opsets[:1])
    node = helper.make_node("F", ["x"], ["y"], domain="made")
    return graph([node], [X], [Y], functions=[function], opset_imports=opsets)


def in_training_information(location: str) -> ModelProto:
    model = graph([helper.make_node("Identity", ["x"], ["y"])], [X], [Y])
    model.training_info.add().initialization.initializer.append(elsewhere("w", location))
    return model


def without_the_mark(location: str) -> ModelProto:
    """It names a place, but does not say that its data lies outside."""
    model = in_an_initializer(location)
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    model.graph.initializer[0].float_data.append(1.0)
    return model


PLACES: tuple[Callable[[str], ModelProto], ...] = (
    in_an_initializer,
    in_a_constant,
    in_a_sparse_initializer,
    in_a_sub_graph,
    in_a_function,
    in_training_information,
    without_the_mark,
)


def with_a_custom_operator() -> ModelProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.evil", 1)]
    node = helper.make_node("Run", ["x"], ["y"], domain="com.evil")
    return graph([node], [X], [Y], opset_imports=opsets)


def with_a_custom_operator_inside() -> ModelProto:
    """In both branches of a condition."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.evil", 1)]
    branches = {}
    for branch in ("then_branch", "else_branch"):
        node = helper.make_node("Run", ["x"], [f"y_{branch}"], domain="com.evil")
        outputs = [value(f"y_{branch}", FLOAT, None, 1)]
        branches[branch] = helper.make_graph([node], branch, [], outputs)
    choose = helper.make_node("If", ["yes"], ["y"], **branches)
    inputs = [X, value("yes", BOOL)]
    return graph([choose], inputs, [Y], {"yes": np.array(True)}, opset_imports=opsets)
