from typing import Any

import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from scoreline.models.estimator_categories import known_values

FRAME = pd.DataFrame(
    {
        "code": ["1", "2", "1", "3"],
        "plan": [2, 1, 2, 2],
        "flag": [True, False, True, True],
        "note": pd.Series(["x", None, "y", "x"], dtype=object),
        "mixed": pd.Series([1, "a", 2, "b"], dtype=object),
    }
)
NAMES = tuple(FRAME.columns)
KNOWN = {"code": "text", "plan": "number", "flag": "number", "note": "text"}


def columns(*names: str) -> pd.DataFrame:
    return FRAME[list(names)]


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder(), TargetEncoder(cv=2)])
def test_an_encoder_knows_what_its_categories_are(encoder: Any) -> None:
    frame = columns("code", "plan", "flag", "note")
    assert known_values(encoder.fit(frame, [0, 1, 0, 1]), tuple(frame)) == KNOWN


def test_an_encoder_behind_an_imputer_or_in_a_pipeline() -> None:
    frame = columns("note", "code")
    imputer = SimpleImputer(strategy="most_frequent", missing_values=None)
    both = make_pipeline(imputer, OneHotEncoder(), StandardScaler(with_mean=False)).fit(frame)
    assert known_values(both, tuple(frame)) == {"note": "text", "code": "text"}


def test_the_columns_of_a_column_transformer() -> None:
    encode = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OrdinalEncoder())
    transformer = ColumnTransformer(
        [("a", encode, ["note"]), ("b", OneHotEncoder(), [0, 1]), ("d", "drop", ["mixed"])],
        remainder="passthrough",
    ).fit(FRAME)
    expected = {name: KNOWN[name] for name in ("note", "code", "plan")}
    assert known_values(transformer, NAMES) == expected
    assert known_values(make_pipeline(transformer, StandardScaler()), NAMES) == expected


def test_the_categories_of_gradient_boosting() -> None:
    frame = columns("code", "plan").astype({"code": "category"})
    boosting = HistGradientBoostingClassifier(max_iter=1).fit(frame, [0, 1, 0, 1])
    assert known_values(boosting, tuple(frame)) == {"code": "text"}
    plain = HistGradientBoostingClassifier(max_iter=1).fit(columns("plan"), [0, 1, 0, 1])
    assert known_values(plain, ("plan",)) == {}


def test_nothing_is_claimed_where_it_is_not_certain() -> None:
    words = FunctionTransformer(lambda frame: frame.astype(str))
    assert known_values(make_pipeline(words, OneHotEncoder()).fit(FRAME), NAMES) == {}
    indicated = SimpleImputer(strategy="most_frequent", missing_values=None, add_indicator=True)
    pipeline = make_pipeline(indicated, OneHotEncoder()).fit(columns("note"))
    assert known_values(pipeline, ("note",)) == {}
    assert known_values(StandardScaler().fit(columns("plan")), ("plan",)) == {}
    twice = ColumnTransformer(
        [("a", OneHotEncoder(), ["plan"]), ("b", make_pipeline(words, OneHotEncoder()), ["plan"])]
    ).fit(FRAME)
    assert known_values(twice, NAMES) == {"plan": "number"}
