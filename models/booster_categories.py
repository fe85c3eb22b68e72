"""The categories that a booster's scikit-learn wrapper learned from a pandas frame.

The wrapper takes such a column back as a pandas category only. Text files and messages have none,
so what comes as plain values is made one here, of the categories of the training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from .category_codes import category_codes, known_codes
from .contract import Known, is_text
from .estimator_parts import steps_of
from .lightgbm_file import read_lightgbm_text
from .xgboost_file import CATEGORICAL


@dataclass(frozen=True)
class LearnedCategories:
    """What a model learned of its columns of categories.

    Attributes:
        by_name: the categories of each such column; of no other.
        refuses_unknown: whether another category is an error: XGBoost itself would take it for one
            that it knows, without a word. Else it is a missing value, as LightGBM has it.
    """

    by_name: Mapping[str, pa.Array] = field(default_factory=dict)
    refuses_unknown: bool = False

    def known(self) -> dict[str, Known]:
        """Whether the categories of a column are text or numbers."""
        return {
            name: "text" if is_text(values.type) else "number"
            for name, values in self.by_name.items()
        }

    def examples(self) -> dict[str, Any]:
        """One category of each column."""
        return {name: values[0].as_py() for name, values in self.by_name.items() if len(values)}

    def encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns plain columns of categories into dictionary columns; those that are one stay so.

        Raises:
            ValueError: the model never saw a category, and refuses it.

        >>> learned = LearnedCategories({"plan": pa.array(["basic", "gold"])})
        >>> learned.encode(pa.record_batch({"plan": ["gold", "?"]})).column("plan").to_pylist()
        ['gold', None]
        """
        for name, values in self.by_name.items():
            column = batch.column(name)
            if not pa.types.is_dictionary(column.type):
                index = batch.schema.get_field_index(name)
                batch = batch.set_column(index, name, self._encode(name, column, values))
        return batch

    def _encode(self, name: str, column: pa.Array, values: pa.Array) -> pa.Array:
        if self.refuses_unknown:
            codes = known_codes(name, column, values)
        else:
            codes, _ = category_codes(column, values)
        return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), values)


def learned_categories(estimator: Any, names: tuple[str, ...]) -> LearnedCategories:
    """What a wrapper of LightGBM or XGBoost learned; nothing of any other estimator.

    CatBoost takes plain values. LightGBM does not always tell which columns its categories are of
    (see `lightgbm_model`): then it is nothing, too.

    Args:
        estimator: fitted.
        names: of all columns that it was trained on, in order.
    """
    if len(steps_of(estimator)) == 1:
        bases = {f"{cls.__module__}.{cls.__name__}" for cls in type(estimator).__mro__}
        if "lightgbm.sklearn.LGBMModel" in bases:
            return LearnedCategories(_of_lightgbm(estimator.booster_, names))
        if "xgboost.sklearn.XGBModel" in bases:
            found = _of_xgboost(estimator.get_booster(), names)
            return LearnedCategories(found, refuses_unknown=True)
    return LearnedCategories()


def _of_lightgbm(booster: Any, names: tuple[str, ...]) -> dict[str, pa.Array]:
    if not booster.pandas_categorical:
        return {}
    return read_lightgbm_text(booster.model_to_string(num_iteration=1)).categories_of(names)


def _of_xgboost(booster: Any, names: tuple[str, ...]) -> dict[str, pa.Array]:
    has_some = CATEGORICAL in (booster.feature_types or ())
    return xgboost_categories(booster, names) if has_some else {}


def xgboost_categories(booster: Any, names: tuple[str, ...]) -> dict[str, pa.Array]:
    """The categories that the model learned, for each feature that has some."""
    learned = booster.get_categories(export_to_arrow=True)
    if learned.empty():
        return {}
    pairs = zip(names, learned.to_arrow(), strict=True)
    return {name: values for name, (_, values) in pairs if values is not None}
