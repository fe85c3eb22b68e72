"""What an XGBoost model file says of itself, read without XGBoost."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .artifact import Artifact
from .errors import ModelError
from .tree_shape import check_children, check_features
from .ubjson import parse_ubjson

_STARTS_JSON = re.compile(rb'\s*\{\s*"(learner|version)"\s*:')
_STARTS_UBJSON = re.compile(rb"\{(i|U|I\0|l\0\0\0|L\0\0\0\0\0\0\0)\x07(learner|version)[{\[]")
_LEAF = -1  # in place of a child
CATEGORICAL = "c"  # among the types of features
PROBABILITIES = ("binary:logistic", "multi:softprob")  # objectives whose predictions are these


def is_xgboost(artifact: Artifact) -> bool:
    """Whether a file starts as XGBoost's JSON or UBJSON does."""
    starts = _STARTS_UBJSON if artifact.data.startswith(b"{") else _STARTS_JSON
    return bool(_STARTS_JSON.match(artifact.data) or starts.match(artifact.data))


@dataclass(frozen=True)
class XGBoostFile:
    """What stands in the file.

    Attributes:
        wrapper: `classifier`, `regressor` or `ranker` if a scikit-learn wrapper wrote it.
        booster: `gbtree`, `dart` or `gblinear`.
        objective: such as `binary:logistic`.
        names: of the features, in the model's order; None if it was trained without.
        types: of the features, such as `float`, `int`, `c`; empty if it does not know them.
        num_features: how many there are.
        num_classes: of the objective; 0 for one that has no classes, 2 if it is binary.
        num_trees: of all rounds and classes together; 0 for a linear booster.
        version: of the XGBoost that wrote it.
    """

    wrapper: str | None
    booster: str
    objective: str
    names: tuple[str, ...] | None
    types: tuple[str, ...]
    num_features: int
    num_classes: int
    num_trees: int
    version: str

    @property
    def is_linear(self) -> bool:
        """Whether it is no trees but a linear booster."""
        return self.booster == "gblinear"

    @property
    def outputs(self) -> tuple[str, ...]:
        """What may be asked of it, of `scoreline.models.outputs.OUTPUTS`."""
        has_probabilities = self.wrapper == "classifier" and self.objective != "binary:logitraw"
        if has_probabilities or self.objective in PROBABILITIES:
            return ("predict", "predict_proba", "raw_score")
        return ("predict", "raw_score")

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes by number: XGBoost keeps no names of them."""
        if "predict_proba" not in self.outputs:
            return None
        return tuple(str(number) for number in range(self.num_classes))


def read_xgboost_file(artifact: Artifact) -> XGBoostFile:
    """Reads what stands in a file, whoever made it.

    Raises:
        ModelError: the file is damaged or cut short.
    """
    try:
        return _read(_document(artifact.data))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ModelError(
            f"cannot read model {artifact.uri}: {type(error).__name__}: {error}. It starts as an "
            "XGBoost model does, but the file is damaged or cut short."
        ) from error


def _document(data: bytes) -> Any:
    return json.loads(data) if _STARTS_JSON.match(data) else parse_ubjson(data)


def _read(document: Any) -> XGBoostFile:
    learner = document["learner"]
    objective = str(learner["objective"]["name"])
    sizes = learner["learner_model_param"]
    names = tuple(map(str, learner.get("feature_names", ())))
    booster = learner["gradient_booster"]
    num_features = int(sizes["num_feature"])
    if names and len(names) != num_features:
        raise ValueError(f"{len(names)} names of {num_features} features")
    trees = booster.get("gbtree", booster).get("model", {}).get("trees", ())
    for tree in trees:
        _check_tree(tree, num_features)
    return XGBoostFile(
        wrapper=_wrapper(learner.get("attributes", {})),
        booster=str(booster["name"]),
        objective=objective,
        names=names or None,
        types=tuple(map(str, learner.get("feature_types", ()))),
        num_features=num_features,
        num_classes=_num_classes(objective, int(sizes["num_class"])),
        num_trees=len(trees),
        version=".".join(str(int(number)) for number in document["version"]),
    )


def _wrapper(attributes: Mapping[str, str]) -> str | None:
    written = attributes.get("scikit_learn")
    if written is None:
        return None
    kind = json.loads(written).get("_estimator_type")
    return kind if kind in ("classifier", "regressor", "ranker") else None


def _num_classes(objective: str, written: int) -> int:
    if objective.startswith("binary:"):
        return 2
    return written


def _check_tree(tree: Mapping[str, Any], num_features: int) -> None:
    left, right, features = (
        np.asarray(tree[key], np.int64)
        for key in ("left_children", "right_children", "split_indices")
    )
    if not len(left) == len(right) == len(features) == int(tree["tree_param"]["num_nodes"]):
        raise ValueError("the parts of a tree are of different length")
    if not np.array_equal(left == _LEAF, right == _LEAF):
        raise ValueError("a node of a tree has one child only")
    splits = left != _LEAF
    check_children(np.concatenate([left[splits], right[splits]]), len(left))
    check_features(features[splits], num_features)
