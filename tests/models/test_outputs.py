import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

from scoreline.models import ContractError, ModelOutputError
from scoreline.models.outputs import OUTPUTS, check_outputs, to_arrow, to_columns


def lists(output: str, result: object, rows: int, labels: object = None) -> dict[str, list]:
    columns = to_columns(output, result, rows, labels)
    return {name: column.to_pylist() for name, column in columns.items()}


@pytest.mark.parametrize(
    ("output", "name"),
    zip(
        OUTPUTS,
        ["prediction", "probability", "decision", "transformed", "score", "raw_score"],
        strict=True,
    ),
)
def test_each_method_names_its_columns(output: str, name: str):
    assert lists(output, np.array([1.5, 2.5]), 2) == {name: [1.5, 2.5]}
    assert lists(output, np.array([[1.5, 2.5]]), 1) == {f"{name}_0": [1.5], f"{name}_1": [2.5]}


def test_lists_of_plain_values_are_rows():
    assert lists("predict", ["a", "b"], 2) == {"prediction": ["a", "b"]}
    assert lists("predict", [[1, 2], [3, 4]], 2) == {"prediction_0": [1, 3], "prediction_1": [2, 4]}
    assert lists("predict", [np.array([1, 2])], 1) == {"prediction_0": [1], "prediction_1": [2]}


def test_labels_name_the_columns():
    result = np.array([[0.25, 0.75]])
    assert lists("predict_proba", result, 1, np.array(["no", "yes"])) == {
        "probability_no": [0.25],
        "probability_yes": [0.75],
    }
    assert list(lists("predict_proba", result, 1, np.array([False, True]))) == [
        "probability_False",
        "probability_True",
    ]


def test_one_array_per_target():
    result = [np.array([[0.25, 0.75]]), np.array([[0.1, 0.2, 0.7]])]
    labels = [np.array([0, 1]), np.array(["x", "y", "z"])]
    assert lists("predict_proba", result, 1, labels) == {
        "probability_0_0": [0.25],
        "probability_0_1": [0.75],
        "probability_1_x": [0.1],
        "probability_1_y": [0.2],
        "probability_1_z": [0.7],
    }
    assert list(lists("predict_proba", result[:1], 1)) == ["probability_0_0", "probability_0_1"]


def test_labels_of_several_targets_do_not_name_one_arrays_columns():
    labels = [np.array([0, 1]), np.array([0, 1])]
    result = np.array([[0.25, 0.75]])
    assert list(lists("predict_proba", result, 1, labels)) == ["probability_0", "probability_1"]


def test_sparse_results_are_made_dense():
    result = scipy.sparse.csr_matrix([[0, 2], [3, 0]])
    assert lists("transform", result, 2, ["x", "y"]) == {
        "transformed_x": [0, 3],
        "transformed_y": [2, 0],
    }


def test_the_columns_of_a_data_frame_keep_their_types():
    frame = pd.DataFrame(
        {"n": [1, 2], "s": ["a", None], "c": pd.Categorical(["x", "y"]), "f": [0.5, np.nan]}
    )
    columns = to_columns("transform", frame, 2, list(frame.columns))
    assert {name: column.type for name, column in columns.items()} == {
        "transformed_n": pa.int64(),
        "transformed_s": pa.string(),
        "transformed_c": pa.string(),
        "transformed_f": pa.float64(),
    }
    assert columns["transformed_s"].to_pylist() == ["a", None]
    assert np.isnan(columns["transformed_f"][1].as_py())
    assert lists("predict", pd.Series([1, 2]), 2) == {"prediction": [1, 2]}


WRONG = [
    (np.array([1, 2]), "predict returned 2 results for 3 rows; it must return one result for each"),
    (np.array([[1], [2]]), "predict returned 2 results for 3 rows"),
    (pd.DataFrame({"x": [1, 2]}), "predict returned 2 results for 3 rows"),
    (scipy.sparse.csr_matrix([[1]]), "predict returned 1 results for 3 rows"),
    ([np.ones((2, 1)), np.ones((3, 1))], "predict returned 2 results for 3 rows"),
    ([], "predict returned 0 results for 3 rows"),
    (None, "predict returned no array for 3 rows"),
    ({"a": 1}, "predict returned no array for 3 rows"),
    (np.ones((3, 2, 2)), r"predict has shape \(3, 2, 2\); expected \(rows,\) or \(rows, columns\)"),
    (np.ones((3, 0)), "predict has no column: there is nothing to write"),
]


@pytest.mark.parametrize(("result", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_not_one_result_per_row_is_an_error(result: object, message: str):
    with pytest.raises(ModelOutputError, match=f"^the model's {message}"):
        to_columns("predict", result, 3, None)


def test_other_columns_than_the_named_are_an_error():
    with pytest.raises(ModelOutputError, match=r"predict_proba has 1 columns for 2 names \[0, 1\]"):
        to_columns("predict_proba", np.ones((3, 1)), 3, [0, 1])
    with pytest.raises(ModelOutputError, match=r"would write two columns of one name: its names"):
        to_columns("predict_proba", np.ones((3, 2)), 3, [1, "1"])


ARRAYS = [
    (np.array(["a", "bc"]), pa.string(), ["a", "bc"]),
    (np.array([b"a"]), pa.string(), ["a"]),
    (np.array(["a", None, np.nan], object), pa.string(), ["a", None, None]),
    (np.array(["a", 1, None], object), pa.string(), ["a", "1", None]),
    (np.array([1, None], object), pa.int64(), [1, None]),
    (np.array([True, False]), pa.bool_(), [True, False]),
    (np.array([True, False], object), pa.bool_(), [True, False]),
    (np.array([1.5], np.float32), pa.float32(), [1.5]),
    (np.arange(6, dtype=np.int8)[::2], pa.int8(), [0, 2, 4]),
    (np.array([1 + 2j]), pa.string(), ["(1+2j)"]),
    (np.array(["2020-01-01"], "M8[D]"), pa.date32(), None),
]


@pytest.mark.parametrize(("array", "type_", "values"), ARRAYS, ids=range(len(ARRAYS)))
def test_arrays_become_arrow_columns(array: np.ndarray, type_: pa.DataType, values: list | None):
    column = to_arrow(array)
    assert column.type == type_
    assert values is None or column.to_pylist() == values


def test_nan_among_floats_stays_nan():
    column = to_arrow(np.array([np.nan, 1]))
    assert column.null_count == 0
    assert np.isnan(column[0].as_py())


def test_outputs_that_a_model_lacks():
    check_outputs(("predict",), ("predict", "raw_score"), "churn", "booster")
    with pytest.raises(ContractError) as raised:
        check_outputs(("predict", "transform"), ("predict", "raw_score"), "churn", "booster")
    assert str(raised.value) == (
        "model 'churn' (booster) has no transform; it offers --outputs predict,raw_score"
    )
