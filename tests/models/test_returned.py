from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from scoreline.models import ModelOutputError
from scoreline.models.returned import returned_columns, stacked_columns

FIELDS = np.array([(1, 0.5), (2, 1.5)], [("rank", "i4"), ("score", "f4")])


@pytest.mark.parametrize(
    ("result", "columns"),
    [
        (np.array([1, 2], np.int16), {"prediction": pa.array([1, 2], pa.int16())}),
        ([0.5, None], {"prediction": pa.array([0.5, None])}),
        (["a", "b"], {"prediction": pa.array(["a", "b"])}),
        (pd.Series([1.5, 2.5]), {"prediction": pa.array([1.5, 2.5])}),
        (pa.chunked_array([[1], [2]]), {"prediction": pa.array([1, 2])}),
        (np.array([[1.0], [2.0]]), {"prediction": pa.array([1.0, 2.0])}),
        (
            np.array([[1, 2], [3, 4]]),
            {"prediction_0": pa.array([1, 3]), "prediction_1": pa.array([2, 4])},
        ),
        (
            np.zeros((2, 1, 2)),
            {"prediction": pa.array([[[0.0, 0.0]]] * 2, pa.list_(pa.list_(pa.float64(), 2), 1))},
        ),
        (pa.table({"x": [1, 2]}), {"x": pa.array([1, 2])}),
        (pa.record_batch({"x": [1, 2]}), {"x": pa.array([1, 2])}),
        (
            pd.DataFrame({"x": [1, 2], "y": ["a", None]}),
            {"x": pa.array([1, 2]), "y": pa.array(["a", None])},
        ),
        (
            {"x": np.array([[1, 2], [3, 4]]), "y": [None, 1]},
            {"x": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), "y": pa.array([None, 1])},
        ),
        (
            FIELDS,
            {"rank": pa.array([1, 2], pa.int32()), "score": pa.array([0.5, 1.5], pa.float32())},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_code_may_return(result: Any, columns: dict[str, pa.Array]):
    came = returned_columns(result, 2, "m:f")
    assert came.schema.names == list(columns)
    for name, column in columns.items():
        if pa.types.is_string(column.type):
            assert came[name].to_pylist() == column.to_pylist()
        else:
            assert came[name].equals(column)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (5, "must return a RecordBatch, a data frame or an array .* it returned a int"),
        (None, "it returned a NoneType"),
        ("text", "it returned a str"),
        (np.array(1.0), "it returned a ndarray"),
        ([1, 2, 3], "one result for each of the 2 rows that it got, in order; it returned 3"),
        (pa.record_batch({"x": [1]}), "it returned 1"),
        ({"x": [1, 2], "y": [1]}, "it returned 1"),
        ({}, "returned no column"),
        (pa.record_batch({}), "returned no column"),
        ({"model_version": [1, 2]}, "which is ours: rename it"),
        ({"x": 5}, "returned what is no column"),
        (pa.RecordBatch.from_arrays([pa.array([1, 2])] * 2, ["x", "x"]), r"columns named \['x'\]"),
    ],
    ids=str,
)
def test_what_code_may_not_return(result: Any, words: str):
    with pytest.raises(ModelOutputError, match=f"^m:f .*{words}"):
        returned_columns(result, 2, "m:f")


def stacked(*results: Any) -> dict[str, list]:
    return stacked_columns(results, len(results), "m:f").to_pydict()


def test_one_result_for_each_row():
    assert stacked(1, 2) == {"prediction": [1, 2]}
    assert stacked("a", "b") == {"prediction": ["a", "b"]}
    assert stacked(np.array([1.5]), np.array([2.5])) == {"prediction": [1.5, 2.5]}
    assert stacked(np.array([1, 2]), np.array([3, 4])) == {
        "prediction_0": [1, 3],
        "prediction_1": [2, 4],
    }
    assert stacked({"x": 1, "y": np.array([1, 2])}, {"y": np.array([3, 4]), "x": 2}) == {
        "x": [1, 2],
        "y": [[1, 2], [3, 4]],
    }
    numbers = stacked_columns([np.float32(0.1)] * 2, 2, "m:f")
    assert numbers["prediction"].type == pa.float32()


def test_results_that_differ_or_are_missing():
    with pytest.raises(ModelOutputError, match=r"several shapes, \[\(1,\), \(2,\)\]"):
        stacked(np.array([1]), np.array([1, 2]))
    with pytest.raises(ModelOutputError, match=r"dicts of other keys than \['x'\]"):
        stacked({"x": 1}, {"y": 1})
    with pytest.raises(ModelOutputError, match=r"for each of the 2 rows .* returned 1"):
        stacked_columns([1], 2, "m:f")
