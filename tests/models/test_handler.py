import json
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from third_party import Returns

from scoreline.models import (
    ColumnarModelHandler,
    ContractError,
    ModelError,
    ModelOutputError,
    ModelRef,
    RowCountError,
    Trust,
)
from scoreline.models.conformance import check_conformance
from scoreline.models.reserved import CAST_PREFIX, POSITION, metadata_of

TRAINED = pd.DataFrame({"a": [0.0, 1, 2, 3], "b": [1.0, 0, 2, 5]})
TARGET = [0.0, 1, 2, 4]
LINE = LinearRegression().fit(TRAINED, TARGET)
ALLOWED = Trust(allow_pickle=True, allow_code=True)


@pytest.fixture
def handler_of(tmp_path: Path):
    def make(estimator: Any = LINE, outputs: tuple[str, ...] = ("predict",), **functions: str):
        path = tmp_path / "line.joblib"
        joblib.dump(estimator, path)
        return ColumnarModelHandler(ModelRef(str(path), ALLOWED, outputs), **functions)

    return make


def run(handler: ColumnarModelHandler, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    return list(handler.run_inference(batch, handler.load_model()))


BATCH = pa.record_batch(
    {"b": [1.0, 2, 3], "id": ["x", "y", "z"], "a": [1.0, 2, 3], POSITION: [7, 8, 9]},
    metadata={"scoreline.source": "part.parquet"},
)


def test_outputs_and_version_stand_behind_the_input(handler_of):
    handler = handler_of()
    (scored,) = run(handler, BATCH)
    names = ["b", "id", "a", POSITION, "prediction", "model_version"]
    assert scored.schema.names == names
    assert scored.select(names[:4]).equals(BATCH)
    expected = LINE.predict(BATCH.to_pandas()[["a", "b"]])
    assert scored.column("prediction").to_pylist() == expected.tolist()
    version = scored.column("model_version")
    assert version.type == pa.dictionary(pa.int32(), pa.string())
    assert set(version.to_pylist()) == {handler.load_model().model.info.version}
    assert metadata_of(scored, b"scoreline.source") == "part.parquet"
    assert json.loads(metadata_of(scored, b"scoreline.outputs")) == names[4:]


def test_rows_that_fail_come_back_as_a_second_batch(handler_of):
    batch = BATCH.set_column(2, "a", pa.array([1.0, np.nan, 3]))
    scored, rejected = run(handler_of(), batch)
    assert scored.column("id").to_pylist() == ["x", "z"]
    assert rejected.schema.names[:4] == batch.schema.names
    assert rejected.select(["b", "id", POSITION]).to_pylist() == [{"b": 2, "id": "y", POSITION: 8}]
    assert np.isnan(rejected.column("a")[0].as_py())
    assert metadata_of(rejected, b"scoreline.rejected") == "predict"
    assert metadata_of(rejected, b"scoreline.source") == "part.parquet"
    version = scored.column("model_version")[0].as_py()
    assert metadata_of(rejected, b"scoreline.model_version") == version
    assert rejected.column("_scoreline_error_class").to_pylist() == ["ValueError"]
    assert "contains NaN" in rejected.column("_scoreline_error_message")[0].as_py()


def test_a_batch_of_nothing_but_failing_rows(handler_of):
    (rejected,) = run(handler_of(), BATCH.set_column(2, "a", pa.array([np.nan] * 3)))
    assert rejected.num_rows == 3
    assert rejected.column("id").to_pylist() == ["x", "y", "z"]


@pytest.mark.parametrize("estimator", ["matrix", "frame"])
def test_the_model_sees_the_cast_and_the_output_keeps_the_text(handler_of, estimator: str):
    frame = ColumnTransformer([("n", StandardScaler(), ["a", "b"])])
    model = LINE if estimator == "matrix" else make_pipeline(frame, LinearRegression())
    handler = handler_of(model.fit(TRAINED, TARGET))
    batch = pa.record_batch({"a": [" 1.0", "2e0"], "b": [1.0, 2]})
    contract = handler.load_model().model.contract
    casts = check_conformance(batch, contract).casts
    (scored,) = run(handler, batch.append_column(CAST_PREFIX + "a", casts["a"]))
    assert scored.column("a").to_pylist() == [" 1.0", "2e0"]
    expected = model.predict(pd.DataFrame({"a": [1.0, 2], "b": [1.0, 2]}))
    assert scored.column("prediction").to_pylist() == expected.tolist()


def test_preprocess_makes_the_models_columns(handler_of):
    model = LinearRegression().fit(TRAINED.assign(total=TRAINED.sum(axis=1)), TARGET)
    (scored,) = run(handler_of(model, preprocess="batch_functions:add_total"), BATCH)
    assert "total" not in scored.schema.names
    frame = BATCH.to_pandas()[["a", "b"]]
    expected = model.predict(frame.assign(total=frame.sum(axis=1)))
    assert scored.column("prediction").to_pylist() == expected.tolist()


def test_what_preprocess_returns_is_cast(handler_of):
    plain = run(handler_of(), BATCH)[0]
    (scored,) = run(handler_of(preprocess="batch_functions:as_text"), BATCH)
    assert scored.column("prediction").equals(plain.column("prediction"))


def test_a_row_that_preprocess_makes_unfit_is_rejected_alone(handler_of):
    batch = BATCH.set_column(2, "a", pa.array([1.0, None, 3]))
    scored, rejected = run(handler_of(preprocess="batch_functions:as_text"), batch)
    assert scored.num_rows == 2
    assert rejected.column("_scoreline_error_class").to_pylist() == ["ContractError"]
    assert rejected.column("_scoreline_error_message").to_pylist() == [
        "after preprocess, column 'a': a missing value, which the model refuses: fill it in"
    ]


def test_a_row_that_preprocess_fails_on_is_rejected_alone(handler_of):
    scored, rejected = run(handler_of(preprocess="batch_functions:fail_on_three"), BATCH)
    assert scored.num_rows == 2
    assert rejected.column("_scoreline_error_message").to_pylist() == ["three"]


def test_preprocess_that_leaves_out_a_column(handler_of):
    with pytest.raises(ModelOutputError) as raised:
        run(handler_of(preprocess="batch_functions:drop_b"), BATCH)
    assert "what preprocess returned does not fit: model 'line' needs columns ['b']" in str(
        raised.value
    )


def test_postprocess_adds_columns_of_its_own(handler_of):
    (scored,) = run(handler_of(postprocess="batch_functions:flag"), BATCH)
    assert scored.schema.names == ["b", "id", "a", POSITION, "high", "model_version"]
    assert scored.column("high").to_pylist() == [True, True, True]


@pytest.mark.parametrize("when", ["preprocess", "postprocess"])
@pytest.mark.parametrize(
    ("function", "named"),
    [
        ("drop_a_row", "batch_functions:drop_a_row"),
        ("instance", "batch_functions:Callable"),
        ("partial", ":partial"),
    ],
)
def test_a_function_that_changes_all_rows(handler_of, when: str, function: str, named: str):
    handler = handler_of(**{when: f"batch_functions:{function}"})
    with pytest.raises(RowCountError) as raised:
        run(handler, BATCH)
    assert (
        f"{named} must return a RecordBatch of 1 rows, one for each row it got, in order; it "
        "returned 0 rows. So it is for each of the 3 rows, and no row has been scored before: no "
        "row is to blame"
    ) in str(raised.value)


@pytest.mark.parametrize("when", ["preprocess", "postprocess"])
def test_a_function_that_returns_no_batch(handler_of, when: str):
    with pytest.raises(ModelOutputError, match=r"of 3 rows, .* it returned a DataFrame"):
        run(handler_of(**{when: "batch_functions:as_frame"}), BATCH)


@pytest.mark.parametrize("when", ["preprocess", "postprocess"])
@pytest.mark.parametrize(("function", "came"), [("drop_threes", 0), ("repeat_threes", 2)])
def test_a_row_for_which_a_function_returns_none_or_two_is_rejected_alone(
    handler_of, when: str, function: str, came: int
):
    handler = handler_of(**{when: f"batch_functions:{function}"})
    scored, rejected = run(handler, BATCH)
    expected = LINE.predict(BATCH.slice(0, 2).to_pandas()[["a", "b"]])
    assert scored.column("id").to_pylist() == ["x", "y"]
    assert when == "postprocess" or scored.column("prediction").to_pylist() == expected.tolist()
    assert rejected.column("id").to_pylist() == ["z"]
    assert rejected.column("_scoreline_error_class").to_pylist() == ["RowCountError"]
    assert rejected.column("_scoreline_error_message").to_pylist() == [
        f"batch_functions:{function} must return a RecordBatch of 1 rows, one for each row it "
        f"got, in order; it returned {came} rows"
    ]


def test_a_function_that_has_scored_rows_is_not_to_blame_for_others(handler_of):
    handler = handler_of(preprocess="batch_functions:drop_threes")
    bad, lone = BATCH.take(pa.array([2, 2])), BATCH.slice(2)
    with pytest.raises(RowCountError, match="no row has been scored before"):
        run(handler, bad)
    assert [batch.num_rows for batch in run(handler, lone)] == [1]
    loaded = handler.load_model()
    assert [batch.num_rows for batch in handler.run_inference(BATCH, loaded)] == [2, 1]
    (rejected,) = handler.run_inference(bad, loaded)
    assert rejected.column("_scoreline_error_class").to_pylist() == ["RowCountError"] * 2


def test_a_function_that_returns_a_column_twice(handler_of):
    with pytest.raises(ModelOutputError, match=r"twice returned several columns named \['a'\]"):
        run(handler_of(preprocess="batch_functions:twice"), BATCH)


def test_a_column_that_the_model_would_write_too(handler_of):
    for name in ("prediction", "model_version"):
        with pytest.raises(ModelOutputError) as raised:
            run(handler_of(), BATCH.append_column(name, pa.array([1, 2, 3])))
        assert f"already has the columns ['{name}'] that the model writes" in str(raised.value)


def test_postprocess_must_not_write_the_version(handler_of):
    with pytest.raises(ModelOutputError, match=r"postprocess writes 'model_version', which is"):
        run(handler_of(postprocess="batch_functions:version"), BATCH)


def test_a_model_that_returns_a_row_too_few_is_no_rows_fault(handler_of):
    handler = handler_of(Returns(few, names=("a", "b")))
    with pytest.raises(RowCountError, match=r"predict returned 0 results for 1 rows.* 3 rows"):
        run(handler, BATCH)


def few(X: Any) -> np.ndarray:
    return np.zeros(len(X) - 1)


def test_code_must_be_allowed():
    for functions in ({"preprocess": "f:x"}, {"postprocess": "f:x"}):
        with pytest.raises(ModelError, match="'f:x' is code: allow it with --allow-code"):
            ColumnarModelHandler(ModelRef("m.joblib"), **functions)


def test_a_function_that_is_not_there_is_found_when_the_model_is_loaded(handler_of):
    with pytest.raises(ModelError, match="has no function 'nothing'"):
        handler_of(postprocess="batch_functions:nothing").load_model()


def test_the_asked_outputs_are_checked_when_the_model_is_loaded(handler_of):
    with pytest.raises(ContractError, match="has no predict_proba"):
        handler_of(outputs=("predict_proba",)).load_model()


@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_a_handler_travels_to_a_worker(handler_of, library: Any):
    classifier = LogisticRegression().fit(TRAINED, [0, 0, 1, 1])
    handler = handler_of(classifier, outputs=("predict", "predict_proba"))
    copy = library.loads(library.dumps(handler))
    assert run(copy, BATCH)[0].equals(run(handler, BATCH)[0])


def test_what_beam_asks(handler_of):
    handler = handler_of()
    assert handler.should_skip_batching() is True
    assert handler.get_num_bytes(BATCH) == BATCH.nbytes
    assert handler.get_metrics_namespace() == "scoreline"
