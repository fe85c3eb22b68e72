from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from sklearn_models import NAMES, classes, mixed, numbers
from third_party import Lenient, Ratio, Scale

from scoreline.models import Contract, ContractError
from scoreline.models.estimator_contract import contract_of


def derive(estimator: Any, features: tuple[str, ...] | None = None) -> Contract:
    return contract_of(estimator, features, "churn")


def encoder(**options: Any) -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore", **options)


def columns_pipeline(transformer: ColumnTransformer, frame: pd.DataFrame) -> Pipeline:
    return make_pipeline(transformer, LogisticRegression()).fit(frame, classes(frame))


# --- what is claimed -------------------------------------------------------------------------


def refusals(contract: Contract) -> dict[str, str]:
    """The kind of each column, with `!` where NaN and `~` where an infinity is refused."""
    return {
        feature.name: feature.kind
        + ("" if feature.nullable else "!")
        + ("" if feature.infinite else "~")
        for feature in contract.features
    }


NUMBER_PIPELINES = [
    (LogisticRegression(), "matrix", "number!~"),
    (make_pipeline(StandardScaler(), LogisticRegression()), "matrix", "number!~"),
    (make_pipeline(StandardScaler(), HistGradientBoostingClassifier()), "matrix", "number~"),
    (make_pipeline(SimpleImputer(), LogisticRegression()), "matrix", "number~"),
    (make_pipeline(SimpleImputer(strategy="constant"), LogisticRegression()), "frame", "any"),
    (make_pipeline("passthrough", LogisticRegression()), "matrix", "number!~"),
    (make_pipeline(FunctionTransformer(), LogisticRegression()), "frame", "any!~"),
    (make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), "frame", "any"),
    (make_pipeline(make_pipeline(StandardScaler()), PCA(2), KMeans(2)), "matrix", "number!~"),
    (make_pipeline(SelectKBest(k=2), LogisticRegression()), "frame", "any"),
    (make_pipeline(VarianceThreshold(), LogisticRegression()), "frame", "any"),
    (HistGradientBoostingClassifier(max_iter=2), "matrix", "number"),
    (RandomForestClassifier(2), "matrix", "number~"),
    (IsolationForest(n_estimators=2), "matrix", "number"),
    (LocalOutlierFactor(novelty=True), "matrix", "number!~"),
    (DummyClassifier(), "frame", "any"),
    (GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2), "matrix", "number!~"),
    (VotingClassifier([("a", LogisticRegression())]), "matrix", "number"),
    (VotingClassifier([("a", HistGradientBoostingClassifier())]), "frame", "any"),
    (StackingClassifier([("a", LogisticRegression())]), "matrix", "number"),
    (make_pipeline(make_union(StandardScaler(), PCA(2)), LogisticRegression()), "matrix", "number"),
    (Lenient(), "frame", "any"),
    (make_pipeline(Ratio(), LogisticRegression()), "frame", "any"),
]


@pytest.mark.parametrize(("estimator", "layout", "claimed"), NUMBER_PIPELINES, ids=str)
def test_contracts_of_numbers(estimator: Any, layout: str, claimed: str):
    frame = numbers()
    contract = derive(clone(estimator).fit(frame, classes(frame)))
    assert contract.layout == layout
    assert refusals(contract) == dict.fromkeys(NAMES, claimed)


def test_each_column_has_the_claims_of_its_transformers():
    frame = mixed().assign(age=1.0, size=2.0, unused=3.0)
    transformer = ColumnTransformer(
        [
            ("scale", StandardScaler(), ["age", "a"]),
            (
                "impute",
                make_pipeline(SimpleImputer(), StandardScaler()),
                [frame.columns.get_loc("b")],
            ),
            ("words", TfidfVectorizer(), "note"),
            ("classes", encoder(), make_column_selector("plan")),
            ("gone", "drop", ["unused"]),
            ("same", "passthrough", ["size"]),
            ("classes of numbers", encoder(), ["a"]),
        ]
    )
    contract = derive(columns_pipeline(transformer, frame))
    assert contract.layout == "frame"
    assert refusals(contract) == {
        "a": "any!~",
        "b": "number~",
        "plan": "any",
        "note": "text!",
        "age": "number!~",
        "size": "any!~",
    }


@pytest.mark.parametrize(
    ("remainder", "claimed"),
    [("drop", None), ("passthrough", "any!~"), (SimpleImputer(), "number~")],
    ids=str,
)
def test_the_remainder_of_a_column_transformer(remainder: Any, claimed: str | None):
    frame = numbers()
    transformer = ColumnTransformer([("n", StandardScaler(), ["c"])], remainder=remainder)
    contract = derive(columns_pipeline(transformer, frame))
    rest = {} if claimed is None else dict.fromkeys(("a", "b", "d"), claimed)
    assert refusals(contract) == {"c": "number!~"} | rest
    assert contract.names == tuple(name for name in NAMES if name == "c" or rest)


def test_a_dropped_column_is_not_missed():
    frame = mixed()
    pipeline = columns_pipeline(ColumnTransformer([("n", StandardScaler(), ["b", "a"])]), frame)
    assert derive(pipeline).names == ("a", "b")
    expected = pipeline.predict(frame)
    assert (pipeline.predict(frame[["a", "b"]]) == expected).all()
    assert (
        derive(pipeline, tuple(frame.columns)) == derive(pipeline, ("a", "b")) == derive(pipeline)
    )


def test_a_search_around_a_pipeline_of_a_column_transformer():
    frame = mixed()
    transformer = ColumnTransformer([("c", encoder(), ["plan"]), ("n", SimpleImputer(), ["a"])])
    search = GridSearchCV(make_pipeline(transformer, LogisticRegression()), {}, cv=2)
    contract = derive(search.fit(frame, classes(frame)))
    assert contract.layout == "frame"
    assert refusals(contract) == {"a": "number~", "plan": "any"}


def test_a_column_transformer_inside_an_ensemble_needs_a_frame():
    frame = mixed()
    inner = make_pipeline(ColumnTransformer([("c", encoder(), ["plan"])]), LogisticRegression())
    two = classes(frame)[:, None] == [0, 1]
    for ensemble, target in (
        (VotingClassifier([("a", inner)]), classes(frame)),
        (CalibratedClassifierCV(inner, cv=2), classes(frame)),
        (StackingClassifier([("a", inner)], cv=2), classes(frame)),
        (MultiOutputClassifier(inner), two),
    ):
        contract = derive(ensemble.fit(frame, target))
        assert contract.layout == "frame"
        assert refusals(contract) == dict.fromkeys(frame.columns, "any")


def test_boosting_with_categories_takes_a_frame_of_anything():
    frame = numbers()[["a", "b"]].assign(plan=pd.Categorical(mixed()["plan"]))
    boosting = HistGradientBoostingClassifier(max_iter=2).fit(frame, classes(frame))
    contract = derive(boosting)
    assert contract.layout == "frame"
    assert refusals(contract) == dict.fromkeys(("a", "b", "plan"), "any")


def test_encoders_and_imputers_of_words():
    frame = mixed()[["plan", "note"]]
    for transformer in (encoder(), OrdinalEncoder(), SimpleImputer(strategy="most_frequent")):
        contract = derive(transformer.fit(frame))
        assert contract.layout == "frame"
        assert refusals(contract) == {"plan": "any", "note": "any"}
    indicator = MissingIndicator(features="all").fit(frame.astype(object))
    assert refusals(derive(indicator)) == {"plan": "any", "note": "any"}


# --- names -----------------------------------------------------------------------------------


def test_a_model_of_a_matrix_without_names_asks_for_them():
    fitted = LinearRegression().fit(numbers().to_numpy(), range(60))
    with pytest.raises(ContractError) as raised:
        derive(fitted)
    assert str(raised.value) == (
        "model 'churn' was trained on a matrix without names: it takes 4 columns and cannot know "
        "which. Name them in the order of training with --features a,b,c"
    )
    contract = derive(fitted, ("w", "x", "y", "z"))
    assert contract.layout == "matrix"
    assert refusals(contract) == dict.fromkeys(("w", "x", "y", "z"), "number!~")


def test_a_wrong_number_of_names_is_refused():
    fitted = make_pipeline("passthrough", LinearRegression()).fit(numbers().to_numpy(), range(60))
    with pytest.raises(ContractError, match=r"takes 4 columns, but --features names 2: \['w', 'x'"):
        derive(fitted, ("w", "x"))


def test_a_name_must_not_be_given_twice():
    fitted = LinearRegression().fit(numbers().to_numpy(), range(60))
    with pytest.raises(ContractError, match=r"\['w'\] repeat"):
        derive(fitted, ("w", "w", "y", "z"))


def test_other_names_than_the_models_own_are_refused():
    fitted = LinearRegression().fit(numbers(), range(60))
    assert derive(fitted, NAMES) == derive(fitted)
    with pytest.raises(ContractError) as raised:
        derive(fitted, ("d", "c", "b", "a"))
    assert str(raised.value) == (
        "model 'churn' was trained on the columns ['a', 'b', 'c', 'd'], but --features names "
        "['d', 'c', 'b', 'a']. Leave --features out: columns are matched by name."
    )


def test_a_column_transformer_of_a_matrix_without_names():
    frame = mixed()
    transformer = ColumnTransformer(
        [("n", StandardScaler(), [1, 0]), ("c", encoder(), [2]), ("t", CountVectorizer(), 3)]
    )
    fitted = make_pipeline(transformer, LogisticRegression())
    fitted.fit(frame.to_numpy(), classes(frame))
    contract = derive(fitted, ("w", "x", "y", "z"))
    assert contract.layout == "frame"
    assert refusals(contract) == {"w": "number!~", "x": "number!~", "y": "any", "z": "text!"}


def test_somebodys_own_step_gets_what_it_was_trained_on():
    frame = numbers()
    fitted = make_pipeline(Scale(), LogisticRegression()).fit(frame.to_numpy(), classes(frame))
    contract = derive(fitted, NAMES)
    assert contract.layout == "matrix"
    assert refusals(contract) == dict.fromkeys(NAMES, "number")


def test_an_estimator_that_remembers_nothing():
    class Bare:
        def predict(self, X):
            return X

    with pytest.raises(ContractError, match="it takes columns and cannot know which"):
        derive(Bare())
    assert derive(Bare(), ("x",)).names == ("x",)


@pytest.mark.parametrize("first", [DictVectorizer(), FeatureHasher(2)], ids=str)
def test_what_takes_no_columns_is_refused(first: Any):
    rows = [{"x": 1}, {"x": 2}]
    fitted = make_pipeline(first, LogisticRegression()).fit(rows, [0, 1])
    with pytest.raises(ContractError, match=f"starts with a {type(first).__name__}, which does"):
        derive(fitted, ("x",))


# --- text ------------------------------------------------------------------------------------

TEXT_MODELS = [
    make_pipeline(TfidfVectorizer(), LogisticRegression()),
    make_pipeline(make_pipeline(CountVectorizer(analyzer="char")), MultinomialNB()),
    make_pipeline(HashingVectorizer(n_features=8), LogisticRegression()),
    GridSearchCV(make_pipeline(TfidfVectorizer(), LogisticRegression()), {}, cv=2),
]
WRAPPED_TEXT_MODELS = [
    make_pipeline(
        FeatureUnion([("w", TfidfVectorizer()), ("c", CountVectorizer()), ("d", "drop")]),
        MultinomialNB(),
    ),
    CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), LinearSVC()), cv=2),
    VotingClassifier([("a", make_pipeline(CountVectorizer(), MultinomialNB()))]),
]


@pytest.mark.parametrize(
    "estimator", [*TEXT_MODELS, *WRAPPED_TEXT_MODELS], ids=lambda e: str(e)[:40]
)
def test_models_of_one_column_of_text(estimator: Any):
    frame = mixed()
    fitted = clone(estimator).fit(frame["note"], classes(frame))
    contract = derive(fitted, ("note",))
    assert contract.layout == "text"
    certain = any(str(estimator) == str(plain) for plain in TEXT_MODELS)
    assert refusals(contract) == {"note": "text!" if certain else "any"}
    for features in (None, ("note", "plan")):
        with pytest.raises(ContractError, match="takes one column of text and does not know its"):
            derive(fitted, features)


def shout(text: object) -> str:
    return str(text).upper()


def words(text: object) -> list[str]:
    return str(text).split()


VECTORIZERS = [
    (CountVectorizer(), True),
    (CountVectorizer(lowercase=False), True),
    (CountVectorizer(lowercase=False, analyzer="char_wb"), True),
    (CountVectorizer(lowercase=False, tokenizer=words, token_pattern=None), False),
    (CountVectorizer(tokenizer=words, token_pattern=None), True),
    (CountVectorizer(preprocessor=shout), False),
    (CountVectorizer(analyzer=words), False),
    (CountVectorizer(strip_accents=shout, lowercase=False), False),
    (CountVectorizer(strip_accents="unicode"), True),
]


@pytest.mark.parametrize(("vectorizer", "certain"), VECTORIZERS, ids=range(len(VECTORIZERS)))
def test_a_vectorizer_refuses_what_is_no_text_where_the_contract_says_so(
    vectorizer: CountVectorizer, certain: bool
):
    fitted = clone(vectorizer).fit(["some words", "and others"])
    assert refusals(derive(fitted, ("note",))) == {"note": "text!" if certain else "any"}
    if certain:
        for bad in (None, 3, 2.5, np.nan):
            with pytest.raises((AttributeError, TypeError, ValueError)):
                fitted.transform(np.array(["fine", bad], object))


def test_a_vectorizer_of_files_is_not_restricted(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("some words")
    fitted = CountVectorizer(input="filename").fit([path])
    assert refusals(derive(fitted, ("note",))) == {"note": "any"}
