"""Derives the contract of a scikit-learn estimator from what it learned.

A refusal (a column must be a number, must not be null) is claimed only where scikit-learn's own
code is certain to raise. Where in doubt the row goes to the model, and if the model fails on it,
it becomes a dead letter there: slower, but no row is lost that the model could have scored.
"""

from dataclasses import dataclass
from typing import Any

from .contract import Contract, Feature, Kind, Layout
from .errors import ContractError

_ENCODERS = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
_IMPUTERS = {"SimpleImputer", "KNNImputer", "IterativeImputer", "MissingIndicator"}


@dataclass(frozen=True)
class _Policy:
    """What one step takes: values of which kind, NaN, infinity; and whether NaN comes through."""

    kind: Kind
    nan: bool
    infinite: bool
    passes_nan: bool

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
        kinds = {self.kind, other.kind} - {"any"}
        kind: Kind = "text" if "text" in kinds else "number" if kinds else "any"
        return _Policy(kind, self.nan and other.nan, self.infinite and other.infinite, False)


_UNKNOWN = _Policy("any", nan=True, infinite=True, passes_nan=False)
_TEXT = _Policy("text", nan=False, infinite=True, passes_nan=False)


def contract_of(estimator: Any, features: tuple[str, ...] | None, model_name: str) -> Contract:
    """Derives the contract: `features` where given, otherwise what the estimator remembers.

    Raises:
        ContractError: the estimator does not know its columns' names, or knows others.
    """
    if _takes_text(estimator):
        return Contract((_text_feature(features, model_name),), "text")
    known = _known_names(estimator)
    names = features or known
    if names is None:
        raise ContractError(_unnamed(estimator, model_name))
    _check_names(estimator, names, known, model_name)
    layout: Layout = "frame" if known is not None and _needs_frame(estimator) else "matrix"
    policies = _policies(estimator, known or names)
    default = _UNKNOWN if layout == "frame" else _Policy("number", True, True, False)
    chosen = [policies.get(name, default) for name in names]
    return Contract(
        tuple(
            Feature(
                name,
                "number" if layout == "matrix" else policy.kind,
                policy.nan,
                policy.infinite,
            )
            for name, policy in zip(names, chosen, strict=True)
        ),
        layout,
    )


def _text_feature(features: tuple[str, ...] | None, model_name: str) -> Feature:
    if not features or len(features) != 1:
        raise ContractError(
            f"model {model_name!r} takes one column of text and does not know its name; "
            f"name it with --features COLUMN{f', got {list(features)}' if features else ''}"
        )
    return Feature(features[0], "text", nullable=False)


def _unnamed(estimator: Any, model_name: str) -> str:
    count = getattr(estimator, "n_features_in_", None)
    takes = f"{count} columns" if count is not None else "columns"
    return (
        f"model {model_name!r} was trained on a matrix without names: it takes {takes} and cannot "
        "know which. Name them in the order of training with --features a,b,c"
    )


def _check_names(
    estimator: Any, names: tuple[str, ...], known: tuple[str, ...] | None, model_name: str
) -> None:
    if known is not None and names != known:
        raise ContractError(
            f"model {model_name!r} was trained on the columns {list(known)}, but --features names "
            f"{list(names)}. Leave --features out: columns are matched by name."
        )
    count = getattr(estimator, "n_features_in_", None)
    if known is None and count is not None and count != len(names):
        raise ContractError(
            f"model {model_name!r} takes {count} columns, but --features names {len(names)}: "
            f"{list(names)}"
        )


def _known_names(estimator: Any) -> tuple[str, ...] | None:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return None
    first = _steps(estimator)[0]
    if type(first).__name__ == "ColumnTransformer":
        used = {name for name, _ in _transformer_columns(first)}
        return tuple(name for name in map(str, names) if name in used)
    return tuple(map(str, names))


def _steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline, nested ones unrolled; any other estimator is its own only step."""
    if type(estimator).__name__ != "Pipeline":
        best = getattr(estimator, "best_estimator_", None)
        return _steps(best) if best is not None else [estimator]
    steps = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    return [inner for step in steps for inner in _steps(step)]


def _takes_text(estimator: Any) -> bool:
    return hasattr(_steps(estimator)[0], "build_analyzer")


def _needs_frame(estimator: Any) -> bool:
    """Whether the columns' names or types matter to some part: then it must see a data frame."""
    parts = [estimator, *_inner_estimators(estimator)]
    return any(_is_column_aware(part) for part in parts)


def _inner_estimators(estimator: Any) -> list[Any]:
    values = estimator.get_params(deep=True).values() if hasattr(estimator, "get_params") else ()
    return [value for value in values if hasattr(value, "get_params")]


def _is_column_aware(part: Any) -> bool:
    name = type(part).__name__
    if not type(part).__module__.startswith("sklearn."):
        return True
    if name.startswith("HistGradientBoosting"):
        fitted = hasattr(part, "_predictors")
        return not fitted or getattr(part, "is_categorical_", None) is not None
    return name in {"ColumnTransformer", "FunctionTransformer", *_ENCODERS, *_IMPUTERS}


def _policies(estimator: Any, names: tuple[str, ...]) -> dict[str, _Policy]:
    """What each column may hold; a column without an entry is not restricted."""
    first, *rest = _steps(estimator)
    following = _chain(rest)
    if type(first).__name__ != "ColumnTransformer":
        return dict.fromkeys(names, _leaf(first).before(following))
    policies: dict[str, _Policy] = {}
    for name, transformer in _transformer_columns(first):
        through = transformer == "passthrough"
        policy = (following or _UNKNOWN) if through else _chain_of(transformer).before(following)
        policies[name] = policies.get(name, policy).beside(policy)
    return policies


def _chain_of(estimator: Any) -> _Policy:
    return _chain(_steps(estimator)) or _UNKNOWN


def _chain(steps: list[Any]) -> _Policy | None:
    following: _Policy | None = None
    for step in reversed(steps):
        following = _leaf(step).before(following)
    return following


def _transformer_columns(transformer: Any) -> list[tuple[str, Any]]:
    """(column name, fitted transformer) of each column that each transformer uses."""
    names = getattr(transformer, "feature_names_in_", None)
    if names is None:
        return []
    return [
        (str(names[index]), step)
        for label, step, _ in transformer.transformers_
        if not isinstance(step, str) or step != "drop"
        for index in transformer._transformer_to_input_indices[label]
    ]


def _leaf(estimator: Any) -> _Policy:
    """What one estimator takes, by scikit-learn's own tags; the unknown is not restricted."""
    name = type(estimator).__name__
    if hasattr(estimator, "build_analyzer"):
        return _TEXT
    if not type(estimator).__module__.startswith("sklearn.") or _inner_estimators(estimator):
        return _UNKNOWN
    if name in _ENCODERS or name == "FunctionTransformer":
        return _UNKNOWN
    if name.startswith("HistGradientBoosting"):
        categorical = getattr(estimator, "is_categorical_", None) is not None
        return _Policy("any" if categorical else "number", True, True, False)
    if name in _IMPUTERS:
        of_any = getattr(estimator, "strategy", "mean") in ("most_frequent", "constant")
        return _UNKNOWN if of_any else _Policy("number", True, False, False)
    takes_nan = bool(estimator.__sklearn_tags__().input_tags.allow_nan)
    return _Policy(
        "number", takes_nan, False, passes_nan=takes_nan and hasattr(estimator, "transform")
    )
