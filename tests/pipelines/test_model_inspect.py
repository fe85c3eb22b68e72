"""`scoreline model inspect`: says what a model is, and never runs anything of it."""

import hashlib
import io
import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from running import Ended
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scoreline.models import probe
from scoreline.pipelines import model_inspect
from scoreline.pipelines.job import make_job

Scoreline = Callable[..., Ended]
FRAME = pd.DataFrame(
    {
        "age": np.arange(40.0),
        "plan": ["basic", "gold"] * 20,
        "seats": [1, 2, 3, 4] * 10,
    }
)
TARGET = np.array(["no"] * 20 + ["yes"] * 20)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age"]),
            ("classes", OneHotEncoder(), ["plan", "seats"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(FRAME, TARGET)


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def found(ended: Ended) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(ended.out)
    return result


@pytest.mark.parametrize("compress", [0, 3], ids=["plain", "compressed"])
def test_a_pickle_is_described_and_refused(
    scoreline: Scoreline, workdir: Path, pipeline: Any, compress: int
) -> None:
    joblib.dump(pipeline, "churn.joblib", compress=compress)
    data = Path("churn.joblib").read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    ended = scoreline("model", "inspect", "churn.joblib", "--output-json")
    assert ended.code == 4
    said = found(ended)
    assert said["format"] == "pickle"
    assert said["kind"] == "Pipeline(ColumnTransformer, LogisticRegression)"
    assert said["features"] == ["age", "plan", "seats"]
    assert said["classes"] == ["no", "yes"]
    assert said["outputs"] == ["predict", "predict_proba", "decision_function"]
    assert list(said["made_with"]) == ["scikit-learn"]
    assert said["size"] == len(data)
    assert said["sha256"] == sha256
    assert said["version"] == sha256[:12]
    assert "sklearn.linear_model._logistic.LogisticRegression" in said["imports"]
    assert said["trust"]["loads"] is False
    assert f"--sha256 {sha256}" in said["trust"]["refusal"]
    assert f"--sha256 {sha256}" in ended.err
    for flags in (["--allow-pickle"], ["--sha256", sha256]):
        assert scoreline("model", "inspect", "churn.joblib", *flags).code == 0


def test_the_text_that_a_person_reads(scoreline: Scoreline, workdir: Path, pipeline: Any) -> None:
    joblib.dump(pipeline, "churn.joblib")
    lines = scoreline("model", "inspect", "churn.joblib", "--allow-pickle").out.splitlines()
    heads = [line.split(" ", 1)[0] for line in lines if not line.startswith(" ")]
    assert heads == [
        "model",
        "format",
        "holds",
        "made",
        "size",
        "sha256",
        "takes",
        "outputs",
        "classes",
        "imports",
        "trust",
    ]
    assert "takes      3 columns: age, plan, seats" in lines
    assert "classes    2 classes: no, yes" in lines
    assert lines[-1] == "trust      would be loaded with these flags"


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_protocol_of_pickle_says_the_same(
    scoreline: Scoreline, workdir: Path, pipeline: Any, protocol: int
) -> None:
    Path("m.pkl").write_bytes(pickle.dumps(pipeline, protocol))
    said = found(scoreline("model", "inspect", "m.pkl", "--output-json", "--allow-pickle"))
    assert said["features"] == ["age", "plan", "seats"]
    assert said["classes"] == ["no", "yes"]
    assert said["notes"] == []


def test_a_skops_file(scoreline: Scoreline, workdir: Path, pipeline: Any) -> None:
    skops.io.dump(pipeline, "churn.skops")
    ended = scoreline("model", "inspect", "churn.skops", "--output-json")
    assert ended.code == 0, ended.err
    said = found(ended)
    assert said["format"] == "skops"
    assert said["kind"] == "Pipeline(ColumnTransformer, LogisticRegression)"
    assert said["features"] == ["age", "plan", "seats"]
    assert said["classes"] == ["no", "yes"]
    assert said["trust"] == {"loads": True, "refusal": None}


def test_searches_forests_text_and_models_without_names(
    scoreline: Scoreline, workdir: Path
) -> None:
    numbers = FRAME[["age", "seats"]].to_numpy()
    estimators = {
        "search": GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2),
        "forest": RandomForestClassifier(2),
    }
    kinds = {}
    for name, estimator in estimators.items():
        joblib.dump(estimator.fit(numbers, TARGET), f"{name}.joblib")
        said = found(scoreline("model", "inspect", f"{name}.joblib", "--output-json"))
        kinds[name] = said["kind"]
        assert said["features"] is None
        assert said["notes"] == [
            "trained on a matrix of 2 columns without names: --features",
        ]
    assert kinds == {
        "search": "GridSearchCV of Pipeline(StandardScaler, LogisticRegression)",
        "forest": "RandomForestClassifier",
    }
    text = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(FRAME["plan"], TARGET)
    joblib.dump(text, "text.joblib")
    said = found(scoreline("model", "inspect", "text.joblib", "--output-json"))
    assert said["kind"] == "Pipeline(TfidfVectorizer, LogisticRegression)"


# --- the contract ------------------------------------------------------------------------------


def test_a_draft_of_the_contract_is_a_part_of_a_valid_job(
    scoreline: Scoreline, workdir: Path, pipeline: Any
) -> None:
    joblib.dump(pipeline, "churn.joblib")
    ended = scoreline("model", "inspect", "churn.joblib", "--contract-yaml")
    assert ended.code == 0
    contract = yaml.safe_load(ended.out)["contract"]
    assert contract == {
        "age": {"type": "number", "nullable": True},
        "plan": {"type": "text", "nullable": True, "categories": ["basic", "gold"]},
        "seats": {"type": "number", "nullable": True, "categories": [1, 2, 3, 4]},
    }
    job = make_job(
        {
            "name": "churn",
            "source": {"path": "in"},
            "model": {"uri": "churn.joblib", "contract": contract},
            "sinks": [{"path": "out"}],
        }
    )
    assert job.model.contract["plan"].categories == ("basic", "gold")


def test_a_draft_for_a_model_that_does_not_know_its_columns(
    scoreline: Scoreline, workdir: Path
) -> None:
    joblib.dump(LogisticRegression().fit([[1.0], [2.0]], [0, 1]), "m.joblib")
    ended = scoreline("model", "inspect", "m.joblib", "--contract-yaml")
    assert ended.code == 2
    assert "does not say which columns it takes; name them with --features A,B" in ended.err
    ended = scoreline("model", "inspect", "m.joblib", "--contract-yaml", "--features", "a: b,on")
    assert yaml.safe_load(ended.out)["contract"] == {
        "a: b": {"type": "any", "nullable": True},
        "on": {"type": "any", "nullable": True},
    }


# --- code --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "format_"), [("rules:score", "callable"), ("beam:rules:make", "beam")]
)
def test_code_is_not_imported(
    scoreline: Scoreline,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    uri: str,
    format_: str,
) -> None:
    Path("rules.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    monkeypatch.syspath_prepend(str(workdir))
    ended = scoreline("model", "inspect", uri, "--output-json")
    assert ended.code == 4
    assert "allow it with --allow-code" in ended.err
    assert found(ended)["format"] == format_
    assert scoreline("model", "inspect", uri, "--allow-code").code == 0
    assert not Path("ran").exists()


# --- files that are unfit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello world", "is no model that scoreline knows"),
    ],
)
def test_files_that_are_no_model(
    scoreline: Scoreline, workdir: Path, data: bytes, words: str
) -> None:
    Path("m.joblib").write_bytes(data)
    ended = scoreline("model", "inspect", "m.joblib")
    assert ended.code == 4
    assert words in ended.err
    assert ended.out == ""


def test_usage(scoreline: Scoreline, workdir: Path) -> None:
    assert "does not exist" in scoreline("model", "inspect", "m.joblib").err
    assert scoreline("model", "inspect", "m.joblib").code == 4
    assert scoreline("model", "inspect").code == 2
    assert scoreline("model", "inspekt", "m.joblib").code == 2
    ended = scoreline("model", "inspect", "m.joblib", "--sha256", "abc")
    assert ended.code == 2
    assert "--sha256: expected 64 hexadecimal digits, got 'abc'" in ended.err


def test_another_file_than_the_one_that_is_pinned(
    scoreline: Scoreline, workdir: Path, pipeline: Any
) -> None:
    joblib.dump(pipeline, "m.joblib")
    ended = scoreline("model", "inspect", "m.joblib", "--sha256", "0" * 64)
    assert ended.code == 4
    assert "It is not the file that was pinned" in ended.err


def test_nothing_of_a_hostile_pickle_runs_and_all_it_names_is_listed(
    scoreline: Scoreline, workdir: Path
) -> None:
    joblib.dump({"weights": np.arange(5.0), "bomb": [Bomb(workdir / "ran")]}, "m.joblib")
    ended = scoreline("model", "inspect", "m.joblib", "--output-json", "--allow-pickle")
    assert "posix.system" in found(ended)["imports"]
    assert not (workdir / "ran").exists()


def test_a_file_that_is_cut_short_says_that_imports_may_be_missing(
    scoreline: Scoreline, workdir: Path, pipeline: Any
) -> None:
    Path("m.pkl").write_bytes(pickle.dumps(pipeline)[:-20])
    said = found(scoreline("model", "inspect", "m.pkl", "--output-json"))
    assert said["notes"][0].startswith("reading it broke off, so that imports may be missing here")
    assert "sklearn.pipeline.Pipeline" in said["imports"]


def exponential_key(depth: int) -> bytes:
    """A key that is a tuple of twice the same tuple, and so on: hashing it takes 2**depth steps."""
    return b"\x80\x04})" + b"2\x86" * depth + b"K\x00s."


def test_a_pickle_that_never_ends(
    scoreline: Scoreline, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_MAX_SECS", 8.0)
    Path("m.pkl").write_bytes(exponential_key(60))
    ended = scoreline("model", "inspect", "m.pkl")
    assert ended.code == 4
    assert "was not read within 8 s. It may be damaged, or made to hang its reader." in ended.err


def test_a_pickle_that_crashes_the_interpreter(scoreline: Scoreline, workdir: Path) -> None:
    nested = b"\x80\x04})" + b"\x85" * 2_000_000 + b"K\x00s."  # hashing it overflows the C stack
    Path("m.pkl").write_bytes(nested)
    ended = scoreline("model", "inspect", "m.pkl")
    assert ended.code == 4
    assert "crashes the library that reads it (SIG" in ended.err


def test_a_decompression_bomb(
    scoreline: Scoreline, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packer = zlib.compressobj(9)
    out = io.BytesIO()
    size = 12 * 2**30
    out.write(packer.compress(b"\x80\x04\x8e" + size.to_bytes(8, "little")))
    zeros = bytes(2**24)
    for _ in range(24):
        out.write(packer.compress(zeros))
    Path("m.joblib").write_bytes(out.getvalue() + packer.flush())
    ended = scoreline("model", "inspect", "m.joblib", "--output-json")
    assert ended.code == 4
    assert "reading it broke off" in ended.out or "bytes of memory" in ended.err


def test_a_file_that_is_too_large_to_look_into(
    scoreline: Scoreline, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_inspect, "_MAX_BYTES", 100)
    Path("m.pkl").write_bytes(pickle.dumps("x" * 200))
    ended = scoreline("model", "inspect", "m.pkl")
    assert ended.code == 4
    assert "has more than 100 bytes: it is not looked into" in ended.err
