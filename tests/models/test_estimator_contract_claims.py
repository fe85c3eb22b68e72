"""The contract claims a refusal only where scikit-learn is certain to raise.

Held against every estimator of scikit-learn and against pipelines: a bad value is put into each
column in turn, and where the contract refuses it, every method of the estimator must raise.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE, SelectKBest, VarianceThreshold
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.utils import all_estimators
from sklearn_models import classes, numbers

from scoreline.models import ContractError, Feature
from scoreline.models.estimator_contract import contract_of
from scoreline.models.outputs import OUTPUTS

_SLOW_OR_RANDOM = {"BernoulliRBM", "GridSearchCV", "HalvingGridSearchCV", "RandomizedSearchCV"}


def _every_estimator_of_sklearn() -> Iterator[tuple[str, Any]]:
    from sklearn.utils._test_common.instance_generator import _construct_instances

    for name, cls in all_estimators():
        if name in _SLOW_OR_RANDOM or "Halving" in name or name.endswith("SearchCV"):
            continue
        try:
            instances = list(_construct_instances(cls))
        except Exception:  # abstract, or it needs arguments
            continue
        for number, instance in enumerate(instances):
            if "random_state" in instance.get_params():
                # By chance a code book gives both classes one code: such a model takes words.
                instance.set_params(random_state=0)
            yield f"{name}-{number}", instance


def _pipelines() -> Iterator[tuple[str, Any]]:
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    logistic = LogisticRegression()
    yield "scaler", make_pipeline(StandardScaler(), logistic)
    yield "minmax", make_pipeline(MinMaxScaler(clip=True), Ridge())
    yield "scalers", make_pipeline(RobustScaler(), PowerTransformer(), logistic)
    yield "scaler of boosting", make_pipeline(StandardScaler(), HistGradientBoostingClassifier())
    yield "scaler of forest", make_pipeline(StandardScaler(), RandomForestClassifier(3))
    yield "imputer", make_pipeline(SimpleImputer(), logistic)
    yield "most frequent", make_pipeline(SimpleImputer(strategy="most_frequent"), logistic)
    yield "neighbours' imputer", make_pipeline(KNNImputer(), logistic)
    yield "selector", make_pipeline(SelectKBest(k=2), logistic)
    yield "scaler, selector", make_pipeline(StandardScaler(), SelectKBest(k=2), logistic)
    yield "variance", make_pipeline(VarianceThreshold(0.3), logistic)
    yield "scaler, variance", make_pipeline(StandardScaler(), VarianceThreshold(), logistic)
    yield "spline", make_pipeline(SplineTransformer(handle_missing="zeros"), logistic)
    yield "identity", make_pipeline(FunctionTransformer(), logistic)
    yield "identity, checked", make_pipeline(FunctionTransformer(validate=True), logistic)
    yield "log", make_pipeline(FunctionTransformer(np.log1p), logistic)
    yield "fill", make_pipeline(FunctionTransformer(np.nan_to_num), logistic)
    yield "passthrough", make_pipeline("passthrough", logistic)
    yield "nested", make_pipeline(make_pipeline(StandardScaler(), PCA(2)), logistic)
    yield "union", make_pipeline(make_union(StandardScaler(), PCA(2)), logistic)
    yield "recursive", RFE(logistic, n_features_to_select=2)
    yield "voting", VotingClassifier([("a", make_pipeline(SimpleImputer(), logistic))])
    yield "calibrated", CalibratedClassifierCV(logistic, cv=3)
    yield "bagging", BaggingClassifier(logistic, 3, max_features=2)
    yield "search", GridSearchCV(make_pipeline(StandardScaler(), logistic), {}, cv=3)
    yield "target", TransformedTargetRegressor(Ridge(), transformer=StandardScaler())
    yield "nan neighbours", KNeighborsClassifier(metric="nan_euclidean")
    yield "names", ColumnTransformer([("n", numeric, ["a", "b"])], remainder="passthrough")
    for remainder in ("drop", "passthrough", MinMaxScaler()):
        parts = [("n", StandardScaler(), ["a"]), ("i", SimpleImputer(), [1])]
        transformer = ColumnTransformer(parts, remainder=remainder)
        yield f"columns, {remainder}", make_pipeline(transformer, logistic)
    shared = ColumnTransformer([("s", StandardScaler(), ["a"]), ("i", SimpleImputer(), ["a", "c"])])
    yield "shared column", make_pipeline(shared, logistic)
    chosen = ColumnTransformer([("k", SelectKBest(k=1), ["a", "b"]), ("p", "passthrough", ["c"])])
    yield "selector on columns", make_pipeline(chosen, HistGradientBoostingClassifier(max_iter=3))


BAD_VALUES = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "none": None, "word": "word"}


def _claims(feature: Feature, bad: str) -> bool:
    refused = {
        "nan": not feature.nullable,
        # In a column that must hold numbers, a model sees null as NaN, never as None.
        "none": not feature.nullable and feature.kind != "number",
        "inf": not feature.infinite,
        "-inf": not feature.infinite,
        "word": feature.kind == "number",
    }
    return refused[bad]


def _with_bad(frame: pd.DataFrame, column: str, bad: str) -> pd.DataFrame:
    frame = frame.copy()
    if bad in ("none", "word"):
        frame[column] = frame[column].astype(object)
    frame.loc[1, column] = BAD_VALUES[bad]
    return frame


def _raises(call: Any, frame: pd.DataFrame) -> bool:
    try:
        call(frame)
    except Exception:
        return True
    return False


def _fitted(estimator: Any, frame: pd.DataFrame) -> Any | None:
    for target in (classes(frame), frame["a"], classes(frame)[:, None] == [0, 1]):
        try:
            return clone(estimator).fit(frame, target)
        except Exception:  # this one wants another kind of target
            continue
    return None


CASES = [*_every_estimator_of_sklearn(), *_pipelines()]


@pytest.mark.parametrize("estimator", [case for _, case in CASES], ids=[name for name, _ in CASES])
@pytest.mark.filterwarnings("ignore")
def test_what_the_contract_refuses_scikit_learn_refuses(estimator: Any):
    frame = numbers(40)
    fitted = _fitted(estimator, frame)
    if fitted is None:
        pytest.skip("takes no table of numbers")
    try:
        contract = contract_of(fitted, None, "churn")
    except ContractError:
        pytest.skip("takes no named columns")
    rows = frame.head(3)
    for output in [output for output in OUTPUTS if hasattr(fitted, output)]:
        method = getattr(fitted, output)
        assert not _raises(method, rows[list(contract.names)])
        for feature in contract.features:
            for bad in BAD_VALUES:
                refused = _claims(feature, bad)
                broken = _with_bad(rows, feature.name, bad)
                assert not refused or _raises(method, broken), (output, feature, bad)
