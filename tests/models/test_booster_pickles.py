"""Wrappers of XGBoost, LightGBM and CatBoost in pickles predict as the wrapper itself does."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from booster_tables import (
    NUMBERS,
    arrangements,
    as_trained,
    assert_identical,
    batch_of,
    mixed,
    numbers,
    target,
)
from sklearn_models import pickled

from scoreline.models import ContractError, Trust
from scoreline.models.booster_categories import learned_categories
from scoreline.models.estimator import EstimatorModel

FRAME = numbers()
MIXED = mixed()
CLASSES = target(FRAME, 3)
PICKLES = Trust(allow_pickle=True)


def classifier(library: str) -> Any:
    module = pytest.importorskip(library, reason=f"needs scoreline[{library}]")
    if library == "xgboost":
        return module.XGBClassifier(n_estimators=5, enable_categorical=True, n_jobs=1)
    if library == "lightgbm":
        return module.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)
    quiet = {"verbose": False, "allow_writing_files": False, "thread_count": 1}
    return module.CatBoostClassifier(iterations=5, **quiet)


def check(model: Any, rows: pd.DataFrame, given: Any, features: Any = None) -> EstimatorModel:
    for output in ("predict", "predict_proba"):
        loaded = EstimatorModel.load(pickled(model), PICKLES, (output,), features)
        scored = loaded.score(batch_of(rows).slice(3, 90))
        expected = np.asarray(getattr(model, output)(given))[3:93]
        came = np.stack([column.to_numpy(zero_copy_only=False) for column in scored.columns], 1)
        assert came.reshape(expected.shape).tolist() == expected.tolist()
    return loaded


LIBRARIES = ("xgboost", "lightgbm", "catboost")


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_columns_are_those_of_the_training(library: str):
    loaded = check(classifier(library).fit(FRAME, CLASSES), FRAME, FRAME)
    assert loaded.contract.names == NUMBERS


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_matrix_without_names(library: str):
    matrix = FRAME.to_numpy(np.float64)
    model = classifier(library).fit(matrix, CLASSES)
    with pytest.raises(ContractError, match="takes 4 columns and cannot know which"):
        EstimatorModel.load(pickled(model), PICKLES, ("predict",), None)
    check(model, FRAME, matrix, NUMBERS)


@pytest.mark.parametrize("library", LIBRARIES)
def test_categories(library: str):
    model = classifier(library)
    if library == "catboost":
        frame = MIXED.assign(plan=MIXED["plan"].astype(object).fillna("none"))
        check(model.fit(frame, CLASSES, cat_features=["plan", "zone"]), frame, frame)
    else:
        check(model.fit(MIXED, CLASSES), MIXED, MIXED)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_categories_that_come_as_plain_values(library: str):
    """As text files and messages have them: the wrapper itself takes pandas categories only."""
    model = classifier(library).fit(MIXED, CLASSES)
    loaded = EstimatorModel.load(pickled(model), PICKLES, ("predict_proba",), None)
    known = {feature.name: feature.known for feature in loaded.contract.features}
    assert (known["plan"], known["zone"], known["a"]) == ("text", "number", None)
    for batch in arrangements(MIXED):
        scored = loaded.score(batch)
        assert_identical(scored, model.predict_proba(as_trained(batch, MIXED)))


def test_a_category_that_lightgbm_never_saw_is_missing():
    model = classifier("lightgbm").fit(MIXED, CLASSES)
    loaded = EstimatorModel.load(pickled(model), PICKLES, ("predict_proba",), None)
    rows = _with_plan(batch_of(MIXED), pa.array(["?"] * len(MIXED)))
    missing = _with_plan(batch_of(MIXED), pa.nulls(len(MIXED), pa.string()))
    assert loaded.score(rows).equals(loaded.score(missing))


def test_a_category_that_xgboost_never_saw_is_an_error():
    model = classifier("xgboost").fit(MIXED, CLASSES)
    loaded = EstimatorModel.load(pickled(model), PICKLES, ("predict",), None)
    rows = _with_plan(batch_of(MIXED), pa.array(["cheap"] * len(MIXED)))
    with pytest.raises(ValueError, match=r"'plan': the model has never seen the category 'cheap'"):
        loaded.score(rows)


def test_categories_of_which_lightgbm_does_not_say_the_columns():
    """Nothing is guessed: whole numbers that are trained as categories have no names of them."""
    module = pytest.importorskip("lightgbm", reason="needs scoreline[lightgbm]")
    model = module.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)
    model.fit(MIXED, CLASSES, categorical_feature=["plan", "zone", "c"])
    learned = learned_categories(model, tuple(MIXED.columns))
    assert dict(learned.by_name) == {}
    check(model, MIXED, MIXED)


def _with_plan(batch: pa.RecordBatch, plan: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index("plan"), "plan", plan)
