import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn_models import NAMES, classes, numbers
from third_party import Lenient, Scale

from scoreline.models.estimator_parts import (
    inner_estimators,
    is_a,
    is_sklearns_own,
    num_features,
    steps_of,
    takes_text,
    trained_names,
)


def kinds(estimators: list[object]) -> list[str]:
    return [type(estimator).__name__ for estimator in estimators]


def test_a_subclass_is_what_it_extends_but_not_sklearns_own():
    assert is_a(Lenient(), "LogisticRegression")
    assert not is_sklearns_own(Lenient())
    assert is_sklearns_own(LogisticRegression())


def test_somebodys_class_of_the_same_name_is_not_sklearns():
    pipeline = type("Pipeline", (), {"__module__": "elsewhere"})()
    assert not is_a(pipeline, "Pipeline")
    assert steps_of(pipeline) == [pipeline]


def test_steps_are_unrolled():
    inner = make_pipeline(StandardScaler(), "passthrough", MinMaxScaler())
    pipeline = Pipeline([("a", None), ("b", inner), ("c", LogisticRegression())])
    assert kinds(steps_of(pipeline)) == ["StandardScaler", "MinMaxScaler", "LogisticRegression"]


def test_a_pipeline_of_nothing_is_its_own_step():
    nothing = make_pipeline("passthrough")
    assert steps_of(nothing) == [nothing]


def test_inner_estimators_are_found_at_any_depth():
    voting = VotingClassifier([("a", make_pipeline(StandardScaler(), Lenient()))])
    assert set(kinds(inner_estimators(voting))) == {"Pipeline", "StandardScaler", "Lenient"}
    assert inner_estimators(object()) == []


def test_names_behind_a_passthrough_are_found():
    frame = numbers()
    fitted = make_pipeline("passthrough", LogisticRegression()).fit(frame, classes(frame))
    assert trained_names(fitted) == NAMES
    assert num_features(fitted) == len(NAMES)
    assert trained_names(Scale().fit(frame.to_numpy())) is None


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (CountVectorizer(), True),
        (FeatureUnion([("a", CountVectorizer()), ("b", StandardScaler())]), False),
        (FeatureUnion([("a", "drop")]), False),
        (StandardScaler(), False),
        (make_pipeline("passthrough"), False),
        (np.array([1]), False),
    ],
    ids=range(6),
)
def test_what_takes_text(estimator: object, expected: bool):
    assert takes_text(estimator) is expected
