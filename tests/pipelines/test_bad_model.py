"""Models that cannot be used: the message, exit code 4, and nothing on disk."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import odd_models
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn
from running import Ended, numbers, write
from sklearn.linear_model import LinearRegression, LogisticRegression

Score = Callable[..., Ended]


def refused(ended: Ended, *words: str, code: int = 4) -> None:
    assert ended.code == code, ended.err
    for word in words:
        assert word in ended.err
    assert ended.out == ""
    assert not Path("out").exists()


@pytest.fixture(autouse=True)
def rows(workdir: Path) -> pa.Table:
    table = numbers(20)
    write(workdir / "in.parquet", table)
    write(workdir / "x.parquet", pa.table({"x": [float(row) for row in range(20)]}))
    return table


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["model m.joblib is empty (0 bytes)"]),
        (b"hello world", ["is no model that scoreline knows", "Expected one of: scikit-learn"]),
        (pickle.dumps({"weights": [1]}), ["is no estimator: it holds a dict"]),
        (pickle.dumps(odd_models.Picky)[:-5], ["cannot load model m.joblib", "cut short"]),
        (pickle.dumps(odd_models.Odd()).replace(b"Odd", b"Odt"), ["cannot load", "Odt"]),
    ],
)
def test_files_that_are_no_model(
    score: Score, workdir: Path, content: bytes, words: list[str]
) -> None:
    (workdir / "m.joblib").write_bytes(content)
    refused(score(model="m.joblib"), *words)


def test_a_missing_model_with_the_nearest_name(
    score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    joblib.dump(classifier, workdir / "churn.joblib")
    refused(
        score(model="chrun.joblib"),
        "cannot read --model chrun.joblib: it does not exist; did you mean churn.joblib?",
    )


def test_a_model_that_is_a_folder(score: Score, workdir: Path) -> None:
    (workdir / "m").mkdir()
    (workdir / "m/model.pkl").touch()
    refused(score(model="m"), "it is a folder: m holds model.pkl")


def test_a_model_in_a_place_that_does_not_answer(
    score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("scoreline.transforms.storage.FileSystems.exists", fail)
    monkeypatch.setattr("scoreline.transforms.storage.FileSystems.open", fail)
    refused(score(model="gs://b/m.joblib"), "cannot read model gs://b/m.joblib: no route to host")


@pytest.mark.parametrize(("made", "code"), [("0.19.2", 0), ("99.1.0", 4)])
def test_a_model_made_by_another_scikit_learn(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch, made: str, code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.base.__version__", made)
        joblib.dump(LinearRegression().fit([[1.0]], [2.0]), workdir / "m.joblib")
    ended = score("--features", "a", model="m.joblib")
    assert ended.code == code, ended.err
    assert f"made by scikit-learn {made}" in ended.err
    assert sklearn.__version__ in ended.err


def test_a_pickle_is_refused_in_two_lines_with_the_command_that_pins_it(
    score: Score, workdir: Path, classifier_file: Path
) -> None:
    sha256 = hashlib.sha256(classifier_file.read_bytes()).hexdigest()
    ended = score(trust="")
    refused(ended, "is a pickle", f"--sha256 {sha256}", "--allow-pickle")
    assert ended.err.count("\n") == 2
    assert score("--sha256", sha256, trust="").code == 0


def test_a_file_with_another_hash(score: Score) -> None:
    refused(score("--sha256", "0" * 64), "expected sha256 " + "0" * 64, "find out who changed it")


@pytest.mark.parametrize("flag", ["--preprocess", "--postprocess"])
@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("odd_models", ["expected package.module:function, got 'odd_models'"]),
        ("no_such_module:f", ["cannot import 'no_such_module'", "PYTHONPATH"]),
        ("odd_models:no_such_function", ["has no function 'no_such_function'"]),
    ],
)
def test_functions_that_cannot_be_had(
    score: Score, flag: str, reference: str, words: list[str]
) -> None:
    refused(score(flag, reference, "--allow-code"), *words)


def test_a_model_that_always_returns_one_row_too_few(score: Score, workdir: Path) -> None:
    joblib.dump(odd_models.AlwaysShort(), workdir / "m.joblib")
    refused(
        score(model="m.joblib", input="x.parquet"),
        "tried with one made-up row before the start: the model's predict returned 0 results for 1",
        "one result for each row",
    )


def test_a_model_that_returns_one_row_too_few_for_real_rows(score: Score, workdir: Path) -> None:
    joblib.dump(odd_models.OneShort(), workdir / "m.joblib")
    refused(
        score(model="m.joblib", input="x.parquet"),
        "failed in Predict: RowCountError: the model's predict returned 1 results for 2 rows",
        "what becomes of a row must not depend on the others",
        "Nothing was made final",
        code=1,
    )


def test_a_function_that_returns_one_row_too_few(score: Score) -> None:
    refused(
        score("--preprocess", "odd_models:lose_a_row", "--allow-code"),
        "odd_models:lose_a_row must return a RecordBatch of 2 rows",
        "it returned 1 rows. Fewer of these 2 rows at a time are no trouble",
        code=1,
    )


def test_a_function_that_drops_a_row_of_its_own(score: Score, rows: pa.Table) -> None:
    """That row is a dead letter, the others are predicted; the limit holds as ever."""
    flags = ("--preprocess", "odd_models:lose_id_7", "--allow-code", "--keep", "id")
    ended = score(*flags)
    assert ended.code == 0, ended.err
    assert "predict/row_count" in ended.err
    assert "odd_models:lose_id_7 must return a RecordBatch of 1 rows" in ended.err
    assert pq.read_table("out")["id"].to_pylist() == [row for row in range(20) if row != 7]
    dead = pq.read_table("out/_dead_letters").to_pylist()
    assert [(letter["position"], letter["error_code"]) for letter in dead] == [("7", "row_count")]
    assert score(*flags, "--overwrite", "--max-dead-letter-ratio", "0.01").code == 3


def test_a_function_that_drops_what_the_model_needs(score: Score) -> None:
    refused(
        score("--preprocess", "odd_models:lose_a", "--allow-code"),
        "what preprocess returned does not fit",
        "needs columns ['a']",
    )


def test_a_model_that_is_replaced_during_the_run(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers load the very file that was checked, or none."""
    from scoreline.models import model
    from scoreline.pipelines import launch

    joblib.dump(odd_models.Odd(), workdir / "m.joblib")
    take = launch.Claim.take

    def replace_and_take(self: Any) -> None:
        joblib.dump(odd_models.Picky(), workdir / "m.joblib")
        model._loaded.clear()
        take(self)

    monkeypatch.setattr(launch.Claim, "take", replace_and_take)
    ended = score(model="m.joblib", input="x.parquet")
    if ended.code == 0:  # the loaded one was still at hand
        assert pq.read_table("out")["prediction"].to_pylist() == [2.0 * row for row in range(20)]
    else:
        refused(ended, "expected sha256", "find out who changed it", code=1)


def test_features_that_the_input_lacks(score: Score, workdir: Path) -> None:
    joblib.dump(LinearRegression().fit([[1.0, 2.0]], [2.0]), workdir / "m.joblib")
    refused(
        score("--features", "a,bb", model="m.joblib"),
        "needs columns ['bb']",
        "'b' looks like 'bb'",
        code=2,
    )
