"""Scores with XGBoost: a booster, or the file that one of its scikit-learn wrappers saved.

What is predicted is what the library predicts for the same data frame:

- The file of a wrapper (`XGBClassifier.save_model`) predicts as the wrapper: classes by number,
  with the rounds up to the best one if training stopped early.
- Any other file predicts as `Booster.predict`: the value of the objective, such as the
  probability of the second class, with all rounds.

Rows go through `inplace_predict`, as in the wrappers. For a booster of plain trees it gives the
same bits as the `DMatrix` that `Booster.predict` takes (a test holds it) without building one; for
`dart` it does not, so there, and for a linear booster, it is a `DMatrix`. That refuses infinities,
which `inplace_predict` takes; so for any booster they are refused here. XGBoost works in float32,
so that is what the matrix is of.

A category is found by its name among those that the model learned, which it keeps since 3.1. A row
with one that it never saw becomes a dead letter. XGBoost says of itself that it fails then, but
3.2 does so only for what sorts behind all that it knows: anything else it silently takes for the
next in order. Names that are not ASCII it stores cut short when it is trained on a data frame: they
are not found again, which a note says. A file without categories takes their codes, as numbers.

Threads share one booster, one call at a time: a call uses all cores already (or
`OMP_NUM_THREADS`), so a second one beside it would only oversubscribe them. `inplace_predict`
itself would be safe without the lock, but for a linear booster.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .artifact import Artifact
from .booster_categories import xgboost_categories
from .category_codes import known_codes
from .contract import Category, Contract, Feature, Kind, is_text
from .errors import ModelError
from .feature_names import named_features
from .features import to_matrix
from .library_versions import version_notes
from .model import ModelInfo
from .model_format import Description, ModelFormat, require
from .outputs import check_outputs, to_columns
from .restrict import Rule
from .trust import Trust
from .xgboost_file import CATEGORICAL, XGBoostFile, is_xgboost, read_xgboost_file

_Predict = Callable[[np.ndarray], np.ndarray]
_FLOAT32 = np.dtype(np.float32)


class XGBoostModel:
    """A booster with its contract; see the module for what it predicts.

    Args:
        methods: for each output, what gives it for a matrix.
        info: what a report says of it.
        contract: its columns.
        outputs: which of the methods to call.
        categories: those of each categorical feature, by its name.
    """

    def __init__(
        self,
        methods: dict[str, _Predict],
        info: ModelInfo,
        contract: Contract,
        outputs: tuple[str, ...],
        categories: dict[str, pa.Array],
    ):
        self.info = info
        self.contract = contract
        self.outputs = outputs
        self._methods = methods
        self._categories = categories
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        artifact: Artifact,
        trust: Trust,
        outputs: tuple[str, ...],
        features: tuple[str, ...] | None,
    ) -> "XGBoostModel":
        """Loads the booster in a file and derives its contract."""
        del trust  # the file holds data only
        file = read_xgboost_file(artifact)
        xgboost = require("xgboost", "xgboost", artifact)
        notes = version_notes(artifact, "XGBoost", file.version, xgboost.__version__)
        info = ModelInfo.of(artifact, "xgboost", notes)
        check_outputs(outputs, file.outputs, info.name, file.objective)
        names = named_features(file.names, file.num_features, features, info.name)
        predictor, categories = _open(xgboost, file, artifact, names)
        info = replace(info, notes=(*info.notes, *_category_notes(categories)))
        contract = _contract(file, names, categories)
        methods = _methods(xgboost, predictor, file)
        return cls(methods, info, contract, outputs, categories)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns the contract's columns of a batch into the asked outputs."""
        matrix = to_matrix([self._column(batch, name) for name in self.contract.names], _FLOAT32)
        with self._lock:
            results = [self._methods[output](matrix) for output in self.outputs]
        columns: dict[str, pa.Array] = {}
        for output, result in zip(self.outputs, results, strict=True):
            columns |= to_columns(output, result, batch.num_rows, None)  # classes are numbers
        return pa.record_batch(columns)

    def _column(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        column = batch.column(name)
        categories = self._categories.get(name)
        if categories is None:
            return column
        return known_codes(name, column, categories)


def _open(
    xgboost: Any, file: XGBoostFile, artifact: Artifact, names: tuple[str, ...]
) -> tuple[Any, dict[str, pa.Array]]:
    """The wrapper that wrote the file, or a bare booster; and the categories that it learned."""
    wrappers = {
        "classifier": "XGBClassifier",
        "regressor": "XGBRegressor",
        "ranker": "XGBRanker",
    }
    predictor = getattr(xgboost, wrappers.get(file.wrapper or "", "Booster"))()
    try:
        predictor.load_model(bytearray(artifact.data))
        booster = predictor if file.wrapper is None else predictor.get_booster()
        return predictor, {} if file.is_linear else xgboost_categories(booster, names)
    except Exception as error:  # whatever the file's content provokes
        raise ModelError(
            f"cannot load model {artifact.uri}: {type(error).__name__}: {_first_line(error)}. The "
            "file may be damaged, or made by another XGBoost than the installed "
            f"{xgboost.__version__}."
        ) from error


def _first_line(error: Exception) -> str:
    """XGBoost's messages go on with a stack trace of its machine code."""
    return next(iter(str(error).strip().splitlines()), "")


def _category_notes(categories: dict[str, pa.Array]) -> tuple[str, ...]:
    texts = {name: values for name, values in categories.items() if is_text(values.type)}
    cut = [name for name, values in texts.items() if not pc.all(pc.string_is_ascii(values)).as_py()]
    if not cut:
        return ()
    return (
        f"XGBoost may have cut categories of {', '.join(cut)} short that are not ASCII: a row with "
        "one of these becomes a dead letter",
    )


def _contract(
    file: XGBoostFile, names: tuple[str, ...], categories: dict[str, pa.Array]
) -> Contract:
    """A `DMatrix` refuses infinities, a wrapper's `inplace_predict` takes them."""
    infinite = file.wrapper is not None and not file.is_linear

    def feature(name: str) -> Feature:
        known = categories.get(name)
        kind: Kind = "text" if known is not None and is_text(known.type) else "number"
        example = None if known is None else _example(known)
        return Feature(name, kind, infinite=infinite or kind == "text", example=example)

    return Contract(tuple(map(feature, names)), "frame" if categories else "matrix")


def _example(categories: pa.Array) -> Category | None:
    """One of the categories; of text one that is whole."""
    if is_text(categories.type):
        categories = categories.filter(pc.string_is_ascii(categories))
    return categories[0].as_py() if len(categories) else None


def _methods(xgboost: Any, predictor: Any, file: XGBoostFile) -> dict[str, _Predict]:
    if file.wrapper is not None:
        return _wrapper_methods(predictor, file)
    predict = _predict_in_place if file.booster == "gbtree" else _predict_from_dmatrix

    def value(matrix: np.ndarray) -> np.ndarray:
        return predict(xgboost, predictor, matrix, margin=False)

    def raw_score(matrix: np.ndarray) -> np.ndarray:
        return predict(xgboost, predictor, matrix, margin=True)

    def probability(matrix: np.ndarray) -> np.ndarray:
        result = value(matrix)
        return result if result.ndim == 2 else np.vstack((1.0 - result, result)).transpose()

    return {"predict": value, "predict_proba": probability, "raw_score": raw_score}


def _wrapper_methods(wrapper: Any, file: XGBoostFile) -> dict[str, _Predict]:
    # The columns were matched by name already, and a matrix has no names to compare.
    checks = {"validate_features": not file.is_linear}

    def predict(matrix: np.ndarray) -> np.ndarray:
        return wrapper.predict(matrix, **checks)

    def raw_score(matrix: np.ndarray) -> np.ndarray:
        return wrapper.predict(matrix, output_margin=True, **checks)

    def probability(matrix: np.ndarray) -> np.ndarray:
        return wrapper.predict_proba(matrix, **checks)

    return {"predict": predict, "predict_proba": probability, "raw_score": raw_score}


def _predict_in_place(
    xgboost: Any, booster: Any, matrix: np.ndarray, *, margin: bool
) -> np.ndarray:
    del xgboost
    if not _is_finite(matrix):
        raise ValueError("the input holds a value beyond the range of float32, as XGBoost has it")
    return booster.inplace_predict(matrix, predict_type="margin" if margin else "value")


def _predict_from_dmatrix(
    xgboost: Any, booster: Any, matrix: np.ndarray, *, margin: bool
) -> np.ndarray:
    data = xgboost.DMatrix(matrix)
    return booster.predict(data, output_margin=margin, validate_features=False)


def _is_finite(matrix: np.ndarray) -> bool:
    """Whether it holds no infinity; NaN it may hold. A `DMatrix` is refused for the same."""
    largest = np.fmax.reduce(np.abs(matrix), axis=None, initial=0)
    return bool(largest < np.inf)


def _describe(artifact: Artifact) -> Description:
    file = read_xgboost_file(artifact)
    wrote = f", written by the scikit-learn {file.wrapper}" if file.wrapper else ""
    categorical = [
        name
        for name, type_ in zip(file.names or (), file.types, strict=False)
        if type_ == CATEGORICAL
    ]
    notes = [f"objective {file.objective}", f"{file.num_trees} trees"]
    if categorical:
        notes.append(f"categorical columns: {', '.join(categorical)}")
    return Description(
        kind=f"{file.booster} booster{wrote}",
        features=file.names,
        outputs=file.outputs,
        classes=file.classes,
        made_with={"xgboost": file.version},
        notes=tuple(notes),
        rules={name: Rule("number") for name in file.names or () if name not in categorical},
    )


FORMAT = ModelFormat(
    name="xgboost",
    title="XGBoost model",
    extensions=(".ubj", ".json"),
    extra="xgboost",
    recognises=is_xgboost,
    load=XGBoostModel.load,
    describe=_describe,
    is_native=True,
)
