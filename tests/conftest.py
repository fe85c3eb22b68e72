"""What tests of whole commands share: models, tables, and a way to run the command line."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

NUMBERS = ("a", "b", "c")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def numbers(rows: int, seed: int = 0) -> pa.Table:
    """A table of three float columns and an id."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: rng.normal(size=rows) for name in NUMBERS}
    return pa.table({**columns, "id": np.arange(rows)})


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    """Writes a Parquet file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def files_below(folder: Path) -> list[str]:
    """All files and empty folders below a folder, without the parts of names that vary."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() or not any(path.iterdir()):
            name = path.relative_to(folder).as_posix()
            parts = ["RUN" if part[:2] == "20" and "Z-" in part else part for part in name.split("/")]
            found.append("/".join(parts))
    return found


@pytest.fixture(scope="session")
def classifier() -> LogisticRegression:
    """A classifier of the columns of `numbers`, with the classes no and yes."""
    frame = numbers(500, seed=1).select(NUMBERS).to_pandas()
    return LogisticRegression().fit(frame, np.where(frame.a + frame.b > 0, "yes", "no"))


@pytest.fixture(scope="session")
def classifier_file(classifier: LogisticRegression, tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("models") / "churn.joblib"
    joblib.dump(classifier, path)
    return path


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a command runs in: relative paths start here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scoreline(workdir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the command line in this process, in `workdir`."""
    from scoreline.pipelines.cli import main

    def run(*words: str | os.PathLike[str]) -> Ended:
        capsys.readouterr()
        code = main([os.fspath(word) for word in words])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture
def score(scoreline: Callable[..., Ended], classifier_file: Path) -> Callable[..., Ended]:
    """Runs `scoreline score`, by default with the classifier, from in.parquet to out."""

    def run(
        *flags: str,
        model: str | os.PathLike[str] = classifier_file,
        input: str | os.PathLike[str] | Sequence[str] = "in.parquet",
        output: str | os.PathLike[str] = "out",
        trust: str = "--allow-pickle",
    ) -> Ended:
        inputs = [input] if isinstance(input, str | os.PathLike) else input
        named = [word for path in inputs for word in ("--input", os.fspath(path))]
        words = ["score", "--model", os.fspath(model), *named, "--output", os.fspath(output)]
        return scoreline(*words, *([trust] if trust else []), *flags)

    return run
