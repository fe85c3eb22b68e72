"""What a scikit-learn estimator is made of: steps, inner estimators, columns it remembers."""

from typing import Any

SELECTORS = ("SelectorMixin",)
ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
IMPUTERS = ("SimpleImputer", "KNNImputer", "IterativeImputer")


def is_a(estimator: Any, *names: str) -> bool:
    """Whether the estimator's class is, or extends, one of scikit-learn's classes of these names.

    By name, because importing the classes would import most of scikit-learn.
    """
    return any(
        cls.__name__ in names and cls.__module__.startswith("sklearn.")
        for cls in type(estimator).__mro__
    )


def is_sklearns_own(estimator: Any) -> bool:
    """Whether scikit-learn wrote the class itself: only then do we know how it behaves."""
    return type(estimator).__module__.startswith("sklearn.")


def steps_of(estimator: Any) -> list[Any]:
    """The steps of a pipeline, nested ones and searches unrolled; else the estimator alone.

    A pipeline of nothing but `passthrough` is its own only step.
    """
    best = getattr(estimator, "best_estimator_", None)
    if best is not None:
        return steps_of(best)
    if not is_a(estimator, "Pipeline"):
        return [estimator]
    steps = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    return [inner for step in steps for inner in steps_of(step)] or [estimator]


def inner_estimators(estimator: Any) -> list[Any]:
    """The estimators among an estimator's parameters, at any depth."""
    values = estimator.get_params(deep=True).values() if hasattr(estimator, "get_params") else ()
    return [value for value in values if is_estimator(value)]


def is_estimator(value: Any) -> bool:
    """Whether a value is an estimator and not a class of estimators."""
    return hasattr(value, "get_params") and not isinstance(value, type)


def takes_text(estimator: Any) -> bool:
    """Whether the estimator takes one array of strings: its first parts are text vectorisers."""
    first = steps_of(estimator)[0]
    if hasattr(first, "build_analyzer"):
        return True
    if is_a(first, "ColumnTransformer"):
        return False
    if is_a(first, "FeatureUnion"):
        parts = [part for _, part in first.transformer_list if is_estimator(part)]
        return bool(parts) and all(map(takes_text, parts))
    return any(map(takes_text, _direct_parts(first)))


def _direct_parts(estimator: Any) -> list[Any]:
    """The estimators that a meta-estimator hands its input to, as far as its parameters tell."""
    if not hasattr(estimator, "get_params") or is_a(estimator, "Pipeline"):
        return []
    parameters = estimator.get_params(deep=False)
    named = [pair[1] for pair in parameters.get("estimators") or [] if isinstance(pair, tuple)]
    return [part for part in [*named, parameters.get("estimator")] if is_estimator(part)]


def trained_names(estimator: Any) -> tuple[str, ...] | None:
    """All columns that the estimator was trained on, in order; None if it knows no names."""
    names = _attribute(estimator, "feature_names_in_")
    if names is None:
        names = _catboost_names(estimator)
        unnamed = names is None or list(names) == [str(index) for index in range(len(names))]
        return None if unnamed else tuple(names or ())
    return tuple(map(str, names))


def num_features(estimator: Any) -> int | None:
    """How many columns the estimator was trained on, if it remembers."""
    names = _catboost_names(estimator)
    return _attribute(estimator, "n_features_in_") if names is None else len(names)


def _catboost_names(estimator: Any) -> list[str] | None:
    """CatBoost's names of its columns, which are numbers if it was trained on a matrix.

    It has an attribute of its own for them, and its `n_features_in_` is 0 after unpickling.
    """
    first = steps_of(estimator)[0]
    return first.feature_names_ if type(first).__module__.startswith("catboost.") else None


def _attribute(estimator: Any, name: str) -> Any:
    """What the estimator or, behind a leading `passthrough`, its first step remembers."""
    own = getattr(estimator, name, None)
    return own if own is not None else getattr(steps_of(estimator)[0], name, None)


def column_transformer(estimator: Any) -> Any | None:
    """The column transformer that the input goes to first, if it goes to one."""
    first = steps_of(estimator)[0]
    return first if is_a(first, "ColumnTransformer") and hasattr(first, "transformers_") else None


def transformer_columns(transformer: Any) -> list[tuple[int, Any]]:
    """(index of a column, fitted transformer) for each column that a transformer uses."""
    return [(index, step) for indices, step in transformer_inputs(transformer) for index in indices]


def transformer_inputs(transformer: Any) -> list[tuple[list[int], Any]]:
    """(indices of its columns, fitted transformer) for each one that uses any."""
    return [
        (list(transformer._transformer_to_input_indices[label]), step)
        for label, step, _ in transformer.transformers_
        if not isinstance(step, str) or step != "drop"
    ]
