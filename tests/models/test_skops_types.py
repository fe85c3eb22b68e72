"""What a `.skops` file of each family of estimators holds is trusted, and nothing else is."""

import importlib
import inspect
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  makes it importable
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import (
    RFE,
    SelectKBest,
    VarianceThreshold,
    chi2,
    f_classif,
    mutual_info_classif,
)
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct, Matern, WhiteKernel
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KernelDensity, KNeighborsClassifier, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier
from sklearn_models import classes, mixed, numbers

from scoreline.models import Trust, UntrustedModelError
from scoreline.models.artifact import Artifact
from scoreline.models.outputs import OUTPUTS
from scoreline.models.skops_types import TRUSTED, TRUSTED_BY_FAMILY
from scoreline.models.unpickle import load_estimator

FRAME = numbers()
TWO = classes(FRAME)
THREE = classes(FRAME, ("low", "mid", "high"))
NUMBER = FRAME["a"].to_numpy()
LOGISTIC = LogisticRegression()

OF_CLASSES = [
    make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler(), LOGISTIC),
    make_pipeline(IterativeImputer(max_iter=1), KNNImputer(), LOGISTIC),
    make_pipeline(make_union(PCA(2), PolynomialFeatures()), GaussianNB()),
    make_pipeline(PowerTransformer(), QuantileTransformer(n_quantiles=5), SVC()),
    make_pipeline(KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), LinearSVC()),
    make_pipeline(FunctionTransformer(np.log1p), NuSVC(nu=0.1)),
    make_pipeline(VarianceThreshold(), SelectKBest(f_classif, k=2), LOGISTIC),
    make_pipeline(SelectKBest(chi2, k=2), RFE(LOGISTIC)),
    make_pipeline(SelectKBest(mutual_info_classif, k=2), LOGISTIC),
    DecisionTreeClassifier(),
    RandomForestClassifier(2),
    GradientBoostingClassifier(n_estimators=2),
    HistGradientBoostingClassifier(max_iter=2),
    HistGradientBoostingClassifier(max_iter=2, early_stopping=True),
    AdaBoostClassifier(n_estimators=2),
    BaggingClassifier(LOGISTIC, 2),
    StackingClassifier([("a", DecisionTreeClassifier()), ("b", LOGISTIC)], cv=2),
    *(SGDClassifier(loss) for loss in ("hinge", "log_loss", "modified_huber", "perceptron")),
    *(SGDClassifier(loss) for loss in ("squared_hinge", "huber", "epsilon_insensitive")),
    *(
        KNeighborsClassifier(3, metric=metric, algorithm=algorithm)
        for metric, algorithm in [
            ("minkowski", "kd_tree"),
            ("minkowski", "ball_tree"),
            ("manhattan", "auto"),
            ("chebyshev", "auto"),
            ("canberra", "auto"),
            ("cosine", "auto"),
            ("euclidean", "brute"),
        ]
    ),
    KNeighborsClassifier(3, p=3),
    *(CalibratedClassifierCV(GaussianNB(), method=m, cv=2) for m in ("sigmoid", "isotonic")),
    CalibratedClassifierCV(GaussianNB(), cv=2, ensemble=False),
    OneVsRestClassifier(LOGISTIC),
    OutputCodeClassifier(LOGISTIC),
    GaussianProcessClassifier(),
    GridSearchCV(LOGISTIC, {"C": [1, 2]}, cv=2),
    GridSearchCV(LOGISTIC, {"C": [1, 2]}, cv=StratifiedKFold(2, shuffle=True, random_state=0)),
]
OF_NUMBERS = [
    Ridge(),
    SVR(),
    ExtraTreesRegressor(2),
    *(GradientBoostingRegressor(n_estimators=2, loss=loss) for loss in ("huber", "quantile")),
    *(
        HistGradientBoostingRegressor(max_iter=2, loss=loss, quantile=0.5)
        for loss in ("squared_error", "absolute_error", "gamma", "poisson", "quantile")
    ),
    VotingRegressor([("a", Ridge()), ("b", ExtraTreesRegressor(2))]),
    *(SGDRegressor(loss) for loss in ("squared_error", "huber", "squared_epsilon_insensitive")),
    PoissonRegressor(),
    TweedieRegressor(power=1.5),
    TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    GaussianProcessRegressor(RBF() + WhiteKernel()),
    GaussianProcessRegressor(Matern() * DotProduct() ** 2, alpha=1.0),
    GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=KFold(2)),
]
OF_NOTHING = [
    KMeans(2, n_init=1),
    GaussianMixture(2),
    IsolationForest(n_estimators=2),
    LocalOutlierFactor(5, novelty=True),
    KernelDensity(),
    OneClassSVM(),
]
NETWORKS = [
    (MLPClassifier((2,), max_iter=500, tol=0.1), TWO),
    (MLPRegressor(hidden_layer_sizes=(2,), solver="sgd", max_iter=500, tol=0.1), NUMBER),
    (ClassifierChain(LOGISTIC), np.column_stack([TWO, 1 - TWO])),
    (MultiOutputRegressor(Ridge()), FRAME[["a", "b"]]),
]
CASES = [
    *((estimator, THREE) for estimator in OF_CLASSES),
    *((estimator, NUMBER) for estimator in OF_NUMBERS),
    *((estimator, None) for estimator in OF_NOTHING),
    *NETWORKS,
]


def round_trip(estimator: Any) -> Any:
    return load_estimator(Artifact("m.skops", skops.io.dumps(estimator)), Trust())[0]


def same(estimator: Any, frame: Any) -> bool:
    loaded = round_trip(estimator)
    offered = [output for output in OUTPUTS if hasattr(estimator, output)]
    answers = [[np.asarray(getattr(e, o)(frame)) for o in offered] for e in (loaded, estimator)]
    pairs = zip(*answers, strict=True)
    return bool(offered) and all(np.array_equal(left, right) for left, right in pairs)


@pytest.mark.parametrize(
    ("estimator", "target"),
    CASES,
    ids=[type(case[0]).__name__ + str(i) for i, case in enumerate(CASES)],
)
@pytest.mark.filterwarnings("ignore")
def test_each_family_is_loaded_without_asking(estimator: Any, target: Any):
    assert same(estimator.fit(FRAME, target), FRAME)


MIXED = mixed()
COLUMNS = [
    ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]),
            ("c", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
            ("t", TfidfVectorizer(), "note"),
        ]
    ),
    ColumnTransformer([("c", OrdinalEncoder(), slice(2, 4))], remainder=MinMaxScaler()),
    ColumnTransformer(
        [
            ("s", StandardScaler(), make_column_selector(dtype_include=float)),
            ("t", TargetEncoder(cv=2), ["plan"]),
        ]
    ),
]


@pytest.mark.parametrize("transformer", COLUMNS, ids=range(len(COLUMNS)))
@pytest.mark.parametrize("last", [LOGISTIC, RandomForestClassifier(2)], ids=["linear", "forest"])
def test_column_transformers(transformer: Any, last: Any):
    assert same(make_pipeline(transformer, last).fit(MIXED, classes(MIXED)), MIXED)


@pytest.mark.parametrize(
    "vectorizer",
    [TfidfVectorizer(stop_words="english"), CountVectorizer(), HashingVectorizer()],
    ids=range(3),
)
def test_text(vectorizer: Any):
    last = LOGISTIC if isinstance(vectorizer, HashingVectorizer) else MultinomialNB()
    assert same(make_pipeline(vectorizer, last).fit(MIXED["note"], classes(MIXED)), MIXED["note"])


def refused(estimator: Any) -> str:
    with pytest.raises(UntrustedModelError) as raised:
        round_trip(estimator)
    return str(raised.value)


def test_categories_of_boosting_are_refused_for_their_partial():
    frame = FRAME[["a", "b"]].assign(plan=pd.Categorical(MIXED["plan"]))
    boosting = HistGradientBoostingClassifier(max_iter=2, categorical_features="from_dtype")
    assert "functools.partial" in refused(boosting.fit(frame, TWO))


def test_searches_with_a_scorer_are_refused_and_their_best_is_not():
    search = GridSearchCV(LOGISTIC, {"C": [1, 2]}, cv=2, scoring="f1").fit(FRAME, TWO)
    assert "sklearn.metrics._scorer._Scorer" in refused(search)
    assert same(search.best_estimator_, FRAME)


def test_sparse_parts_are_refused():
    neighbours = make_pipeline(TfidfVectorizer(), KNeighborsClassifier(3))
    message = refused(neighbours.fit(MIXED["note"], classes(MIXED)))
    assert "scipy.sparse._csr.csr_matrix" in message


def test_only_parts_of_scikit_learn_are_trusted():
    assert sum(map(len, TRUSTED_BY_FAMILY.values())) == len(TRUSTED)
    modules = {name.split(".")[0] for name in TRUSTED}
    assert modules == {"sklearn", "numpy"}
    assert {name for name in TRUSTED if name.startswith("numpy")} == {"numpy.dtype"}


def test_functions_are_trusted_in_one_family_only():
    functions = {name for name in TRUSTED if inspect.isroutine(_find(name))}
    assert functions == set(TRUSTED_BY_FAMILY["feature selection"])


def test_what_calls_what_it_is_told_to_is_not_trusted():
    dangerous = ("PyFunc", "._Scorer", "partial", "builtins", "operator", "joblib", "sparse")
    assert not [name for name in TRUSTED if any(word in name for word in dangerous)]


def _find(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute, None)  # None: of another version


def test_linear_regression_needs_nothing():
    assert skops.io.get_untrusted_types(data=skops.io.dumps(LinearRegression())) == []
