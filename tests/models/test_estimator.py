"""Predictions are equal, to the bit, to the library's own on the same batch."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, RegressorChain
from sklearn.neighbors import KernelDensity, KNeighborsClassifier, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, OneClassSVM
from sklearn_models import NAMES, batch_of, classes, identical, mixed, model_of, numbers, pickled
from third_party import Returns, Scale

from scoreline.models import ContractError, ModelError, ModelOutputError, Trust
from scoreline.models.estimator import EstimatorModel
from scoreline.models.outputs import OUTPUTS

FRAME = numbers()
TWO = classes(FRAME)
THREE = classes(FRAME, ("low", "mid", "high"))
FOUR = classes(FRAME, (0, 1, 2, 3))
LABELS = np.column_stack([TWO, 1 - TWO, THREE == "mid"]).astype(int)


def expected_columns(result: Any) -> list[np.ndarray]:
    if isinstance(result, list):
        return [column for part in result for column in np.asarray(part).T]
    result = np.asarray(result.toarray() if hasattr(result, "toarray") else result)
    return [result] if result.ndim == 1 else list(result.T)


def check_equal(estimator: Any, batch: pa.RecordBatch, names: tuple[str, ...], **options: Any):
    """Every output of the model equals the estimator's own answer to the same batch."""
    frame = batch.to_pandas()[list(names)]
    for output in [output for output in OUTPUTS if hasattr(estimator, output)]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = expected_columns(getattr(estimator, output)(frame))
            except ValueError as error:  # the library does not take it: then the model does not
                with pytest.raises(ValueError, match=str(error)[:20]):
                    model_of(estimator, output, **options).score(batch)
                continue
        scored = model_of(estimator, output, **options).score(batch)
        assert scored.num_rows == batch.num_rows
        assert scored.num_columns == len(expected)
        for column, values in zip(scored.columns, expected, strict=True):
            assert identical(column, values), (output, column.type, values.dtype)


ESTIMATORS = [
    (LogisticRegression(), TWO),
    (LogisticRegression(), TWO == 1),
    (make_pipeline(StandardScaler(), LogisticRegression()), THREE),
    (SGDClassifier(), THREE),
    (RandomForestClassifier(5, random_state=0), THREE),
    (RandomForestClassifier(3, random_state=0), LABELS),
    (HistGradientBoostingClassifier(max_iter=3), THREE),
    (HistGradientBoostingRegressor(max_iter=3), FRAME["a"]),
    (LinearRegression(), FRAME[["a", "b"]]),
    (RegressorChain(LinearRegression()), FRAME[["a", "b"]]),
    (KNeighborsClassifier(3), THREE),
    (KNeighborsClassifier(3), LABELS),
    (MLPClassifier((3,), solver="lbfgs", max_iter=2000, random_state=0), LABELS),
    (SVC(), THREE),
    (MultiOutputClassifier(LogisticRegression()), np.column_stack([THREE, THREE])),
    (ClassifierChain(LogisticRegression()), LABELS),
    (CalibratedClassifierCV(LogisticRegression(), cv=2), THREE),
    (StackingClassifier([("a", LogisticRegression())], cv=2), TWO),
    (KMeans(2, n_init=1, random_state=0), None),
    (GaussianMixture(2, random_state=0), None),
    (IsolationForest(n_estimators=5, random_state=0), None),
    (OneClassSVM(), None),
    (LocalOutlierFactor(5, novelty=True), None),
    (KernelDensity(), None),
    (PCA(2), None),
    (make_pipeline(SimpleImputer(), PolynomialFeatures(), StandardScaler()), None),
    (make_pipeline(StandardScaler()).set_output(transform="pandas"), None),
    (GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2), TWO),
    (DummyClassifier(), THREE),
]


@pytest.mark.parametrize(("estimator", "target"), ESTIMATORS, ids=range(len(ESTIMATORS)))
def test_predictions_are_the_librarys_own(estimator: Any, target: Any):
    estimator = estimator.fit(FRAME, target)
    batch = batch_of(FRAME[["d", "b", "a", "c"]].assign(note="x"))
    check_equal(estimator, batch, NAMES)
    check_equal(estimator, batch.slice(7, 20), NAMES)
    check_equal(estimator, batch.slice(59), NAMES)


TYPES = [
    [pa.float32()] * 4,
    [pa.float64(), pa.float32(), pa.float64(), pa.float32()],
    [pa.int64()] * 4,
    [pa.int8(), pa.float32(), pa.uint8(), pa.float32()],
    [pa.int64(), pa.float32(), pa.uint64(), pa.float32()],
    [pa.bool_()] * 4,
    [pa.bool_(), pa.int32(), pa.float32(), pa.float64()],
    [pa.decimal128(20, 10), pa.float32(), pa.float32(), pa.float32()],
    [pa.float16()] * 4,
]


@pytest.mark.parametrize("types", TYPES, ids=lambda types: ",".join(map(str, types)))
@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        LogisticRegression(),
        HistGradientBoostingClassifier(max_iter=3),
        make_pipeline(SimpleImputer(), LogisticRegression()),
        make_pipeline(SimpleImputer(strategy="most_frequent"), LogisticRegression()),
        ColumnTransformer([("n", StandardScaler(), ["a", "b"])], remainder="passthrough"),
    ],
    ids=["scaled", "plain", "boosting", "mean", "frequent", "columns"],
)
def test_column_types_are_what_they_are_for_the_library(types: list[pa.DataType], estimator: Any):
    estimator.fit(FRAME, TWO)
    arrays = [
        pa.array(FRAME[name].to_numpy() > 1) if pa.types.is_boolean(type_) else _cast(name, type_)
        for name, type_ in zip(NAMES, types, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, list(NAMES)).slice(3, 33)
    check_equal(estimator, batch, NAMES)


def _cast(name: str, type_: pa.DataType) -> pa.Array:
    values = FRAME[name].to_numpy()
    if pa.types.is_float16(type_):
        return pa.array(values.astype(np.float16))
    return pa.array(values.round(3)).cast(type_, safe=False)


@pytest.mark.parametrize("type_", [pa.int64(), pa.float32(), pa.bool_()], ids=str)
def test_nulls_are_missing_values_for_the_library(type_: pa.DataType):
    nulls = pa.array([None, 1, 0, None, 1], pa.int8()).cast(type_)
    rest = pa.array(np.linspace(0, 1, 5), pa.float32())
    batch = pa.RecordBatch.from_arrays([nulls, rest, rest, nulls], list(NAMES))
    for estimator in (
        HistGradientBoostingClassifier(max_iter=3),
        make_pipeline(SimpleImputer(), LogisticRegression()),
        make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=3)),
    ):
        check_equal(estimator.fit(FRAME, TWO), batch, NAMES)


MIXED = mixed()
WORDS = [
    make_pipeline(
        ColumnTransformer(
            [
                ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]),
                ("classes", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
                ("words", TfidfVectorizer(), "note"),
            ]
        ),
        LogisticRegression(),
    ),
    ColumnTransformer(
        [("o", OrdinalEncoder(), ["plan", "note"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas"),
    ColumnTransformer([("o", OneHotEncoder(), [2, 3])], sparse_threshold=1.0),
    SimpleImputer(strategy="most_frequent"),
]


@pytest.mark.parametrize("estimator", WORDS, ids=range(len(WORDS)))
@pytest.mark.parametrize("text", ["string", "large_string", "string_view", "dictionary"])
def test_words_and_numbers(estimator: Any, text: str):
    estimator.fit(MIXED, classes(MIXED))
    batch = batch_of(MIXED[["plan", "note", "b", "a"]])
    for index, name in enumerate(("plan", "note")):
        words = batch.column(name).cast(pa.string())
        if text == "dictionary" and name == "plan":
            words = words.dictionary_encode()
        elif text != "dictionary":
            words = words.cast(getattr(pa, text)())
        batch = batch.set_column(index, name, words)
    output = "transform" if hasattr(estimator, "transform") else "predict"
    names = model_of(estimator, output).contract.names
    check_equal(estimator, batch.slice(11, 30), names)


def test_categories_that_differ_from_batch_to_batch():
    frame = FRAME[["a", "b"]].assign(plan=pd.Categorical(MIXED["plan"]))
    boosting = HistGradientBoostingClassifier(
        max_iter=5, categorical_features="from_dtype", min_samples_leaf=2
    ).fit(frame, classes(MIXED))
    model = model_of(boosting, "predict_proba")
    words = MIXED["plan"].to_numpy(object)
    plain = batch_of(frame.assign(plan=words))
    expected = model.score(batch_of(frame))
    assert len(set(expected.column(0).to_pylist())) > 2
    assert model.score(plain).equals(expected)
    for start in range(0, 60, 7):  # each slice has a dictionary of its own, in its own order
        piece = plain.slice(start, 7)
        encoded = piece.set_column(2, "plan", piece.column(2).cast(pa.string()).dictionary_encode())
        assert model.score(encoded).equals(expected.slice(start, 7))


def test_one_column_of_text():
    note = MIXED["note"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(note, classes(MIXED))
    model = model_of(pipeline, "predict", "predict_proba", features=("note",))
    scored = model.score(batch_of(MIXED).slice(5, 20))
    assert identical(scored.column("prediction"), pipeline.predict(note[5:25]))
    assert identical(scored.column("probability_1"), pipeline.predict_proba(note[5:25])[:, 1])


def test_a_model_of_a_matrix_without_names():
    for estimator in (LogisticRegression(), make_pipeline(Scale(), LogisticRegression())):
        estimator.fit(FRAME.to_numpy(), TWO)
        scored = model_of(estimator, features=NAMES).score(batch_of(FRAME[["b", "a", "d", "c"]]))
        assert identical(scored.column(0), estimator.predict(FRAME.to_numpy()))


def test_a_column_transformer_of_a_matrix_without_names():
    transformer = ColumnTransformer(
        [("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(), [2]), ("t", TfidfVectorizer(), 3)]
    )
    pipeline = make_pipeline(transformer, LogisticRegression())
    pipeline.fit(MIXED.to_numpy(), classes(MIXED))
    names = tuple(MIXED.columns)
    model = model_of(pipeline, "predict_proba", features=names)
    scored = model.score(batch_of(MIXED[["note", "plan", "b", "a"]]))
    assert identical(scored.column(1), pipeline.predict_proba(MIXED.to_numpy())[:, 1])


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_split_into_batches_gives_the_same_classes(data: Any):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, THREE)
    model = model_of(pipeline, "predict", "predict_proba")
    cuts = sorted(data.draw(st.sets(st.integers(1, 59), max_size=8)))
    whole = batch_of(FRAME)
    pieces = [
        model.score(whole.slice(start, stop - start))
        for start, stop in zip([0, *cuts], [*cuts, 60], strict=True)
    ]
    joined = pa.Table.from_batches(pieces).to_pandas()
    assert (joined["prediction"] == pipeline.predict(FRAME)).all()
    # Linear algebra may round otherwise on another number of rows: by a few units, no more.
    expected = pipeline.predict_proba(FRAME)
    np.testing.assert_array_max_ulp(joined.iloc[:, 1:].to_numpy(), expected, 16)


# --- names of outputs ------------------------------------------------------------------------

PAIRS = make_pipeline(StandardScaler(), SVC(decision_function_shape="ovo"))
DECISIONS = ["decision_high", "decision_low", "decision_mid"]
PROBABILITIES = ["probability_0", "probability_1", "probability_2"]
NAMED = [
    (LogisticRegression(), TWO, "predict_proba", ["probability_0", "probability_1"]),
    (LogisticRegression(), TWO == 1, "predict_proba", ["probability_False", "probability_True"]),
    (LogisticRegression(), TWO, "decision_function", ["decision"]),
    (
        LogisticRegression(),
        THREE,
        "decision_function",
        ["decision_high", "decision_low", "decision_mid"],
    ),
    (SVC(), THREE, "decision_function", ["decision_high", "decision_low", "decision_mid"]),
    (PAIRS, THREE, "decision_function", [f"decision_{i}" for i in range(3)]),
    (PAIRS, FOUR, "decision_function", [f"decision_{i}" for i in range(6)]),
    (GridSearchCV(PAIRS, {}, cv=2), FOUR, "decision_function", [f"decision_{i}" for i in range(6)]),
    (
        ClassifierChain(LogisticRegression()),
        LABELS,
        "predict_proba",
        [f"probability_{i}" for i in range(3)],
    ),
    (RandomForestClassifier(2), LABELS, "predict", [f"prediction_{i}" for i in range(3)]),
    (
        GridSearchCV(make_pipeline(PCA(2)), {}, cv=2),
        None,
        "transform",
        ["transformed_pca0", "transformed_pca1"],
    ),
    (StandardScaler(), None, "transform", [f"transformed_{name}" for name in NAMES]),
    (KMeans(2, n_init=1), None, "transform", ["transformed_kmeans0", "transformed_kmeans1"]),
    (IsolationForest(n_estimators=2), None, "score_samples", ["score"]),
]


@pytest.mark.parametrize(("estimator", "target", "output", "names"), NAMED, ids=range(len(NAMED)))
def test_the_names_of_outputs(estimator: Any, target: Any, output: str, names: list[str]):
    model = model_of(estimator.fit(FRAME, target), output)
    assert model.score(batch_of(FRAME)).schema.names == names


def test_several_outputs_stand_side_by_side():
    model = model_of(LogisticRegression().fit(FRAME, TWO), "predict_proba", "predict")
    assert model.score(batch_of(FRAME)).schema.names == [
        "probability_0",
        "probability_1",
        "prediction",
    ]


def test_a_model_that_returns_a_row_too_few():
    model = model_of(Returns(lambda X: np.ones(len(X) - 1)))
    with pytest.raises(ModelOutputError, match="predict returned 59 results for 60 rows"):
        model.score(batch_of(FRAME))


def test_no_warning_of_names_reaches_the_user():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = model_of(LogisticRegression().fit(FRAME, TWO))
        model.score(batch_of(FRAME))


# --- loading ---------------------------------------------------------------------------------

PICKLES = Trust(allow_pickle=True)


def load(estimator: Any, *outputs: str, features: tuple[str, ...] | None = None) -> EstimatorModel:
    return EstimatorModel.load(pickled(estimator), PICKLES, outputs or ("predict",), features)


def test_a_model_is_loaded_with_its_contract():
    model = load(LinearRegression().fit(FRAME, TWO))
    assert model.info.name == "churn"
    assert model.info.version == model.info.sha256[:12]
    assert model.info.notes == ()
    assert model.contract.names == NAMES
    assert (
        load(LinearRegression().fit(FRAME.to_numpy(), TWO), features=NAMES).contract.names == NAMES
    )


def test_an_output_that_the_model_lacks():
    with pytest.raises(ContractError) as raised:
        load(LinearRegression().fit(FRAME, TWO), "predict", "predict_proba", "transform")
    assert str(raised.value) == (
        "model 'churn' (LinearRegression) has no predict_proba, transform; it offers --outputs "
        "predict"
    )


@pytest.mark.parametrize(
    "held", [{"model": 1}, [1], 3.5, np.zeros(3), LinearRegression, DBSCAN()], ids=range(6)
)
def test_what_is_no_estimator(held: Any):
    with pytest.raises(ModelError) as raised:
        load(held)
    kind = type(held).__name__
    assert f"models/churn.joblib is no estimator: it holds a {kind}, which has" in str(raised.value)
    assert "Save the fitted estimator itself" in str(raised.value)


@pytest.mark.parametrize(
    "estimator",
    [LinearRegression(), make_pipeline(StandardScaler(), LogisticRegression())],
    ids=range(2),
)
def test_an_estimator_that_is_not_fitted(estimator: Any):
    with pytest.raises(ModelError, match="that is not fitted: save it after fit"):
        load(estimator)


def test_an_estimator_that_lacks_a_part_of_itself():
    broken = LogisticRegression().fit(FRAME, TWO)
    del broken.class_weight
    with pytest.raises(ModelError) as raised:
        load(broken)
    assert str(raised.value).startswith(
        "model models/churn.joblib holds a LogisticRegression that cannot be used: AttributeError: "
    )


def test_eight_threads_share_one_model():
    """Predicting changes nothing in an estimator: threads get what one alone gets, to the bit."""
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0))
    model = model_of(pipeline.fit(FRAME, THREE), "predict", "predict_proba")
    batches = [batch_of(FRAME).slice(start, 30) for start in range(8)]
    alone = [model.score(batch) for batch in batches]
    together = threading.Barrier(8)

    def score(number: int) -> list[pa.RecordBatch]:
        together.wait()
        return [model.score(batches[number]) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        for number, scored in enumerate(pool.map(score, range(8))):
            assert all(result.equals(alone[number]) for result in scored)
