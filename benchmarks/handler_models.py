"""Turns a name into a saved model, the rows for it, and the two ways to predict them.

::

    python benchmarks/handler_models.py xgboost    # trains and saves one; the benchmark does that
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from inputs import WORK

from scoreline.models import Trust
from scoreline.models.artifact import Artifact
from scoreline.models.model import Model
from scoreline.models.registry import format_of

ROWS = 65_536
_TRAIN_ROWS = 20_000
_ROUNDS = 100
_COLUMNS = tuple(f"x{number}" for number in range(20))
_PLANS = np.array(["basic", "gold", "silver", "none"], object)
_WORDS = np.array(
    ["good", "bad", "very", "not", "at", "all", "service", "price", "fast", "slow"], object
)
_FOLDER = WORK / "handlers-1"  # count up when something else is trained under the same names
_TRAIN_SECS = 600


@dataclass(frozen=True)
class Pair:
    """Two ways to predict a table: `ours` by our model, `own` as a person would write it."""

    table: pa.Table
    model: Model
    library: Any
    own_predict: Callable[[Any, pd.DataFrame], Any]

    def ours(self) -> np.ndarray:
        """What a worker calls, on the table's one batch."""
        (batch,) = self.table.to_batches()
        scored = self.model.score(batch)
        return np.stack([column.to_numpy(zero_copy_only=False) for column in scored.columns])

    def own(self) -> np.ndarray:
        """The library's own predict on the table."""
        return np.asarray(self.own_predict(self.library, self.table.to_pandas()))

    def check(self) -> None:
        """Raises RuntimeError unless both say the same."""
        ours, own = self.ours(), self.own()
        if ours.reshape(own.T.shape).tolist() != own.T.tolist():
            raise RuntimeError("our predictions are not the library's own")


def numbers(rows: int, seed: int) -> pa.Table:
    """20 columns of float32."""
    values = np.random.default_rng(seed).normal(size=(len(_COLUMNS), rows)).astype(np.float32)
    return pa.table(dict(zip(_COLUMNS, values, strict=True)))


def mixed(rows: int, seed: int) -> pa.Table:
    """The same with two dictionary columns of words in place of the last two."""
    random = np.random.default_rng(seed + 1)
    table = numbers(rows, seed)
    for name in _COLUMNS[-2:]:
        codes = pa.array(random.integers(0, len(_PLANS), rows).astype(np.int8))
        column = pa.DictionaryArray.from_arrays(codes, pa.array(_PLANS))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def words(rows: int, seed: int) -> pa.Table:
    """One column of texts of eight words."""
    picked = _WORDS[np.random.default_rng(seed).integers(0, len(_WORDS), (rows, 8))]
    return pa.table({"note": [" ".join(text) for text in picked]})


def target(table: pa.Table) -> np.ndarray:
    """Two classes that depend on the first column."""
    first = table.column(0)
    if pa.types.is_string(first.type):
        return np.array(["good" in text for text in first.to_pylist()], np.int64)
    return (first.to_numpy() > 0).astype(np.int64)


def _sklearn(build: Callable[[], Any]) -> Callable[[pa.Table, Path], None]:
    def train(table: pa.Table, path: Path) -> None:
        import joblib

        frame = table.to_pandas()
        rows = frame.get("note", frame)
        joblib.dump(build().fit(rows, target(table)), path)

    return train


def _linear() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


def _columns() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    scaled = ("numbers", StandardScaler(), list(_COLUMNS[:-2]))
    encoded = ("classes", OneHotEncoder(), list(_COLUMNS[-2:]))
    return make_pipeline(ColumnTransformer([scaled, encoded]), LogisticRegression())


def _text() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(TfidfVectorizer(), LogisticRegression())


def _train_onnx(table: pa.Table, path: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    values = table.to_pandas().to_numpy(np.float32)
    forest = RandomForestClassifier(50, max_depth=8, n_jobs=-1, random_state=0)
    forest.fit(values, target(table))
    path.write_bytes(to_onnx(forest, values[:1], options={"zipmap": False}).SerializeToString())


def _train_xgboost(table: pa.Table, path: Path) -> None:
    import xgboost

    data = xgboost.DMatrix(table.to_pandas(), target(table))
    xgboost.train({"objective": "binary:logistic"}, data, _ROUNDS).save_model(path)


def _train_xgboost_frame(table: pa.Table, path: Path) -> None:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=_ROUNDS, enable_categorical=True)
    model.fit(table.to_pandas(), target(table)).save_model(path)


def _train_lightgbm(table: pa.Table, path: Path) -> None:
    import lightgbm

    data = lightgbm.Dataset(table.to_pandas(), target(table))
    lightgbm.train({"objective": "binary", "verbose": -1}, data, _ROUNDS).save_model(path)


def _train_catboost(table: pa.Table, path: Path) -> None:
    import catboost

    quiet = {"verbose": False, "allow_writing_files": False}
    frame = _as_objects(table.to_pandas())
    categories = [name for name in frame if isinstance(frame.dtypes[name], pd.CategoricalDtype)]
    model = catboost.CatBoostClassifier(iterations=_ROUNDS, cat_features=categories, **quiet)
    model.fit(frame, target(table)).save_model(str(path))


def _as_objects(frame: pd.DataFrame) -> pd.DataFrame:
    """CatBoost takes a category's names as objects only, which pandas 3 does not give by itself."""
    for name in frame:
        if isinstance(frame.dtypes[name], pd.CategoricalDtype):
            frame[name] = frame[name].cat.rename_categories(
                frame[name].cat.categories.astype(object)
            )
    return frame


def _load_joblib(path: Path) -> Any:
    import joblib

    return joblib.load(path)


def _load_onnx(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path))


def _load_xgboost(path: Path) -> Any:
    import xgboost

    return xgboost.Booster(model_file=str(path))


def _load_xgboost_frame(path: Path) -> Any:
    import xgboost

    model = xgboost.XGBClassifier(enable_categorical=True)
    model.load_model(path)
    return model


def _load_lightgbm(path: Path) -> Any:
    import lightgbm

    return lightgbm.Booster(model_file=str(path))


def _load_catboost(path: Path) -> Any:
    import catboost

    return catboost.CatBoostClassifier().load_model(str(path))


def _predict_onnx(session: Any, frame: pd.DataFrame) -> Any:
    return session.run(["label"], {"X": frame.to_numpy(np.float32)})[0]


def _predict_booster(booster: Any, frame: pd.DataFrame) -> Any:
    import xgboost

    return booster.predict(xgboost.DMatrix(frame))


@dataclass(frozen=True)
class _Kind:
    extension: str
    rows: Callable[[int, int], pa.Table]
    train: Callable[[pa.Table, Path], None]
    load: Callable[[Path], Any]
    predict: Callable[[Any, pd.DataFrame], Any] = lambda model, frame: model.predict(frame)
    features: tuple[str, ...] | None = None


_KINDS = {
    "sklearn-matrix": _Kind("joblib", numbers, _sklearn(_linear), _load_joblib),
    "sklearn-frame": _Kind("joblib", mixed, _sklearn(_columns), _load_joblib),
    "sklearn-text": _Kind(
        "joblib",
        words,
        _sklearn(_text),
        _load_joblib,
        lambda model, frame: model.predict(frame["note"]),
        ("note",),
    ),
    "onnx": _Kind("onnx", numbers, _train_onnx, _load_onnx, _predict_onnx, _COLUMNS),
    "xgboost": _Kind("ubj", numbers, _train_xgboost, _load_xgboost, _predict_booster),
    "xgboost-frame": _Kind("ubj", mixed, _train_xgboost_frame, _load_xgboost_frame),
    "lightgbm": _Kind("txt", numbers, _train_lightgbm, _load_lightgbm),
    "lightgbm-frame": _Kind("txt", mixed, _train_lightgbm, _load_lightgbm),
    "catboost": _Kind("cbm", numbers, _train_catboost, _load_catboost),
    "catboost-frame": _Kind(
        "cbm",
        mixed,
        _train_catboost,
        _load_catboost,
        lambda model, frame: model.predict(_as_objects(frame)),
    ),
}


def model_file(name: str) -> Path:
    """The model of a name, trained in a process of its own on first use."""
    path = _FOLDER / f"{name}.{_KINDS[name].extension}"
    if not path.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, __file__, name], check=True, timeout=_TRAIN_SECS)
    return path


def our_model(name: str) -> Model:
    """The model of a name, loaded as a run loads it."""
    artifact = Artifact(str(model_file(name)), model_file(name).read_bytes())
    trust = Trust(allow_pickle=True)
    return format_of(artifact).load(artifact, trust, ("predict",), _KINDS[name].features)


def rows_for(name: str) -> pa.Table:
    """The rows to predict, in one chunk."""
    return _KINDS[name].rows(ROWS, 7).combine_chunks()


def pair_of(name: str) -> Pair:
    """Both ways to predict with the model of a name."""
    kind = _KINDS[name]
    return Pair(rows_for(name), our_model(name), kind.load(model_file(name)), kind.predict)


def _train(name: str) -> None:
    kind = _KINDS[name]
    path = _FOLDER / f"{name}.{kind.extension}"
    half = path.with_name(f"half-{path.name}")
    kind.train(kind.rows(_TRAIN_ROWS, 1), half)
    half.rename(path)


if __name__ == "__main__":
    _train(sys.argv[1])
