"""Every kind of scikit-learn model against scikit-learn itself, over every shape of batch."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from differential import Case, check_case, load, rows_of
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDOneClassSVM
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier
from sklearn_models import pickled

from scoreline.models.artifact import Artifact
from scoreline.models.trust import Trust

NUMBERS = pa.schema([(name, pa.float64()) for name in "abcd"])
MIXED = pa.schema(
    [
        ("age", pa.float64()),
        ("visits", pa.int64()),
        ("plan", pa.string()),
        ("note", pa.string()),
    ]
)
TRAIN_ROWS = 400
# What differs from batch size to batch size is the order in which a linear algebra library adds
# up: a few units in the last place of a sum, relative to the largest number of the column.
LINEAR = 1e-13
_PREFIXES = {"predict": "prediction", "predict_proba": "probability"}


def labels(batch: pa.RecordBatch, names: tuple[Any, ...]) -> np.ndarray:
    first = batch.column(0).to_numpy(zero_copy_only=False)
    ranks = np.argsort(np.argsort(first))
    return np.array(names)[ranks * len(names) // len(first)]


def named(output: str, result: Any, classes: Any) -> dict[str, np.ndarray]:
    """Our columns for what a method of scikit-learn returns."""
    prefix = _PREFIXES.get(output) or {
        "decision_function": "decision",
        "score_samples": "score",
        "transform": "transformed",
    }.get(output, output)
    if isinstance(result, list):
        return {
            f"{prefix}_{target}_{label}": part[:, index]
            for target, part in enumerate(result)
            for index, label in enumerate(classes[target])
        }
    if result.ndim == 1:
        return {prefix: result}
    is_named = output == "predict_proba" or output == "decision_function"
    names = classes if is_named and np.ndim(classes[0]) == 0 else range(result.shape[1])
    return {f"{prefix}_{name}": result[:, index] for index, name in enumerate(names)}


def answer(estimator: Any, outputs: tuple[str, ...], to_input: Callable[[pa.RecordBatch], Any]):
    def own(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {}
        for output in outputs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = getattr(estimator, output)(to_input(batch))
            columns |= named(output, result, getattr(estimator, "classes_", None))
        return columns

    return own


def case(
    name: str,
    estimator: Any,
    schema: pa.Schema,
    *outputs: str,
    target: Any = None,
    skops_types: tuple[str, ...] | None = None,
    **options: Any,
) -> Case:
    """A fitted estimator, through a joblib file or, with `skops_types`, through a skops file."""
    train = rows_of(schema, TRAIN_ROWS, seed=1)
    frame = train.to_pandas()
    features = list(schema.names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(frame, target(train) if callable(target) else target)
    if skops_types is None:
        artifact, trust = pickled(estimator), Trust(allow_pickle=True)
    else:
        artifact = Artifact("m.skops", skops.io.dumps(estimator))
        trust = Trust(skops_types=skops_types)

    def to_input(batch: pa.RecordBatch) -> Any:
        # Not `to_pandas()[features]`: in another order pandas gives a view with negative strides,
        # for which linear algebra adds up in another order.
        return batch.select(features).to_pandas()

    return Case(
        name,
        load(artifact, *outputs, trust=trust),
        rows_of(schema),
        answer(estimator, outputs, to_input),
        **options,
    )


def text_case(name: str, estimator: Any, *outputs: str, **options: Any) -> Case:
    schema = pa.schema([("note", pa.string())])
    train = rows_of(schema, TRAIN_ROWS, seed=1)
    words = train.column(0).to_pylist()
    estimator.fit(words, [("gold" in word) or ("good" in word) for word in words])
    model = load(pickled(estimator), *outputs, features=("note",))
    own = answer(estimator, outputs, lambda batch: batch.column("note").to_pylist())
    return Case(name, model, rows_of(schema), own, encodable=("note",), **options)


def two(batch: pa.RecordBatch) -> np.ndarray:
    return labels(batch, ("no", "yes"))


def three(batch: pa.RecordBatch) -> np.ndarray:
    return labels(batch, (0, 1, 2))


def several(batch: pa.RecordBatch) -> np.ndarray:
    return np.column_stack([two(batch), three(batch).astype(str)])


def binaries(batch: pa.RecordBatch) -> np.ndarray:
    return np.column_stack([two(batch) == "yes", three(batch) == 1]).astype(int)


def amounts(batch: pa.RecordBatch) -> np.ndarray:
    return batch.column(0).to_numpy() * 3 + batch.column(1).to_numpy()


def two_amounts(batch: pa.RecordBatch) -> np.ndarray:
    return np.column_stack([amounts(batch), -amounts(batch)])


PROBA = ("predict", "predict_proba")
DECISION = ("predict", "decision_function")
ENCODABLE = ("plan", "note")
CODED = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "visits"]),
        ("classes", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
        ("words", TfidfVectorizer(), "note"),
    ]
)
ORDINAL = ColumnTransformer(
    [("classes", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["plan"])],
    remainder="drop",
)

MATRIX = [
    (
        "scaled logistic",
        make_pipeline(StandardScaler(), LogisticRegression()),
        PROBA,
        three,
        LINEAR,
    ),
    ("linear", LinearRegression(), ("predict",), amounts, LINEAR),
    ("ridge, two targets", Ridge(), ("predict",), two_amounts, LINEAR),
    ("tree", DecisionTreeClassifier(max_depth=5), PROBA, two, 0.0),
    ("forest", RandomForestClassifier(10, random_state=0), PROBA, three, 0.0),
    ("forest of amounts", RandomForestRegressor(10, random_state=0), ("predict",), amounts, 0.0),
    ("boosting", GradientBoostingClassifier(n_estimators=10), PROBA, three, 0.0),
    ("several labels", MultiOutputClassifier(LogisticRegression()), PROBA, several, LINEAR),
    ("forest of labels", RandomForestClassifier(5, random_state=0), PROBA, several, 0.0),
    ("chain", ClassifierChain(LogisticRegression()), PROBA, binaries, LINEAR),
    ("several amounts", MultiOutputRegressor(Ridge()), ("predict",), two_amounts, LINEAR),
    ("isolation", IsolationForest(random_state=0), (*DECISION, "score_samples"), None, 0.0),
    ("local outliers", LocalOutlierFactor(20, novelty=True), DECISION, None, 1e-9),
    ("one class", OneClassSVM(), DECISION, None, LINEAR),
    ("linear one class", SGDOneClassSVM(random_state=0), DECISION, None, LINEAR),
    ("ellipse", EllipticEnvelope(random_state=0), DECISION, None, LINEAR),
    ("vectors", SVC(), DECISION, three, LINEAR),
    ("calibrated", CalibratedClassifierCV(SVC(), cv=2), PROBA, two, LINEAR),
    (
        "isotonic",
        CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2),
        PROBA,
        two,
        1e-6,  # a step of the isotonic curve is steep: it amplifies the last bits of its input
    ),
    (
        "stacked",
        StackingClassifier(
            [("tree", DecisionTreeClassifier(max_depth=3)), ("line", LogisticRegression())], cv=2
        ),
        PROBA,
        three,
        LINEAR,
    ),
    (
        "stacked amounts",
        StackingRegressor([("line", Ridge()), ("forest", RandomForestRegressor(3))], cv=2),
        ("predict",),
        amounts,
        LINEAR,
    ),
    (
        "vote",
        VotingClassifier(
            [("tree", DecisionTreeClassifier(max_depth=3)), ("line", LogisticRegression())],
            voting="soft",
        ),
        PROBA,
        two,
        LINEAR,
    ),
]


@pytest.mark.parametrize(
    ("name", "estimator", "outputs", "target", "bound"), MATRIX, ids=[row[0] for row in MATRIX]
)
def test_a_matrix(name: str, estimator: Any, outputs: tuple[str, ...], target: Any, bound: float):
    check_case(case(name, estimator, NUMBERS, *outputs, target=target, bound=bound))


def test_missing_values_in_a_matrix():
    boosting = HistGradientBoostingClassifier(max_iter=10)
    check_case(case("nulls", boosting, NUMBERS, *PROBA, target=two, nullable=("a", "c")))
    imputed = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    check_case(case("imputed", imputed, NUMBERS, *PROBA, target=two, nullable=("b",), bound=LINEAR))


@pytest.mark.parametrize(
    ("name", "estimator", "nullable", "bound"),
    [
        ("columns", make_pipeline(CODED, LogisticRegression()), ("age",), LINEAR),
        ("forest", make_pipeline(CODED, RandomForestClassifier(5, random_state=0)), (), 0.0),
        ("ordinal", make_pipeline(ORDINAL, DecisionTreeClassifier()), ("plan",), 0.0),
    ],
)
def test_a_frame(name: str, estimator: Any, nullable: tuple[str, ...], bound: float):
    check_case(
        case(
            name,
            estimator,
            MIXED,
            *PROBA,
            target=two,
            nullable=nullable,
            encodable=ENCODABLE,
            bound=bound,
        )
    )


@pytest.mark.parametrize(
    ("name", "estimator", "outputs"),
    [
        ("words", make_pipeline(TfidfVectorizer(), LogisticRegression()), PROBA),
        ("counts", make_pipeline(CountVectorizer(), MultinomialNB()), PROBA),
        ("hashes", make_pipeline(HashingVectorizer(n_features=64), LogisticRegression()), DECISION),
        (
            "words and letters",
            make_pipeline(
                FeatureUnion(
                    [
                        ("words", TfidfVectorizer()),
                        ("letters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3))),
                    ]
                ),
                LogisticRegression(),
            ),
            PROBA,
        ),
    ],
)
def test_text(name: str, estimator: Any, outputs: tuple[str, ...]):
    check_case(text_case(name, estimator, *outputs, bound=LINEAR))


@pytest.mark.parametrize(
    ("name", "estimator", "outputs", "target"),
    [
        ("forest", RandomForestClassifier(10, random_state=0), PROBA, three),
        ("extra trees", ExtraTreesClassifier(10, random_state=0), PROBA, three),
        ("forest of amounts", RandomForestRegressor(5, random_state=0), ("predict",), amounts),
        ("isolation", IsolationForest(n_estimators=10, random_state=0), DECISION, None),
        ("boosting", HistGradientBoostingClassifier(max_iter=5), PROBA, two),
    ],
)
def test_forests_in_a_skops_file_that_needs_no_trust(
    name: str, estimator: Any, outputs: tuple[str, ...], target: Any
):
    check_case(case(name, estimator, NUMBERS, *outputs, target=target, skops_types=()))
