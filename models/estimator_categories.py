"""Whether the categories that a scikit-learn encoder learned are text or numbers.

An encoder compares values as they are: the number 1 is not the category "1". Told to ignore what it
does not know, it takes a column of the wrong type without a word, and every row is wrong.
"""

from typing import Any

import numpy as np

from .contract import Known
from .estimator_parts import (
    ENCODERS,
    column_transformer,
    is_a,
    is_estimator,
    is_sklearns_own,
    steps_of,
    transformer_inputs,
)


def known_values(estimator: Any, names: tuple[str, ...]) -> dict[str, Known]:
    """What the categories of each encoded column are, by its name; the others have no entry.

    Args:
        estimator: fitted.
        names: of all columns that it was trained on, in order.
    """
    transformer = column_transformer(estimator)
    if transformer is None:
        # Gradient boosting encodes its categories with one of its own.
        transformer = getattr(steps_of(estimator)[0], "_preprocessor", None)
    if not is_a(transformer, "ColumnTransformer"):
        parts = [(list(range(len(names))), estimator)]
    else:
        parts = transformer_inputs(transformer)
    found: dict[str, set[Known | None]] = {}
    for indices, part in parts:
        kinds = _kinds(steps_of(part), len(indices)) if is_estimator(part) else []
        for index, kind in zip(indices, kinds, strict=False):  # none if it does not encode
            found.setdefault(names[index], set()).add(kind)
    sure = {name: kinds.pop() for name, kinds in found.items() if len(kinds) == 1}
    return {name: kind for name, kind in sure.items() if kind is not None}


def _kinds(steps: list[Any], num_columns: int) -> list[Known | None]:
    """The kind of each column, if the columns come to an encoder as they are, or filled in."""
    for step in steps:
        if not is_sklearns_own(step):
            return []
        if is_a(step, *ENCODERS):
            categories = getattr(step, "categories_", ())
            return list(map(_kind, categories)) if len(categories) == num_columns else []
        if not is_a(step, "SimpleImputer") or step.add_indicator:  # a column more
            return []
    return []


def _kind(categories: Any) -> Known | None:
    """What all categories are, but for a missing value, which may be one."""
    values = np.asarray(categories)
    if values.dtype.kind in "biuf":
        return "number" if values.size else None
    present = [value for value in values.tolist() if not _is_missing(value)]
    if present and all(isinstance(value, str) for value in present):
        return "text"
    are_numbers = present and all(isinstance(value, int | float) for value in present)
    return "number" if are_numbers else None


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
