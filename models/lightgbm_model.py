"""Scores with LightGBM: a booster that was saved as text.

What is predicted is what `Booster.predict` predicts for the same data frame. A text file does not
say whether `LGBMClassifier` wrote it, so `predict` is the booster's: the probability of the second
class where there are two, a column for each class where there are more. `predict_proba` is the
classifier's, with the classes by number: LightGBM keeps no names of them.

The matrix has the type that LightGBM gives a frame: float32 if all columns fit in there, else
float64. A missing value and an infinity are taken, as LightGBM takes them. A category is found by
its name among those of the frame that the model was trained on; one that is not there counts as a
missing value, as it does for LightGBM.

Threads share one booster, one call at a time. LightGBM writes into the booster when it predicts
(https://github.com/lightgbm-org/LightGBM/issues/6142), and one call uses all cores already, or
`OMP_NUM_THREADS`: a second one beside it would only oversubscribe them.
"""

import re
import threading
from typing import Any

import numpy as np
import pyarrow as pa

from .artifact import Artifact
from .category_codes import category_codes
from .contract import Contract, Feature, is_text
from .errors import ModelError, ModelOutputError
from .feature_names import named_features
from .features import to_matrix
from .lightgbm_file import LightGBMFile, is_lightgbm, read_lightgbm_file
from .model import ModelInfo
from .model_format import Description, ModelFormat, require
from .outputs import check_outputs, to_columns
from .restrict import Rule
from .trust import Trust

_NEWEST_FORMAT = 4  # that LightGBM 4 reads; it has been the same since 4.0


class LightGBMModel:
    """A booster with its contract; see the module for what it predicts.

    Args:
        booster: LightGBM's own.
        info: what a report says of it.
        contract: its columns.
        outputs: of `LightGBMFile.outputs`, what to call.
        categories: those of each categorical feature, by its name; without names if the file does
            not tell which features these are.
    """

    def __init__(
        self,
        booster: Any,
        info: ModelInfo,
        contract: Contract,
        outputs: tuple[str, ...],
        categories: "_Categories",
    ):
        self.info = info
        self.contract = contract
        self.outputs = outputs
        self._booster = booster
        self._categories = categories
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        artifact: Artifact,
        trust: Trust,
        outputs: tuple[str, ...],
        features: tuple[str, ...] | None,
    ) -> "LightGBMModel":
        """Loads the booster in a file and derives its contract."""
        del trust  # the file holds data only
        file = read_lightgbm_file(artifact)
        lightgbm = require("lightgbm", "lightgbm", artifact)
        info = ModelInfo.of(artifact, "lightgbm", _notes(artifact, file, lightgbm.__version__))
        check_outputs(outputs, file.outputs, info.name, file.objective or "own objective")
        names = named_features(file.names, file.num_features, _as_saved(features, file), info.name)
        names = features or names
        booster = _open(lightgbm, file, artifact)
        categories = _Categories.of(file, names)
        return cls(booster, info, _contract(names, categories), outputs, categories)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns the contract's columns of a batch into the asked outputs."""
        columns = [batch.column(name) for name in self.contract.names]
        coded = self._categories.encode(self.contract.names, columns)
        matrix = to_matrix(coded)
        matrix = matrix.astype(np.result_type(matrix.dtype, np.float32), copy=False)
        with self._lock:
            results = [self._predict(output, matrix) for output in self.outputs]
        named: dict[str, pa.Array] = {}
        for output, result in zip(self.outputs, results, strict=True):
            named |= to_columns(output, result, batch.num_rows, None)  # classes are numbers
        return pa.record_batch(named)

    def _predict(self, output: str, matrix: np.ndarray) -> np.ndarray:
        result = self._booster.predict(matrix, raw_score=output == "raw_score")
        if output == "predict_proba" and result.ndim == 1:
            return np.vstack((1.0 - result, result)).transpose()
        return result


class _Categories:
    """The categories of a model's features, and which of the features have them.

    Args:
        by_name: the categories of each feature that has some.
        unplaced: categories in the order of the features that have them, if the file does not
            tell which these are: then they are the columns that are no numbers, in order.
    """

    def __init__(self, by_name: dict[str, pa.Array], unplaced: tuple[pa.Array, ...]):
        self.by_name = by_name
        self.unplaced = unplaced

    @classmethod
    def of(cls, file: LightGBMFile, names: tuple[str, ...]) -> "_Categories":
        """The categories in a file."""
        by_name = file.categories_of(names)
        return cls(by_name, () if by_name else file.categories)

    def encode(self, names: tuple[str, ...], columns: list[pa.Array]) -> list[pa.Array]:
        """Replaces categories by their codes."""
        by_name = self._place(names, columns) if self.unplaced else self.by_name
        return [
            category_codes(column, by_name[name])[0] if name in by_name else column
            for name, column in zip(names, columns, strict=True)
        ]

    def _place(self, names: tuple[str, ...], columns: list[pa.Array]) -> dict[str, pa.Array]:
        pairs = zip(names, columns, strict=True)
        found = [name for name, column in pairs if _is_category(column.type)]
        if len(found) != len(self.unplaced):
            raise ModelOutputError(
                f"the model was trained on {len(self.unplaced)} columns of categories and does not "
                f"tell which; the input has {len(found)} columns of text or dictionary type: "
                f"{found}. Give just those columns as text."
            )
        return dict(zip(found, self.unplaced, strict=True))


def _is_category(type_: pa.DataType) -> bool:
    return pa.types.is_dictionary(type_) or is_text(type_)


def _contract(names: tuple[str, ...], categories: _Categories) -> Contract:
    def feature(name: str) -> Feature:
        if categories.unplaced:
            return Feature(name, "any")
        values = categories.by_name.get(name)
        return Feature(name, "text" if values is not None and is_text(values.type) else "number")

    has_categories = bool(categories.by_name or categories.unplaced)
    return Contract(tuple(map(feature, names)), "frame" if has_categories else "matrix")


def _as_saved(features: tuple[str, ...] | None, file: LightGBMFile) -> tuple[str, ...] | None:
    """The names that a person gave, as LightGBM writes them: with underscores for blanks."""
    if features is None or file.names is None:
        return features
    return tuple(re.sub(r"\s", "_", name) for name in features)


def _notes(artifact: Artifact, file: LightGBMFile, installed: str) -> tuple[str, ...]:
    """What to say of the format's version.

    Raises:
        ModelError: it is newer than what LightGBM reads.
    """
    made = re.fullmatch(r"v(\d+)", file.version)
    if made is None or int(made[1]) > _NEWEST_FORMAT:
        raise ModelError(
            f"model {artifact.uri} is in version {file.version!r} of LightGBM's format; the "
            f"installed LightGBM {installed} reads versions up to v{_NEWEST_FORMAT}. Install the "
            "LightGBM that it was trained with."
        )
    if int(made[1]) == _NEWEST_FORMAT:
        return ()
    return (
        f"made by a LightGBM before {_NEWEST_FORMAT}.0, run by {installed}: predictions may differ",
    )


def _open(lightgbm: Any, file: LightGBMFile, artifact: Artifact) -> Any:
    try:
        booster = lightgbm.Booster(model_str=file.text)
    except Exception as error:  # whatever the file's content provokes
        raise ModelError(
            f"cannot load model {artifact.uri}: {type(error).__name__}: {error}. The file may be "
            f"damaged, or made by another LightGBM than the installed {lightgbm.__version__}."
        ) from error
    if booster.num_feature() != file.num_features:
        raise ModelError(
            f"cannot load model {artifact.uri}: it names {file.num_features} features and has "
            f"{booster.num_feature()}; the file is damaged"
        )
    return booster


def _describe(artifact: Artifact) -> Description:
    file = read_lightgbm_file(artifact)
    notes = [f"objective {file.objective or 'of its own'}", f"{file.num_trees} trees"]
    if file.categories:
        notes.append(f"{len(file.categories)} columns of categories")
    return Description(
        kind="LightGBM booster",
        features=file.names,
        outputs=file.outputs,
        classes=file.classes,
        made_with={"lightgbm": f"format {file.version}"},
        notes=tuple(notes),
        rules=_rules(file),
    )


def _rules(file: LightGBMFile) -> dict[str, Rule]:
    """A number in each column but those of categories, where the file tells which these are."""
    names = file.names or ()
    rules = dict.fromkeys(names, Rule("number"))
    rules |= {names[number]: Rule() for number in file.categorical if number < len(names)}
    if len(file.categories) == len(file.categorical):
        for number, held in zip(file.categorical, file.categories, strict=True):
            values = tuple(value for value in held.to_pylist() if value is not None)
            rules[names[number]] = Rule(categories=values or None)
    return rules if len(file.categories) <= len(file.categorical) else {}


FORMAT = ModelFormat(
    name="lightgbm",
    title="LightGBM model",
    extensions=(".txt",),
    extra="lightgbm",
    recognises=is_lightgbm,
    load=LightGBMModel.load,
    describe=_describe,
    is_native=True,
)
