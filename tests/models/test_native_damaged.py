"""A thousand damaged files of each format that machine code reads; each format's test has some."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fuzz import check_damaged
from sklearn_models import NAMES, batch_of, classes, numbers

from scoreline.models.artifact import Artifact
from scoreline.models.registry import FORMATS

FRAME = numbers(rows=200)
TARGET = classes(FRAME, (0, 1))
BY_NAME = {format_.name: format_ for format_ in FORMATS}


def onnx_graph() -> Artifact:
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.ensemble import GradientBoostingClassifier

    fitted = GradientBoostingClassifier(n_estimators=5).fit(FRAME.to_numpy(np.float32), TARGET)
    graph = skl2onnx.to_onnx(fitted, FRAME.to_numpy(np.float32)[:1])
    return Artifact("m.onnx", graph.SerializeToString())


def xgboost_file(kind: str) -> Artifact:
    xgboost = pytest.importorskip("xgboost")
    booster = xgboost.train(
        {"objective": "binary:logistic", "nthread": 1, "max_depth": 3},
        xgboost.DMatrix(FRAME, TARGET),
        5,
    )
    return Artifact(f"m.{kind}", bytes(booster.save_raw("json" if kind == "json" else "ubj")))


def lightgbm_file() -> Artifact:
    lightgbm = pytest.importorskip("lightgbm")
    quiet = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "objective": "binary"}
    booster = lightgbm.train(quiet, lightgbm.Dataset(FRAME, TARGET), 5)
    return Artifact("m.txt", booster.model_to_string().encode())


def catboost_file(tmp_path: Any) -> Artifact:
    catboost = pytest.importorskip("catboost")
    model = catboost.CatBoostClassifier(
        iterations=5, depth=3, thread_count=1, verbose=False, allow_writing_files=False
    )
    model.fit(FRAME, TARGET)
    path = tmp_path / "m.cbm"
    model.save_model(str(path))
    return Artifact("m.cbm", path.read_bytes())


def file_of(name: str, tmp_path: Any) -> Artifact:
    kind, _, variant = name.partition(" ")
    makers = {
        "onnx": onnx_graph,
        "xgboost": lambda: xgboost_file(variant),
        "lightgbm": lightgbm_file,
        "catboost": lambda: catboost_file(tmp_path),
    }
    return makers[kind]()


FILES = ("onnx", "xgboost json", "xgboost ubj", "lightgbm", "catboost")


def rows_for(artifact: Artifact) -> tuple[pa.RecordBatch, tuple[str, ...] | None]:
    is_graph = artifact.uri.endswith(".onnx")
    features = NAMES if is_graph else None
    frame: pd.DataFrame = FRAME.astype(np.float32) if is_graph else FRAME
    return batch_of(frame), features


def check(name: str, tmp_path: Any, mutations: int) -> Any:
    artifact = file_of(name, tmp_path)
    rows, features = rows_for(artifact)
    format_ = BY_NAME[name.split(" ")[0]]
    return check_damaged(format_, artifact, rows, mutations=mutations, features=features)


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_a_thousand_damaged_files(name: str, tmp_path: Any):
    ends = check(name, tmp_path, 1_000)
    print(name, dict(ends))
    assert sum(ends.values()) == 1_000
