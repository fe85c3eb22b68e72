"""What a CatBoost model file says of itself, read without CatBoost."""

import json
import re
import struct
from dataclasses import dataclass
from typing import Any, Literal

from .artifact import Artifact
from .catboost_trees import check_trees
from .errors import ModelError
from .flatbuffer import Table

_MAGIC = b"CBM1"
_HEAD = 8  # bytes of the magic and of the length of the document behind it

# The numbers of fields in CatBoost's schema (catboost/libs/model/flatbuffers/*.fbs).
_CORE_TREES, _CORE_INFO = 1, 2
_TREE_SIZES = 2
_FEATURES: dict["FeatureKind", int] = {"category": 4, "number": 5, "text": 12, "embedding": 18}
_FLAT_INDEX = 1  # of a feature that is no number
_NUMBER_FLAT_INDEX = 2
_NAME = 2
_NUMBER_NAME = 4
_KEY, _VALUE = 0, 1

FeatureKind = Literal["number", "category", "text", "embedding"]
# Losses of classifiers; the others are of regressors, or of rankers.
_CLASSIFIER_LOSSES = (
    "Logloss",
    "CrossEntropy",
    "MultiClass",
    "MultiClassOneVsAll",
    "MultiLogloss",
    "MultiCrossEntropy",
)
_RANKER_LOSSES = (
    "LambdaMart",
    "PairLogit",
    "PairLogitPairwise",
    "QueryCrossEntropy",
    "QueryRMSE",
    "QuerySoftMax",
    "StochasticFilter",
    "StochasticRank",
    "YetiRank",
    "YetiRankPairwise",
)
Estimator = Literal["classifier", "ranker", "regressor"]


def is_catboost(artifact: Artifact) -> bool:
    """Whether a file starts as CatBoost's binary format does."""
    return artifact.data.startswith(_MAGIC)


@dataclass(frozen=True)
class CatBoostFile:
    """What stands in the file.

    Attributes:
        loss: what it was trained for, such as `Logloss`.
        names: of the features, in the model's order; None if it was trained without.
        kinds: of the features.
        classes: the names of a classifier's classes; None if there are none.
        num_trees: how many there are.
        version: of the CatBoost that wrote it, if it says so.
    """

    loss: str
    names: tuple[str, ...] | None
    kinds: tuple[FeatureKind, ...]
    classes: tuple[str, ...] | None
    num_trees: int
    version: str | None

    @property
    def estimator(self) -> Estimator:
        """Which of CatBoost's estimators predicts with such a loss."""
        if self.loss in _CLASSIFIER_LOSSES:
            return "classifier"
        return "ranker" if self.loss in _RANKER_LOSSES else "regressor"

    @property
    def outputs(self) -> tuple[str, ...]:
        """What may be asked of it, of `scoreline.models.outputs.OUTPUTS`."""
        if self.estimator == "classifier":
            return ("predict", "predict_proba", "raw_score")
        return ("predict", "raw_score")


def read_catboost_file(artifact: Artifact) -> CatBoostFile:
    """Reads what stands in a file, whoever made it.

    Raises:
        ModelError: the file is damaged or cut short.
    """
    try:
        return _read(_core(artifact.data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"cannot read model {artifact.uri}: {type(error).__name__}: {error}. It starts as a "
            "CatBoost model does, but the file is damaged or cut short."
        ) from error


def _core(data: bytes) -> Table:
    if len(data) < _HEAD:
        raise ValueError(f"it ends after {len(data)} bytes")
    (length,) = struct.unpack_from("<I", data, len(_MAGIC))
    core = data[_HEAD : _HEAD + length]
    if len(core) != length:
        raise ValueError(f"{length} bytes are announced, {len(core)} are there")
    return Table.root(core)


def _read(core: Table) -> CatBoostFile:
    trees = core.table(_CORE_TREES)
    if trees is None:
        raise ValueError("it holds no trees")
    check_trees(trees)
    info = {pair.text(_KEY): pair.text(_VALUE) or "" for pair in core.tables(_CORE_INFO)}
    features = _features(trees)
    names = tuple(name for name, _ in features)
    unnamed = tuple(str(index) for index in range(len(features)))
    return CatBoostFile(
        loss=_loss(json.loads(info.get("params") or "{}")),
        names=None if names == unnamed else names,
        kinds=tuple(kind for _, kind in features),
        classes=_classes(json.loads(info.get("class_params") or "{}")),
        num_trees=trees.length(_TREE_SIZES),
        version=_version(info.get("catboost_version_info", "")),
    )


def _features(trees: Table) -> list[tuple[str, FeatureKind]]:
    """Name and kind of each feature in the model's order; one that it dropped is a number."""
    found: dict[int, tuple[str, FeatureKind]] = {}
    for kind, field in _FEATURES.items():
        is_number = kind == "number"
        for feature in trees.tables(field):
            index = feature.integer(_NUMBER_FLAT_INDEX if is_number else _FLAT_INDEX, -1)
            name = feature.text(_NUMBER_NAME if is_number else _NAME)
            found[index] = (name or str(index), kind)
    if not found or min(found) < 0 or max(found) > len(trees.data):
        raise ValueError("its features are not numbered from 0")
    return [found.get(index, (str(index), "number")) for index in range(max(found) + 1)]


def _loss(params: Any) -> str:
    return str(params.get("loss_function", {}).get("type", ""))


def _classes(params: Any) -> tuple[str, ...] | None:
    labels = params.get("class_names") or params.get("class_to_label")
    return tuple(map(str, labels)) if labels else None


def _version(text: str) -> str | None:
    found = re.search(r"tags/v(\d+(?:\.\d+)+)", text)
    return found[1] if found else None
