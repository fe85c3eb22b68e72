"""Hostile files are refused with code 4 and a message by every verb, and nothing in them runs."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest
import yaml
from hostile_files import HOSTILE, Reducing, in_joblib, reducing
from running import Ended, numbers, write

from scoreline.models import ModelError, ModelRef, Trust, artifact, load_model, model

Scoreline = Callable[..., Ended]
VERBS = ("score", "run", "check", "inspect")


@pytest.fixture
def marker(workdir: Path) -> Path:
    return workdir / "ran"


def command(verb: str, uri: str, *flags: str) -> list[str]:
    if verb == "inspect":
        return ["model", "inspect", uri, *flags]
    if verb == "score":
        return ["score", "--model", uri, "--input", "in.parquet", "--output", "out", *flags]
    trust = {flag.removeprefix("--").replace("-", "_"): True for flag in flags}
    job = {
        "name": "hostile",
        "source": {"path": "in.parquet"},
        "model": {"uri": uri, "trust": trust},
        "sinks": [{"path": "out"}],
    }
    Path("job.yaml").write_text(yaml.safe_dump(job))
    return [verb, "job.yaml"]


def refused(ended: Ended, marker: Path) -> None:
    assert ended.code == 4, ended.err
    assert ended.err.startswith("scoreline: ")
    assert "Traceback" not in ended.err
    assert not marker.exists(), "something ran"
    assert not Path("out").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_runs(
    scoreline: Scoreline, workdir: Path, marker: Path, name: str
) -> None:
    write(workdir / "in.parquet", numbers(5))
    (workdir / name).write_bytes(HOSTILE[name](marker))
    for verb in VERBS:
        refused(scoreline(*command(verb, name)), marker)
    # What is allowed for other things does not help it.
    refused(scoreline(*command("score", name, "--allow-code")), marker)


def test_the_bombs_would_go_off(marker: Path) -> None:
    """The proof that the proof can fail: loaded carelessly, they do run."""
    pickle.loads(reducing(marker))
    assert marker.exists()
    marker.unlink()
    Path("m.joblib").write_bytes(in_joblib(marker))
    joblib.load("m.joblib")
    assert marker.exists()


def test_a_link_out_of_the_folder_is_what_it_leads_to(
    scoreline: Scoreline, workdir: Path, marker: Path
) -> None:
    """Its name and place say nothing: the content decides, and the trust."""
    write(workdir / "in.parquet", numbers(5))
    (workdir / "elsewhere").mkdir()
    (workdir / "models").mkdir()
    (workdir / "elsewhere/evil").write_bytes(reducing(marker))
    (workdir / "models/churn.skops").symlink_to("../elsewhere/evil")
    for verb in VERBS:
        refused(scoreline(*command(verb, "models/churn.skops")), marker)


@pytest.mark.parametrize("verb", ["score", "run", "check"])
def test_a_file_that_is_swapped_between_hash_and_load(
    scoreline: Scoreline,
    workdir: Path,
    marker: Path,
    classifier_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    """The bytes that were hashed are those that are loaded: whoever swaps the file is too late."""
    write(workdir / "in.parquet", numbers(5))
    path = workdir / "churn.joblib"
    path.write_bytes(classifier_file.read_bytes())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    check = model.check_hash

    def swap(read: artifact.Artifact, trust: Trust) -> None:
        check(read, trust)
        path.write_bytes(reducing(marker))

    monkeypatch.setattr(model, "check_hash", swap)
    words = command(verb, str(path), *(["--sha256", sha256] if verb == "score" else []))
    if verb != "score":
        job = yaml.safe_load(Path("job.yaml").read_text())
        job["model"]["trust"] = {"sha256": sha256}
        Path("job.yaml").write_text(yaml.safe_dump(job))
    ended = scoreline(*words)
    assert ended.code == 0, ended.err
    assert not marker.exists()
    assert path.read_bytes() == reducing(marker)


def test_a_file_that_is_swapped_before_a_worker_loads_it(
    workdir: Path, marker: Path, classifier_file: Path
) -> None:
    path = workdir / "churn.joblib"
    path.write_bytes(classifier_file.read_bytes())
    ref = ModelRef(str(path), Trust(allow_pickle=True))
    same = model.pinned(ref, load_model(ref))
    path.write_bytes(reducing(marker))
    model._loaded.clear()
    with pytest.raises(ModelError, match="It is not the file that was pinned"):
        load_model(same)
    assert not marker.exists()


def test_the_hash_of_one_file_does_not_let_another_in(
    scoreline: Scoreline, workdir: Path, marker: Path, classifier_file: Path
) -> None:
    write(workdir / "in.parquet", numbers(5))
    sha256 = hashlib.sha256(classifier_file.read_bytes()).hexdigest()
    (workdir / "m.joblib").write_bytes(reducing(marker))
    for verb in ("score", "inspect"):
        ended = scoreline(*command(verb, "m.joblib", "--sha256", sha256))
        refused(ended, marker)
        assert "It is not the file that was pinned" in ended.err


def test_an_object_that_is_no_model_is_refused_though_it_is_trusted(
    scoreline: Scoreline, workdir: Path
) -> None:
    """What the operator allowed does run: that is what allowing a pickle means."""
    write(workdir / "in.parquet", numbers(5))
    other: Any = Reducing(workdir / "allowed")
    joblib.dump(other, workdir / "m.joblib")
    ended = scoreline(*command("score", "m.joblib", "--allow-pickle"))
    assert ended.code == 4
    assert "is no estimator" in ended.err
    assert (workdir / "allowed").exists()
