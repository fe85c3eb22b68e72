"""Types that a `.skops` file may hold beyond those that skops itself trusts, by estimator family.

They are parts of scikit-learn's own fitted estimators. A type stands here only if nothing that a
file can do with it - make one with any content, call it with any arguments - runs code of the
file's choice, reads or writes a file, or opens a connection. Owned here, by the operator's side:
a file cannot add to it. What is left out on purpose, so that it is refused by name:

- whatever calls or imports what it is told to: `functools.partial`, `builtins`, `operator`, numpy
  functions such as `load`, scorers (they call a method by name). For this reason a histogram
  gradient boosting with categorical columns, whose encoder holds a `partial`, and a search with
  `scoring=` are refused: save its `best_estimator_`.
- sparse matrices: scipy writes where a matrix's indices say, inside its bounds or not.

Trees, distance trees and the predictors of gradient boosting are node tables whose indices
scikit-learn follows unchecked: a file crafted for it cannot run code, but it can crash the worker.
Pin the sha256 of a file whose maker you do not know.
"""

_SPLITTERS = (
    "GroupKFold",
    "GroupShuffleSplit",
    "KFold",
    "LeaveOneOut",
    "ShuffleSplit",
    "StratifiedGroupKFold",
    "StratifiedKFold",
    "StratifiedShuffleSplit",
    "TimeSeriesSplit",
)
# Not PyFuncDistance: it calls a function.
_DISTANCES = (
    "BrayCurtis",
    "Canberra",
    "Chebyshev",
    "Dice",
    "Euclidean",
    "Hamming",
    "Haversine",
    "Jaccard",
    "Mahalanobis",
    "Manhattan",
    "Minkowski",
    "RogersTanimoto",
    "RussellRao",
    "SEuclidean",
    "SokalSneath",
)

TRUSTED_BY_FAMILY: dict[str, tuple[str, ...]] = {
    "trees and forests": ("sklearn.tree._tree.Tree",),
    "gradient boosting": (
        "sklearn._loss.link.HalfLogitLink",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogLink",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.ExponentialLoss",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfGammaLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfPoissonLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn._loss.loss.HuberLoss",
        "sklearn._loss.loss.PinballLoss",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    ),
    "linear models with a loss": (
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.linear_model._sgd_fast.EpsilonInsensitive",
        "sklearn.linear_model._sgd_fast.Hinge",
        "sklearn.linear_model._sgd_fast.ModifiedHuber",
        "sklearn.linear_model._sgd_fast.SquaredEpsilonInsensitive",
        "sklearn.linear_model._sgd_fast.SquaredHinge",
    ),
    "neighbours": (
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        *(f"sklearn.metrics._dist_metrics.{name}Distance64" for name in _DISTANCES),
        *(f"sklearn.metrics._dist_metrics.{name}Distance32" for name in _DISTANCES),
    ),
    "imputers and encoders": (
        "numpy.dtype",
        "sklearn.impute._iterative.IterativeImputer",
        "sklearn.impute._iterative._ImputerTriplet",
    ),
    "column transformers and ensembles": (
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.utils._bunch.Bunch",
    ),
    "calibration": (
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
    ),
    "neural networks": (
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    ),
    "gaussian processes": (
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.CompoundKernel",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.DotProduct",
        "sklearn.gaussian_process.kernels.ExpSineSquared",
        "sklearn.gaussian_process.kernels.Exponentiation",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
    ),
    "searches": (
        "sklearn.metrics._scorer._PassthroughScorer",
        *(f"sklearn.model_selection._split.{name}" for name in _SPLITTERS),
    ),
    # Functions, remembered but not called when predicting; all they do is arithmetic on arrays.
    "feature selection": (
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._mutual_info.mutual_info_regression",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.feature_selection._univariate_selection.r_regression",
    ),
}

TRUSTED: frozenset[str] = frozenset(name for names in TRUSTED_BY_FAMILY.values() for name in names)
