"""Derives the contract of a scikit-learn estimator from what it learned.

A refusal (a column must be a number, must not be null) is claimed only where scikit-learn's own
code is certain to raise. Where in doubt the row goes to the model, and if the model fails on it,
it becomes a dead letter there: slower, but no row is lost that the model could have scored.
"""

from dataclasses import dataclass, replace
from typing import Any

from .booster_categories import learned_categories
from .contract import Contract, Feature, Kind, Layout
from .errors import ContractError
from .estimator_categories import known_values
from .estimator_parts import (
    ENCODERS,
    IMPUTERS,
    SELECTORS,
    column_transformer,
    inner_estimators,
    is_a,
    is_estimator,
    is_sklearns_own,
    num_features,
    steps_of,
    takes_text,
    trained_names,
    transformer_columns,
)
from .feature_names import check_count, unnamed

# They work column by column: what is NaN before is NaN behind. An infinity they refuse.
_SCALERS = (
    "MaxAbsScaler",
    "MinMaxScaler",
    "PowerTransformer",
    "QuantileTransformer",
    "RobustScaler",
    "StandardScaler",
)
# They may take NaN, but no infinity.
_TREES = ("BaseDecisionTree", "ForestClassifier", "ForestRegressor")


@dataclass(frozen=True)
class _Policy:
    """What one step takes: values of which kind, NaN, infinity; and whether NaN comes through."""

    kind: Kind
    nan: bool
    infinite: bool
    passes_nan: bool = False

    def before(self, following: "_Policy | None") -> "_Policy":
        """What this step takes with `following` after it."""
        if following is None or not self.passes_nan:
            return self
        return _Policy(
            self.kind,
            self.nan and following.nan,
            self.infinite and following.infinite,
            following.passes_nan,
        )

    def beside(self, other: "_Policy") -> "_Policy":
        """What a column may hold that this step takes and another too."""
        return _Policy(
            self.kind if self.kind == other.kind else _common_kind(self.kind, other.kind),
            self.nan and other.nan,
            self.infinite and other.infinite,
        )


_UNKNOWN = _Policy("any", nan=True, infinite=True)
_UNCHANGED = _Policy("any", nan=True, infinite=True, passes_nan=True)


def _common_kind(kind: Kind, other: Kind) -> Kind:
    """A number that another step takes as it is must not be cast, so `any` wins over `number`."""
    return "text" if "text" in (kind, other) else "any"


def contract_of(estimator: Any, features: tuple[str, ...] | None, model_name: str) -> Contract:
    """Derives the contract: `features` where given, otherwise what the estimator remembers.

    Raises:
        ContractError: the estimator does not know its columns' names, or knows others.
    """
    if takes_text(estimator):
        return Contract((_text_feature(estimator, features, model_name),), "text")
    _check_input_kind(estimator, model_name)
    trained = trained_names(estimator)
    used = None if trained is None else _used_names(estimator, trained)
    names = used or features
    if names is None:
        raise ContractError(unnamed(num_features(estimator), model_name))
    _check_names(estimator, features, trained, used, model_name)
    layout = _layout(estimator, named=trained is not None)
    policies = _policies(estimator, trained or names)
    chosen = [policies.get(name, _UNKNOWN) for name in names]
    if layout == "matrix":
        chosen = [replace(policy, kind="number") for policy in chosen]
    pairs = zip(names, chosen, strict=True)
    features_of = tuple(_feature(name, policy) for name, policy in pairs)
    if layout == "frame":
        features_of = _with_categories(estimator, trained or names, features_of)
    return Contract(features_of, layout)


def _with_categories(
    estimator: Any, trained: tuple[str, ...], features: tuple[Feature, ...]
) -> tuple[Feature, ...]:
    """The features with what the model knows of those that are categories."""
    learned = learned_categories(estimator, trained)
    known = known_values(estimator, trained) | learned.known()
    examples = learned.examples()
    return tuple(
        replace(feature, known=known.get(feature.name), example=examples.get(feature.name))
        for feature in features
    )


def _feature(name: str, policy: _Policy) -> Feature:
    return Feature(name, policy.kind, policy.nan, policy.infinite)


def _text_feature(estimator: Any, features: tuple[str, ...] | None, model_name: str) -> Feature:
    if not features or len(features) != 1:
        raise ContractError(
            f"model {model_name!r} takes one column of text and does not know its name; "
            f"name it with --features COLUMN{f', got {list(features)}' if features else ''}"
        )
    return _feature(features[0], _leaf(steps_of(estimator)[0]))


def _check_input_kind(estimator: Any, model_name: str) -> None:
    first = steps_of(estimator)[0]
    if is_a(first, "DictVectorizer", "FeatureHasher", "PatchExtractor"):
        raise ContractError(
            f"model {model_name!r} starts with a {type(first).__name__}, which does not take "
            "columns. Train it with a ColumnTransformer on the columns of a table."
        )


def _check_names(
    estimator: Any,
    features: tuple[str, ...] | None,
    trained: tuple[str, ...] | None,
    used: tuple[str, ...] | None,
    model_name: str,
) -> None:
    if features is None:
        return
    if trained is not None and features not in (trained, used):
        raise ContractError(
            f"model {model_name!r} was trained on the columns {list(trained)}, but --features "
            f"names {list(features)}. Leave --features out: columns are matched by name."
        )
    if trained is None:
        check_count(num_features(estimator), features, model_name)


def _used_names(estimator: Any, trained: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that are needed: a column transformer does not miss the ones that it drops."""
    transformer = column_transformer(estimator)
    if transformer is None:
        return trained
    used = {index for index, _ in transformer_columns(transformer)}
    return tuple(name for index, name in enumerate(trained) if index in used)


def _layout(estimator: Any, *, named: bool) -> Layout:
    """A data frame where the columns' names or types matter to the part that sees them first."""
    first = steps_of(estimator)[0]
    parts = [first, *inner_estimators(first)]
    if not all(map(is_sklearns_own, parts)):
        return "frame" if named else "matrix"  # what its author trained it on
    return "frame" if any(map(_is_column_aware, parts)) else "matrix"


def _is_column_aware(part: Any) -> bool:
    if _is_gradient_boosting(part):
        fitted = hasattr(part, "_predictors")
        return not fitted or getattr(part, "is_categorical_", None) is not None
    if is_a(part, "SimpleImputer"):
        return not _imputes_numbers(part)
    return is_a(part, "ColumnTransformer", "FunctionTransformer", *ENCODERS) or _is_lenient(part)


def _is_lenient(part: Any) -> bool:
    """Whether it does not look at the values of every column, so that they may be anything."""
    if is_a(part, "BaseBagging"):
        return bool(part.max_features != 1.0)
    return is_a(part, "DummyClassifier", "DummyRegressor", "MissingIndicator", *SELECTORS)


def _is_gradient_boosting(part: Any) -> bool:
    return is_a(part, "HistGradientBoostingClassifier", "HistGradientBoostingRegressor")


def _imputes_numbers(imputer: Any) -> bool:
    return getattr(imputer, "strategy", "mean") not in ("most_frequent", "constant")


def _policies(estimator: Any, names: tuple[str, ...]) -> dict[str, _Policy]:
    """What each column may hold; a column without an entry is not restricted."""
    first, *rest = steps_of(estimator)
    following = _chain(rest)
    transformer = column_transformer(estimator)
    if transformer is None:
        return dict.fromkeys(names, _leaf(first).before(following))
    policies: dict[str, _Policy] = {}
    for index, step in transformer_columns(transformer):
        policy = (_chain(_transformer_steps(step)) or _UNCHANGED).before(following)
        name = names[index]
        policies[name] = policies.get(name, policy).beside(policy)
    return policies


def _transformer_steps(step: Any) -> list[Any]:
    return steps_of(step) if is_estimator(step) else []


def _chain(steps: list[Any]) -> _Policy | None:
    following: _Policy | None = None
    for step in reversed(steps):
        following = _leaf(step).before(following)
    return following


def _leaf(estimator: Any) -> _Policy:
    """What one estimator takes, by scikit-learn's own tags; the unknown is not restricted."""
    if hasattr(estimator, "build_analyzer"):
        return _text_policy(estimator)
    if is_a(estimator, "FunctionTransformer") and estimator.func is None:
        return _UNCHANGED if not estimator.validate else _UNKNOWN
    if not is_sklearns_own(estimator) or inner_estimators(estimator):
        return _UNKNOWN
    if _is_gradient_boosting(estimator):
        categorical = getattr(estimator, "is_categorical_", None) is not None
        return _Policy("any" if categorical else "number", nan=True, infinite=True)
    if is_a(estimator, *IMPUTERS):
        numbers = _imputes_numbers(estimator)
        return _Policy("number", nan=True, infinite=False) if numbers else _UNKNOWN
    if is_a(estimator, *ENCODERS, "FunctionTransformer", "ColumnTransformer", "FeatureUnion"):
        return _UNKNOWN
    return _tagged(estimator)


def _tagged(estimator: Any) -> _Policy:
    from sklearn.utils import get_tags

    tags = get_tags(estimator)
    if tags.no_validation or _is_lenient(estimator):
        return _UNKNOWN
    if not tags.input_tags.allow_nan:
        return _Policy("number", nan=False, infinite=False)
    scales = is_a(estimator, *_SCALERS)
    infinite = not scales and not is_a(estimator, *_TREES)
    return _Policy("number", nan=True, infinite=infinite, passes_nan=scales)


def _text_policy(vectorizer: Any) -> _Policy:
    """A text vectoriser fails on what is no text, unless a function of the user's makes it text.

    Lowercasing and splitting into words are methods of strings, so they fail on anything else.
    """
    if not is_sklearns_own(vectorizer) or vectorizer.input != "content":
        return _UNKNOWN
    functions = (vectorizer.analyzer, vectorizer.preprocessor, vectorizer.strip_accents)
    splits = vectorizer.tokenizer is None or vectorizer.analyzer != "word"
    certain = not any(map(callable, functions)) and (vectorizer.lowercase or splits)
    return _Policy("text", nan=False, infinite=True) if certain else _UNKNOWN
