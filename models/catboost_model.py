"""Scores with CatBoost: a model that was saved as `.cbm`.

What is predicted is what CatBoost's own estimator for the model's loss predicts for the same data
frame: `CatBoostClassifier` the class by its name, `CatBoostRegressor` the value (of `Poisson` and
`Tweedie` its exponent), `CatBoostRanker` the score. The file is the same whichever estimator
saved it, so the loss decides; the bare `CatBoost` class would give `raw_score` instead.

Numbers go in as float32, which CatBoost works in, and without a copy. Categories go in by their
names: text as it is, whole numbers as they are spelled. One that the model never saw counts as
such, as for CatBoost; a missing category or text CatBoost refuses, so the row becomes a dead
letter. A missing number or an infinity is taken.

Threads share one model, one call at a time: a call uses all cores already (or `OMP_NUM_THREADS`, as
the other libraries do), so a second one beside it would only oversubscribe them. CatBoost documents
its C++ evaluation as safe to share, its Python package not.
"""

import os
import threading
from typing import Any

import numpy as np
import pyarrow as pa

from .artifact import Artifact
from .catboost_file import CatBoostFile, FeatureKind, is_catboost, read_catboost_file
from .contract import Contract, Feature, Kind
from .dictionaries import clean_dictionary, decode_dictionary
from .errors import ModelError
from .feature_names import named_features
from .features import to_matrix, to_numbers
from .library_versions import version_notes
from .model import ModelInfo
from .model_format import Description, ModelFormat, require
from .outputs import check_outputs, to_columns
from .restrict import Rule
from .trust import Trust

# Losses whose regressors give something else than the sum of the trees.
_VALUES = {
    "Poisson": "Exponent",
    "Tweedie": "Exponent",
    "RMSEWithUncertainty": "RMSEWithUncertainty",
}
_KINDS: dict[FeatureKind, Kind] = {
    "number": "number",
    "category": "category",
    "text": "text",
    "embedding": "any",
}


class CatBoostModel:
    """A CatBoost model with its contract; see the module for what it predicts.

    Args:
        model: CatBoost's own.
        pool: CatBoost's class for data.
        file: what the model's file says.
        info: what a report says of it.
        contract: its columns.
        outputs: of `CatBoostFile.outputs`, what to call.
    """

    def __init__(
        self,
        model: Any,
        pool: Any,
        file: CatBoostFile,
        info: ModelInfo,
        contract: Contract,
        outputs: tuple[str, ...],
    ):
        self.info = info
        self.contract = contract
        self.outputs = outputs
        self._model = model
        self._pool = pool
        self._kinds = file.kinds
        self._prediction_types = _prediction_types(file)
        self._labels = _labels(model)
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        artifact: Artifact,
        trust: Trust,
        outputs: tuple[str, ...],
        features: tuple[str, ...] | None,
    ) -> "CatBoostModel":
        """Loads the model in a file and derives its contract."""
        del trust  # the file holds data only
        file = read_catboost_file(artifact)
        catboost = require("catboost", "catboost", artifact)
        notes = version_notes(artifact, "CatBoost", file.version, catboost.__version__)
        info = ModelInfo.of(artifact, "catboost", notes)
        check_outputs(outputs, file.outputs, info.name, file.loss or "unknown loss")
        names = named_features(file.names, len(file.kinds), features, info.name)
        model = _open(catboost, file, artifact)
        return cls(model, catboost.Pool, file, info, _contract(names, file.kinds), outputs)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns the contract's columns of a batch into the asked outputs."""
        data = self._data([batch.column(name) for name in self.contract.names])
        with self._lock:
            results = [
                self._model.predict(
                    data,
                    prediction_type=self._prediction_types[output],
                    thread_count=_num_threads(),
                )
                for output in self.outputs
            ]
        columns: dict[str, pa.Array] = {}
        for output, result in zip(self.outputs, map(_flat, results), strict=True):
            columns |= to_columns(output, result, batch.num_rows, self._names(output, result))
        return pa.record_batch(columns)

    def _data(self, columns: list[pa.Array]) -> Any:
        """CatBoost's own table, which all outputs of a batch are predicted from."""
        if set(self._kinds) == {"number"}:
            return self._pool(to_matrix(columns, np.dtype(np.float32)))
        import pandas as pd

        kinds = zip(self._kinds, columns, strict=True)
        names = self._model.feature_names_
        series = [pd.Series(_values(kind, column), copy=False) for kind, column in kinds]
        frame = pd.concat(series, axis=1, keys=names)
        return self._pool(
            frame,
            cat_features=self._of_kind("category"),
            text_features=self._of_kind("text"),
            embedding_features=self._of_kind("embedding"),
        )

    def _of_kind(self, kind: FeatureKind) -> list[int]:
        return [index for index, each in enumerate(self._kinds) if each == kind]

    def _names(self, output: str, result: np.ndarray) -> tuple[str, ...] | None:
        """The classes, for the columns that are one for each class."""
        by_class = output in ("predict_proba", "raw_score") and result.ndim == 2
        return self._labels if by_class and result.shape[1] == len(self._labels or ()) else None


def _num_threads() -> int:
    """How many threads a call takes; -1 for one on each core, as is CatBoost's own default."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else -1


def _flat(result: Any) -> np.ndarray:
    """Of several classes CatBoost gives a column with the one class of each row."""
    result = np.asarray(result)
    return result[:, 0] if result.ndim == 2 and result.shape[1] == 1 else result


def _values(kind: FeatureKind, column: pa.Array) -> Any:
    """What a data frame has for a feature of a kind."""
    if kind == "number":
        return to_numbers(column)
    if kind == "category":
        return _categories(column)
    values = decode_dictionary(column)
    return (_text(values) if kind == "text" else values).to_numpy(zero_copy_only=False)


def _categories(column: pa.Array) -> Any:
    """A pandas Categorical: CatBoost then looks at each category once, not at each row."""
    import pandas as pd

    encoded = clean_dictionary(column)
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    # CatBoost takes the names as objects only.
    names = pd.Index(_text(encoded.dictionary).to_numpy(zero_copy_only=False), dtype=object)
    codes = encoded.indices.cast(pa.int32()).fill_null(-1).to_numpy()
    if not names.is_unique:  # Arrow lets a dictionary repeat a value, pandas does not
        places, names = names.factorize()
        codes = np.where(codes < 0, -1, places[codes])
    return pd.Categorical.from_codes(codes, names)


def _text(values: pa.Array) -> pa.Array:
    return values if pa.types.is_string(values.type) else values.cast(pa.string())


def _prediction_types(file: CatBoostFile) -> dict[str, str]:
    """What to ask CatBoost for, for each output: what the estimators of such a loss ask for."""
    value = _VALUES.get(file.loss, "RawFormulaVal")
    return {
        "predict": "Class" if file.estimator == "classifier" else value,
        "predict_proba": "Probability",
        "raw_score": "RawFormulaVal",
    }


def _labels(model: Any) -> tuple[str, ...] | None:
    classes = model.classes_
    return None if classes is None or not len(classes) else tuple(map(str, classes))


def _contract(names: tuple[str, ...], kinds: tuple[FeatureKind, ...]) -> Contract:
    features = tuple(
        Feature(name, _KINDS[kind], nullable=kind == "number")
        for name, kind in zip(names, kinds, strict=True)
    )
    return Contract(features, "matrix" if set(kinds) == {"number"} else "frame")


def _open(catboost: Any, file: CatBoostFile, artifact: Artifact) -> Any:
    # The estimators forget their loss when they load a model from memory; the base class has none.
    model = catboost.CatBoost()
    try:
        model.load_model(blob=artifact.data)
        names = model.feature_names_
    except Exception as error:  # whatever the file's content provokes
        raise ModelError(
            f"cannot load model {artifact.uri}: {type(error).__name__}: {error}. The file may be "
            f"damaged, or made by another CatBoost than the installed {catboost.__version__}."
        ) from error
    if len(names) != len(file.kinds):
        raise ModelError(
            f"cannot load model {artifact.uri}: it names {len(file.kinds)} features and has "
            f"{len(names)}; the file is damaged"
        )
    return model


def _describe(artifact: Artifact) -> Description:
    file = read_catboost_file(artifact)
    names = file.names or tuple(map(str, range(len(file.kinds))))
    notes = [f"loss {file.loss or 'unknown'}", f"{file.num_trees} trees"]
    for kind, title in (("category", "categorical"), ("text", "text"), ("embedding", "embedding")):
        of_kind = [name for name, each in zip(names, file.kinds, strict=True) if each == kind]
        if of_kind:
            notes.append(f"{title} columns: {', '.join(of_kind)}")
    return Description(
        kind=f"CatBoost {file.estimator}",
        features=file.names,
        outputs=file.outputs,
        classes=file.classes,
        made_with={"catboost": file.version} if file.version else {},
        notes=tuple(notes),
        rules={
            name: _RULES[kind]
            for name, kind in zip(file.names or (), file.kinds, strict=False)
            if kind in _RULES
        },
    )


_RULES: dict[FeatureKind, Rule] = {"number": Rule("number"), "text": Rule("text")}

FORMAT = ModelFormat(
    name="catboost",
    title="CatBoost model",
    extensions=(".cbm",),
    extra="catboost",
    recognises=is_catboost,
    load=CatBoostModel.load,
    describe=_describe,
    is_native=True,
)
