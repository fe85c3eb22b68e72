"""Models that are code, through the command line: functions and Beam's own handlers."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import code_models
import hostile_onnx
import joblib
import pyarrow.parquet as pq
import pytest
from places import Places, rows_in
from running import NUMBERS, Ended, numbers, write
from sklearn.linear_model import LinearRegression

Score = Callable[..., Ended]
CODE = "--allow-code"


@pytest.fixture(autouse=True)
def rows(workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(50))


def test_a_function(score: Score) -> None:
    ended = score("--keep", "id", model="code_models:both", trust=CODE)
    assert ended.code == 0, ended.err
    scored, frame = pq.read_table("out"), numbers(50).to_pandas()
    assert scored.column_names == ["id", "total", "sign", "model_version"]
    assert scored["total"].to_pylist() == (frame.a + frame.b).tolist()
    version = hashlib.sha256(Path(code_models.__file__).read_bytes()).hexdigest()[:12]
    assert set(scored["model_version"].to_pylist()) == {version}
    (path,) = Path("out/_run").glob("*/report.json")
    report = json.loads(path.read_text())
    assert report["job"] == "both"
    notes = report["model"].pop("notes")
    assert report["model"] == {
        "name": "both",
        "version": version,
        "sha256": None,
        "format": "callable",
        "uri": "code_models:both",
    }
    assert "is of code_models.py alone" in notes[0]


def test_a_function_of_named_columns(score: Score) -> None:
    flags = ("--features", "c,a", "--keep", "id")
    assert score(*flags, model="code_models:names", trust=CODE).code == 0
    assert pq.read_table("out")["prediction"][0].as_py() == "c:double,a:double"
    ended = score("--features", "c,aa", "--overwrite", model="code_models:names", trust=CODE)
    assert ended.code == 2
    assert "needs columns ['aa']" in ended.err


def test_rows_that_a_function_fails_on_are_dead_letters(score: Score) -> None:
    """The made-up row is one of them: that is no reason not to start."""
    flags = ("--max-dead-letter-ratio", "1", "--keep", "a")
    ended = score(*flags, model="code_models:picky", trust=CODE)
    assert ended.code == 0, ended.err
    values = numbers(50)["a"].to_pylist()
    assert pq.read_table("out")["prediction"].to_pylist() == [a for a in values if a > 0]
    dead = pq.read_table("out/_dead_letters")
    assert dead["error_message"].to_pylist() == ["a must be positive"] * sum(a <= 0 for a in values)


def test_a_function_that_loses_a_row_fails_the_run(score: Score) -> None:
    ended = score(model="code_models:one_short", trust=CODE)
    assert ended.code == 4
    assert "code_models:one_short must return one result for each of the 1 rows" in ended.err
    assert not Path("out").exists()


def test_a_stream_of_a_function(score: Score, places: Places) -> None:
    places.publish_rows(numbers(5))
    flags = ("--types", "a=double,b=double,id=int64", "--stop-when-idle-secs", "0.3")
    ended = score(*flags, model="code_models:total", input=places.uri, output="live", trust=CODE)
    assert ended.code == 0, ended.err
    frame = numbers(5).to_pandas()
    assert [row["prediction"] for row in rows_in("live")] == (frame.a + frame.b).tolist()
    ended = score(model="code_models:total", input=places.uri, output="other", trust=CODE)
    assert ended.code == 2
    assert "a model that is code, hides the model's: name them all with --types" in ended.err


def test_one_of_beams_own_handlers(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = numbers(50).select(NUMBERS).to_pandas()
    model = LinearRegression().fit(frame.to_numpy(), frame.a * 2)
    joblib.dump(model, workdir / "m.joblib")
    monkeypatch.setenv("MODEL", str(workdir / "m.joblib"))
    flags = ("--features", ",".join(NUMBERS), "--keep", "id")
    ended = score(*flags, model="beam:code_models:sklearn_rows", trust=CODE)
    assert ended.code == 0, ended.err
    expected = model.predict(frame.to_numpy())
    assert pq.read_table("out")["prediction"].to_pylist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("uri", ["writes_a_marker:predict", "beam:writes_a_marker:handler"])
@pytest.mark.parametrize("verb", ["score", "check", "run", "inspect"])
def test_code_is_not_imported_without_leave(
    scoreline: Callable[..., Ended],
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    uri: str,
) -> None:
    monkeypatch.setenv("MARKER", str(workdir / "ran"))
    words = ("--model", uri, "--input", "in.parquet", "--output", "out", "--allow-pickle")
    if verb == "score":
        ended = scoreline("score", *words)
    elif verb == "inspect":
        ended = scoreline("model", "inspect", uri)
    else:
        (workdir / "job.yaml").write_text(scoreline("score", *words, "--print-job").out)
        ended = scoreline(verb, "job.yaml")
    assert ended.code == 4, ended.err
    assert f"{uri!r} is code: allow it with --allow-code" in ended.err
    assert not (workdir / "ran").exists()
    assert "writes_a_marker" not in sys.modules
    assert not Path("out").exists()


@pytest.mark.parametrize("make", hostile_onnx.PLACES, ids=lambda make: make.__name__)
def test_an_onnx_file_that_wants_another_is_refused(
    score: Score, workdir: Path, make: Callable[[str], object]
) -> None:
    (workdir / "m.onnx").write_bytes(make("../../secret.bin").SerializeToString())  # type: ignore[attr-defined]
    ended = score("--allow-code", model="m.onnx")
    assert ended.code == 4
    assert "refers to data outside of the file, at '../../secret.bin'" in ended.err
    assert not Path("out").exists()
