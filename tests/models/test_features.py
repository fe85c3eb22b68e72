import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from scoreline.models import Contract, Feature
from scoreline.models.features import to_matrix, to_model_input

BIG = 2**53 + 1


def array(values: list, type_: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, type_)


# What sklearn's own validation would make of the same columns in a data frame.
COLUMNS = [
    ([array([1, 2])], np.int64),
    ([array([1, 2], pa.float32())], np.float32),
    ([array([1, 2], pa.float32()), array([1, 2])], np.float64),
    ([array([1, 2], pa.float32()), array([1, 2], pa.int8())], np.float32),
    ([array([1, 2], pa.int8()), array([1, 2], pa.uint8())], np.int16),
    ([array([1, 2], pa.uint64()), array([1, 2])], np.float64),
    ([array([1, 2], pa.uint64())], np.uint64),
    ([array([True, False])], np.bool_),
    ([array([True, False]), array([1, 2], pa.int8())], np.int8),
    ([array([True, None]), array([1, 2], pa.float32())], np.float64),
    ([array([1, None]), array([1, 2], pa.float32())], np.float64),
    ([array([1, None], pa.float32())], np.float32),
    ([array(np.array([1, 2], np.float16))], np.float16),
    ([array([BIG, None])], np.float64),
    ([array(["1", " 2.5"]), array([1, 2], pa.float32())], np.float64),
    ([array([decimal.Decimal("1.5"), None])], np.float64),
    ([pa.nulls(2), array([1, 2])], np.float64),
    ([array([1, 2], pa.int8()).dictionary_encode()], np.int8),
]


@pytest.mark.parametrize(("columns", "dtype"), COLUMNS, ids=range(len(COLUMNS)))
def test_the_matrix_is_what_a_data_frame_would_become(columns: list[pa.Array], dtype: type):
    matrix = to_matrix(columns)
    assert matrix.dtype == dtype
    assert matrix.shape == (2, len(columns))
    assert matrix.flags.f_contiguous
    frame = pa.RecordBatch.from_arrays(columns, [str(i) for i in range(len(columns))]).to_pandas()
    expected = np.column_stack([pd.to_numeric(frame[name].astype(object)) for name in frame])
    np.testing.assert_array_equal(matrix.astype(np.float64), expected.astype(np.float64))


def test_slices_with_offsets_and_bits():
    batch = pa.record_batch(
        {"x": [9, 1, None, 3, 9], "flag": [None, True, False, None, True]}
    ).slice(1, 3)
    matrix = to_matrix(batch.columns)
    np.testing.assert_array_equal(matrix, [[1, 1], [np.nan, 0], [3, np.nan]])


def test_columns_are_found_by_name_in_the_models_order():
    batch = pa.record_batch({"z": [0], "b": [2], "a": [1]})
    contract = Contract((Feature("a"), Feature("b")))
    assert to_model_input(batch, contract).tolist() == [[1, 2]]


def test_many_columns():
    batch = pa.record_batch({f"x{i}": [i] for i in range(2000)})
    contract = Contract(tuple(Feature(f"x{i}") for i in reversed(range(2000))))
    assert to_model_input(batch, contract).tolist() == [list(reversed(range(2000)))]


def test_a_frame_has_the_models_columns_and_no_index_of_the_files():
    written = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([7, 8], name="key"))
    batch = pa.RecordBatch.from_pandas(written)
    contract = Contract((Feature("key"), Feature("b", "any")), "frame")
    frame = to_model_input(batch, contract)
    assert list(frame.columns) == ["key", "b"]
    assert frame["key"].tolist() == [7, 8]
    assert frame.index.tolist() == [0, 1]


def test_a_frame_keeps_categories_and_survives_missing_ones():
    values = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["a", None]))
    contract = Contract((Feature("x", "any"),), "frame")
    frame = to_model_input(pa.record_batch({"x": values}), contract)
    assert frame["x"].isna().tolist() == [False, True, True]
    assert isinstance(frame["x"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None]),
        pa.array(["a", None], pa.string_view()),
        pa.array(["a", None]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(
            pa.array([0, None], pa.int8()), pa.array(["a"], pa.string_view())
        ),
    ],
    ids=lambda column: str(column.type),
)
def test_text_is_an_array_of_strings(column: pa.Array):
    contract = Contract((Feature("x", "text"),), "text")
    text = to_model_input(pa.record_batch({"x": column}), contract)
    assert text.dtype == object
    assert text.tolist() == ["a", None]
