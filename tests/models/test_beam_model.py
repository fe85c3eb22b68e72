"""Beam's own handlers behind our contract: the same predictions as the library's own."""

import os
import threading
from pathlib import Path
from typing import Any

import code_models
import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from onnx_models import exported
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn_models import NAMES, batch_of, classes, identical, mixed, numbers

from scoreline.models import (
    ColumnarModelHandler,
    ContractError,
    ModelError,
    ModelOutputError,
    ModelRef,
    Trust,
    load_model,
)
from scoreline.models.beam_model import EXAMPLES, to_examples

CODE = Trust(allow_code=True)
FRAME = numbers(50)
ROWS = pa.record_batch({"a": [1.0, 2.0, 3.0], "text": ["one", "", "é"]})


def load(name: str, *features: str, **options: Any) -> Any:
    return load_model(
        ModelRef(f"beam:code_models:{name}", CODE, features=features or None, **options)
    )


def saved(estimator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    joblib.dump(estimator, tmp_path / "m.joblib")
    monkeypatch.setenv("MODEL", str(tmp_path / "m.joblib"))
    return estimator


def test_sklearn_on_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    forest = RandomForestClassifier(5, random_state=0).fit(
        FRAME.to_numpy(), classes(FRAME, ("no", "yes"))
    )
    saved(forest, tmp_path, monkeypatch)
    model = load("sklearn_rows", *NAMES)
    shuffled = FRAME[["d", "b", "a", "c"]].assign(note="x")
    scored = model.score(batch_of(shuffled))
    assert scored.schema.names == ["prediction"]
    assert identical(scored["prediction"], forest.predict(FRAME.to_numpy()))


def test_sklearn_on_frames_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The handler asks for 16 rows at most: 50 rows are four calls."""
    linear = saved(LinearRegression().fit(FRAME, FRAME.a), tmp_path, monkeypatch)
    calls = []
    predict = LinearRegression.predict
    monkeypatch.setattr(
        LinearRegression,
        "predict",
        lambda self, rows: calls.append(len(rows)) or predict(self, rows),
    )
    scored = load("sklearn_frames", *NAMES).score(batch_of(FRAME))
    assert calls == [16, 16, 16, 2]
    pieces = [predict(linear, FRAME[start : start + 16]) for start in range(0, 50, 16)]
    assert identical(scored["prediction"], np.concatenate(pieces))


def test_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = exported(LinearRegression().fit(FRAME, FRAME.a), FRAME).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data)
    monkeypatch.setenv("MODEL", str(tmp_path / "m.onnx"))
    session = onnxruntime.InferenceSession(data)
    (own,) = session.run(None, {"X": FRAME.to_numpy(np.float32)})
    scored = load("onnx_rows").score(batch_of(FRAME))
    assert identical(scored["prediction"], own[:, 0])


def test_xgboost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its handlers predict example by example: the whole batch is one, so it is one call."""
    estimator = xgboost.XGBClassifier(n_estimators=5, max_depth=3)
    estimator.fit(FRAME.to_numpy(), classes(FRAME, (0, 1, 2)))
    estimator.save_model(tmp_path / "m.ubj")
    monkeypatch.setenv("MODEL", str(tmp_path / "m.ubj"))
    scored = load("xgboost_arrays", *NAMES).score(batch_of(FRAME))
    assert identical(scored["prediction"], estimator.predict(FRAME.to_numpy()))

    regressor = xgboost.train({"max_depth": 2}, xgboost.DMatrix(FRAME, FRAME.a), 5)
    regressor.save_model(tmp_path / "m.ubj")
    scored = load("xgboost_frames", *NAMES).score(batch_of(FRAME[["d", "c", "b", "a"]]))
    assert identical(scored["prediction"], regressor.predict(xgboost.DMatrix(FRAME)))


def test_handlers_of_ones_own():
    assert load("Lengths", "text").score(ROWS).to_pydict() == {
        "length": [3, 0, 1],
        "halves": [["o", "ne"], ["", ""], ["é", ""]],
    }
    assert load("Unannotated").score(ROWS).to_pydict() == {"prediction": [3.0, 6.0, 9.0]}
    assert load("after").score(ROWS).to_pydict() == {"tripled": [3.0, 6.0, 9.0]}
    assert load("Batches").score(ROWS).to_pydict() == {"scaled": [2.0, 4.0, 6.0]}


def test_a_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch):
    loads = []
    load_once = code_models.Unannotated.load_model
    monkeypatch.setattr(
        code_models.Unannotated, "load_model", lambda self: loads.append(1) or load_once(self)
    )
    ref = ModelRef("beam:code_models:Unannotated", CODE, features=("a",))
    first = load_model(ref)
    assert load_model(ref) is first
    assert ColumnarModelHandler(ref).load_model().model is first
    assert loads == [1]


def test_eight_threads_share_one_handler():
    model = load("Unannotated")
    wrong = []

    def score() -> None:
        for _ in range(30):
            if model.score(ROWS).to_pydict() != {"prediction": [3.0, 6.0, 9.0]}:
                wrong.append(1)

    threads = [threading.Thread(target=score) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("keyed", r"returns a KeyedModelHandler, but rows have no key: return the handler inside"),
        ("broken", r"code_models:broken\(\): RuntimeError: no such place"),
        ("no_handler", r"expected a function that returns an apache_beam ModelHandler, got a int"),
        ("Takes", r"takes Series, which scoreline does not make of rows: .*with_preprocess_fn"),
        ("told_wrongly", r"scoreline_examples is 'rows'; expected one of array, frame, dict, text"),
        ("nothing", r"has no function 'nothing'"),
        ("sklearn_rows", r"cannot load its model: FileNotFoundError"),
    ],
)
def test_handlers_that_cannot_be_had(name: str, words: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODEL", "/nowhere/m.joblib")
    with pytest.raises(ModelError, match=words):
        load(name)


def test_a_factory_may_say_what_its_handler_takes():
    assert load("told_otherwise")._examples == "dict"


def test_a_handler_that_loses_a_row():
    with pytest.raises(ModelOutputError, match=r"for each of the 3 rows .* returned 2"):
        load("Loses").score(ROWS)


def test_a_handler_of_texts_wants_one_column():
    with pytest.raises(ModelOutputError, match=r"name the one with --features COLUMN"):
        load("Lengths").score(ROWS)


def test_other_outputs_than_what_it_infers():
    with pytest.raises(ContractError, match=r"Leave --outputs out"):
        load("Unannotated", outputs=("predict_proba",))


def test_what_examples_look_like():
    batch = batch_of(mixed(3)[["a", "b"]])
    frame = batch.to_pandas()
    assert [row.tolist() for row in to_examples(batch, "array")] == frame.to_numpy().tolist()
    (matrix,) = to_examples(batch, "matrix")
    assert matrix.flags["C_CONTIGUOUS"]
    assert matrix.tolist() == frame.to_numpy().tolist()
    pd.testing.assert_frame_equal(pd.concat(to_examples(batch, "frame")), frame)
    pd.testing.assert_frame_equal(to_examples(batch, "whole_frame")[0], frame)
    assert to_examples(batch, "dict") == batch.to_pylist()
    assert to_examples(batch, "batch") == [batch]
    assert to_examples(ROWS.select(["text"]), "text") == ["one", "", "é"]
    assert len(EXAMPLES) == 7


def test_arrays_of_other_columns_than_numbers():
    rows = to_examples(ROWS, "array")
    assert [row.tolist() for row in rows] == [[1.0, "one"], [2.0, ""], [3.0, "é"]]
    images = pa.record_batch(
        {"image": pa.array([[[1, 2]], [[3, 4]]], pa.list_(pa.list_(pa.int8(), 2), 1))}
    )
    assert [image.tolist() for image in to_examples(images, "array")] == [[[1, 2]], [[3, 4]]]
    whole = pa.record_batch({"a": pa.array([1, None]), "b": pa.array([2, 3], pa.int32())})
    assert to_examples(whole, "matrix")[0].dtype == np.float64


def test_the_environment_is_set_before_the_model_is_loaded():
    os.environ.pop("SCORELINE_SEEN", None)
    handler = code_models.Unannotated(env_vars={"SCORELINE_SEEN": "yes"})
    code_models.made = lambda: handler  # type: ignore[attr-defined]
    try:
        load("made")
        assert os.environ["SCORELINE_SEEN"] == "yes"
    finally:
        del code_models.made  # type: ignore[attr-defined]
        os.environ.pop("SCORELINE_SEEN", None)
