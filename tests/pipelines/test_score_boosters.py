"""Whole jobs with the files of XGBoost, LightGBM and CatBoost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml
from running import Ended

Score = Callable[..., Ended]
ROWS = 400
PLANS = np.array(["basic", "gold", "silver"], object)


def table(seed: int = 0) -> pa.Table:
    """Numbers with missing ones, whole numbers and a word."""
    random = np.random.default_rng(seed)
    age = random.normal(40, 10, ROWS)
    age[::9] = np.nan
    return pa.table(
        {
            "id": np.arange(ROWS),
            "visits": random.integers(0, 20, ROWS),
            "plan": PLANS[random.integers(0, 3, ROWS)],
            "age": pa.array(age, from_pandas=True),
        }
    )


def frame(rows: pa.Table) -> pd.DataFrame:
    """The rows as the models were trained on them."""
    known = pd.CategoricalDtype(pd.Index(PLANS, dtype=object))
    return rows.to_pandas()[["age", "plan", "visits"]].astype({"plan": known})


TRAIN = table(seed=1)
TARGET = np.where(TRAIN["plan"].to_numpy() == "gold", 1, np.arange(ROWS) % 2)


def xgboost_file(folder: Path, extension: str) -> tuple[Path, Any]:
    xgboost = pytest.importorskip("xgboost", reason="needs scoreline[xgboost]")
    path = folder / f"churn.{extension}"
    model = xgboost.XGBClassifier(n_estimators=5, enable_categorical=True, nthread=1)
    model.fit(frame(TRAIN), TARGET).save_model(path)
    return path, model


def lightgbm_file(folder: Path) -> tuple[Path, Any]:
    lightgbm = pytest.importorskip("lightgbm", reason="needs scoreline[lightgbm]")
    path = folder / "churn.txt"
    model = lightgbm.LGBMClassifier(n_estimators=5, num_threads=1, verbose=-1)
    model.fit(frame(TRAIN), TARGET).booster_.save_model(path)
    return path, model


def catboost_file(folder: Path) -> tuple[Path, Any]:
    catboost = pytest.importorskip("catboost", reason="needs scoreline[catboost]")
    path = folder / "churn.cbm"
    quiet = {"verbose": False, "allow_writing_files": False, "thread_count": 1}
    model = catboost.CatBoostClassifier(iterations=5, cat_features=["plan"], **quiet)
    model.fit(frame(TRAIN), np.array(["no", "yes"])[TARGET]).save_model(str(path))
    return path, model


MODELS: dict[str, Callable[[Path], tuple[Path, Any]]] = {
    "ubj": lambda folder: xgboost_file(folder, "ubj"),
    "json": lambda folder: xgboost_file(folder, "json"),
    "txt": lightgbm_file,
    "cbm": catboost_file,
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_file_is_scored_from_the_command_line(score: Score, workdir: Path, kind: str) -> None:
    path, model = MODELS[kind](workdir)
    rows = table()
    pq.write_table(rows, workdir / "in.parquet", row_group_size=150)

    ended = score(
        *("--outputs", "predict_proba,raw_score", "--keep", "id"), model=path.name, trust=""
    )

    assert ended.code == 0, ended.err
    scored = pq.read_table("out")
    classes = ("no", "yes") if kind == "cbm" else ("0", "1")
    names = [f"probability_{name}" for name in classes]
    assert scored.column_names == ["id", *names, "raw_score", "model_version"]
    expected = model.predict_proba(frame(rows))
    assert np.array_equal(np.stack([scored[name] for name in names], axis=1), expected)


@pytest.mark.parametrize("kind", MODELS)
def test_a_csv_file_has_the_same_predictions(score: Score, workdir: Path, kind: str) -> None:
    path, _ = MODELS[kind](workdir)
    pq.write_table(table(), workdir / "in.parquet")
    pyarrow.csv.write_csv(table(), workdir / "in.csv")
    for extension in ("parquet", "csv"):
        ended = score(model=path.name, input=f"in.{extension}", output=f"{extension}.out", trust="")
        assert ended.code == 0, ended.err
    came = [pq.read_table(f"{extension}.out")["prediction"] for extension in ("parquet", "csv")]
    assert came[0].equals(came[1])


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_is_inspected(scoreline: Callable[..., Ended], workdir: Path, kind: str) -> None:
    path, _ = MODELS[kind](workdir)
    ended = scoreline("model", "inspect", path.name, "--output-json")
    assert ended.code == 0, ended.err
    said = json.dumps(json.loads(ended.out))
    for word in ("age", "plan", "visits", "predict_proba", "raw_score"):
        assert word in said


@pytest.mark.parametrize("kind", MODELS)
def test_the_drafted_contract_fits_the_model(
    scoreline: Callable[..., Ended], workdir: Path, kind: str
) -> None:
    path, _ = MODELS[kind](workdir)
    pq.write_table(table(), workdir / "in.parquet")
    ended = scoreline("model", "inspect", path.name, "--contract-yaml")
    assert ended.code == 0, ended.err
    drafted = yaml.safe_load(ended.out)
    rules = drafted.get("contract", drafted)
    job = {
        "name": "j",
        "source": {"type": "files", "path": "in.parquet"},
        "model": {"uri": path.name, "contract": rules},
        "sinks": [{"path": "out"}],
    }
    Path("job.yaml").write_text(yaml.safe_dump(job))
    ended = scoreline("run", "job.yaml")
    assert ended.code == 0, ended.err
    assert pq.read_table("out").num_rows == ROWS


def test_a_category_that_xgboost_never_saw_is_a_dead_letter(score: Score, workdir: Path) -> None:
    path, model = MODELS["ubj"](workdir)
    rows = table()
    plans = rows["plan"].to_pylist()
    plans[7] = "platinum"
    pq.write_table(rows.set_column(2, "plan", pa.array(plans)), workdir / "in.parquet")

    ended = score(model=path.name, trust="")

    assert ended.code == 0, ended.err
    (dead,) = pq.read_table("out/_dead_letters").to_pylist()
    assert dead["row_id"] == "in.parquet#7"
    assert dead["error_message"].endswith("the model has never seen the category 'platinum'")
    kept = [row for row in range(ROWS) if row != 7]
    assert pq.read_table("out")["prediction"].to_pylist() == (
        model.predict(frame(rows))[kept].tolist()
    )


@pytest.mark.parametrize("kind", MODELS)
def test_a_damaged_file_is_refused(score: Score, workdir: Path, kind: str) -> None:
    path, _ = MODELS[kind](workdir)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    pq.write_table(table(), workdir / "in.parquet")

    ended = score(model=path.name, trust="")

    assert ended.code == 4
    assert not Path("out").exists()


def test_a_tree_that_makes_lightgbm_end_its_process_is_refused(score: Score, workdir: Path) -> None:
    path, _ = MODELS["txt"](workdir)
    path.write_bytes(path.read_bytes().replace(b"split_feature=", b"split_featur="))
    pq.write_table(table(), workdir / "in.parquet")

    ended = score(model=path.name, trust="")

    assert ended.code == 4
    assert "churn.txt" in ended.err
    assert not Path("out").exists()
