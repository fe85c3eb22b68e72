"""Which columns a graph takes, what they may hold, and the arrays that they become."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from onnx import helper
from onnx_models import BOOL, DOUBLE, FLOAT, INT32, INT64, STRING, batch, graph, passing, value

from scoreline.models import Contract, ContractError, Feature, ModelError
from scoreline.models.conformance import check_conformance
from scoreline.models.onnx_graph import graph_of
from scoreline.models.onnx_inputs import contract_of, feeds_of, to_inputs
from scoreline.models.tensors import tensor_type

MATRIX = passing(("X", FLOAT, [None, 3]))
PAIR = passing(("numbers", FLOAT, [None, 2]), ("word", STRING, [None, 1]))


def contract(model: Any, features: tuple[str, ...] | None = None) -> Contract:
    read = graph_of(model)
    return contract_of(read, feeds_of(read, features, "m"))


def inputs(model: Any, rows: pa.RecordBatch, *features: str) -> dict[str, np.ndarray]:
    return to_inputs(rows, feeds_of(graph_of(model), features or None, "m"))


def named(model: Any, text: str) -> Any:
    """The model with names of columns in its metadata."""
    del model.metadata_props[:]
    model.metadata_props.add(key="feature_names", value=text)
    return model


def test_what_single_values_may_be():
    ports = [("f", FLOAT), ("d", DOUBLE), ("i", INT32), ("s", STRING), ("b", BOOL)]
    model = passing(*((name, type_, [None, 1]) for name, type_ in ports))
    assert contract(model).features == (
        Feature("f"),
        Feature("d"),
        Feature("i", nullable=False, infinite=False, type=pa.int32()),
        Feature("s", "text", nullable=False),
        Feature("b", nullable=False, infinite=False, type=pa.bool_()),
    )


def test_a_matrix_is_columns_with_names_or_one_column_of_lists():
    assert contract(MATRIX, ("a", "b", "c")).names == ("a", "b", "c")
    assert contract(MATRIX, ("a", "b", "c")).layout == "matrix"
    lists = tensor_type(pa.float32(), (3,))
    assert contract(MATRIX).features == (Feature("X", "tensor", type=lists),)
    assert contract(MATRIX, ("v",)).features == (Feature("v", "tensor", type=lists),)


@pytest.mark.parametrize("text", ['["a", "b", "c"]', "a, b,c"])
def test_the_metadata_may_name_the_columns(text: str):
    model = named(passing(("X", FLOAT, [None, 3])), text)
    assert contract(model).names == ("a", "b", "c")
    assert contract(model, ("x", "y", "z")).names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("text", "count"), [('["a"]', 1), ("", None), ('{"a": 1}', None), ("[1]", None)]
)
def test_metadata_that_names_no_columns(text: str, count: int | None):
    model = named(passing(("X", FLOAT, [None, 3])), text)
    assert contract(model).names == (("a",) if count else ("X",))


def test_metadata_that_names_too_few():
    with pytest.raises(
        ContractError, match=r"its metadata \(feature_names\) names 2: \['a', 'b'\]"
    ):
        contract(named(passing(("X", FLOAT, [None, 3])), "a,b"))


def test_several_inputs_take_one_name_each_or_one_for_each_value():
    assert contract(PAIR).names == ("numbers", "word")
    assert contract(PAIR, ("n", "w")).names == ("n", "w")
    assert [f.kind for f in contract(PAIR, ("n", "w")).features] == ["tensor", "text"]
    assert contract(PAIR, ("x", "y", "w")).names == ("x", "y", "w")
    assert [f.kind for f in contract(PAIR, ("x", "y", "w")).features] == [
        "number",
        "number",
        "text",
    ]
    with pytest.raises(ContractError) as raised:
        contract(PAIR, ("a", "b", "c", "d"))
    assert str(raised.value) == (
        "model 'm' takes the inputs numbers: float32[?, 2], word: string[?, 1], but --features "
        "names 4: ['a', 'b', 'c', 'd']. Name with --features one column for each input, or one "
        "for each number, in this order."
    )


def test_an_open_width_takes_as_many_as_are_named():
    model = passing(("X", FLOAT, [None, None]))
    assert contract(model, ("a", "b")).names == ("a", "b")
    rows = batch(a=[1, 2], b=[0.5, None])
    assert inputs(model, rows, "a", "b")["X"].tolist()[0] == [1.0, 0.5]
    lists = batch(X=pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)))
    assert inputs(model, lists)["X"].tolist() == [[1, 2], [3, 4]]


def test_missing_columns_are_answered_with_what_the_graph_takes():
    with pytest.raises(ContractError) as raised:
        contract(MATRIX).check(pa.schema([("a", pa.float64())]), "m")
    assert str(raised.value) == (
        "model 'm' needs columns ['X'] that the input lacks; it has ['a']. The graph takes the "
        "inputs X: float32[?, 3] and does not name columns: name those of single numbers in the "
        "order of training with --features A,B,..., or the one column of lists with --features A "
        "(model.features)."
    )
    with pytest.raises(
        ContractError, match=r"takes the inputs numbers: .* rename the columns like"
    ):
        contract(PAIR).check(pa.schema([("a", pa.float64())]), "m")


@pytest.mark.parametrize(
    "type_",
    [pa.float64(), pa.list_(pa.string()), tensor_type(pa.float32(), (4,)), pa.struct([])],
    ids=str,
)
def test_columns_that_cannot_hold_a_tensor(type_: pa.DataType):
    with pytest.raises(ContractError, match=r"takes fixed_size_list<.*>\[3\] in column 'X'"):
        contract(MATRIX).check(pa.schema([("X", type_)]), "m")


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (value("x", FLOAT), r"the input x: float32\[\] is one value for all rows"),
        (value("x", 16, None, 1), "takes what no column can hold"),
        (
            helper.make_tensor_sequence_value_info("x", FLOAT, [None]),
            r"the input x: tensors\[\] takes what no column can hold",
        ),
    ],
    ids=["one value", "bfloat16", "sequence"],
)
def test_inputs_that_no_column_can_be(port: Any, words: str):
    model = graph([helper.make_node("Identity", ["x"], ["y"])], [port], [port])
    with pytest.raises(ModelError, match=words):
        contract(model)


def test_an_input_with_a_default_is_no_column():
    nodes = [helper.make_node("Add", ["x", "bias"], ["y"])]
    ports = [value("x", FLOAT, None, 1), value("bias", FLOAT)]
    model = graph(nodes, ports, [value("y", FLOAT, None, 1)], {"bias": np.float32(1)})
    assert contract(model).names == ("x",)


def test_columns_become_arrays_of_the_graphs_type_whatever_theirs():
    rows = batch(
        a=pa.array(["1.5", "2", None]).dictionary_encode(),
        b=pa.array([1, None, 3], pa.int8()),
        c=pa.array([True, False, None]),
    )
    array = inputs(MATRIX, rows, "a", "b", "c")["X"]
    assert array.dtype == np.float32
    assert array.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(array, [[1.5, 1, 1], [2, np.nan, 0], [np.nan, 3, np.nan]])


def test_values_that_the_graph_cannot_take_are_errors_not_guesses():
    integer = passing(("i", INT64, [None, 1]))
    with pytest.raises(ValueError, match=r"^column 'i': 2\.5 is no int64$"):
        inputs(integer, batch(i=[1.0, 2.5]))
    with pytest.raises(ValueError, match=r"^column 'i': a missing value, and there is none among"):
        inputs(integer, batch(i=[1, None]))
    with pytest.raises(ValueError, match=r"^column 'i': a text spells no number$"):
        inputs(integer, batch(i=["many"]))
    with pytest.raises(
        ValueError, match=r"^column 's': a missing value, and no text stands for one"
    ):
        inputs(passing(("s", STRING, [None, 1])), batch(s=["a", None]))
    with pytest.raises(ValueError, match=r"^expected fixed_size_list"):
        inputs(MATRIX, batch(X=[[1, 2, 3], [1, 2]]))


def test_what_conform_lets_through_the_graph_takes():
    """Both look at the values: what one calls good the other must not refuse."""
    model = passing(("i", INT32, [None]), ("b", BOOL, [None]), ("v", INT64, [None, 2]))
    rows = batch(
        i=[1.0, 2.5, None, 2.0**40, 4.0, float("nan"), 6.0, 7.0],
        b=[0.0, 1.0, 1.0, 1.0, 2.0, 0.0, 1.0, None],
        v=[
            [1.0, 2.0],
            [1.0, 2.0],
            [1.0, 2.0],
            [1.0, 2.0],
            [1.0, 2.0],
            [1.0, 2.0],
            [0.5, 1.0],
            None,
        ],
    )
    conformance = check_conformance(rows, contract(model))
    assert [(found.row, found.code) for found in conformance.violations] == [
        (1, "unsafe_cast"),
        (2, "null_value"),
        (3, "unsafe_cast"),
        (4, "unsafe_cast"),
        (5, "null_value"),
        (6, "unsafe_cast"),
        (7, "null_value"),
    ]
    assert conformance.violations[2].message == f"column 'i': {2.0**40!r} is no int32"
    assert conformance.violations[5].message == "column 'v': a value in the list is no int64"
    assert conformance.casts["i"].type == pa.int32()
    for row in range(rows.num_rows):
        if row == 0:
            assert inputs(model, rows.slice(row, 1))["v"].tolist() == [[1, 2]]
        else:
            with pytest.raises(ValueError, match=r"column|expected"):
                inputs(model, rows.slice(row, 1))
