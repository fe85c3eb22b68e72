"""Whole jobs through the command line: what is on disk afterwards, row by row."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import odd_models
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import NUMBERS, Ended, alike, files_below, numbers, write
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Score = Callable[..., Ended]


def report_of(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("*/report.json")
    return json.loads(path.read_text())


def test_predictions_are_the_models_own_in_order_over_files_and_row_groups(
    score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    table = numbers(1000)
    for number, start in enumerate(range(0, 1000, 400)):
        write(workdir / f"in-{number}.parquet", table.slice(start, 400), row_group_size=90)

    ended = score("--outputs", "predict,predict_proba", input="in-*.parquet")

    assert ended.code == 0, ended.err
    scored = pq.read_table("out")
    assert scored.column_names == [
        *table.column_names,
        *("prediction", "probability_no", "probability_yes", "model_version"),
    ]
    assert scored.select(table.column_names).equals(table)
    frame = table.select(NUMBERS).to_pandas()
    assert scored["prediction"].to_pylist() == classifier.predict(frame).tolist()
    probabilities = np.stack([scored[f"probability_{c}"] for c in ("no", "yes")], axis=1)
    np.testing.assert_array_max_ulp(probabilities, classifier.predict_proba(frame), 64)


def test_a_run_leaves_predictions_and_one_run_folder(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(10))

    ended = score()

    assert ended.code == 0
    assert ended.out == ""
    assert files_below(workdir / "out") == [
        *("_run/RUN/_SUCCESS", "_run/RUN/commit.json", "_run/RUN/job.yaml"),
        *("_run/RUN/report.json", "part-00000.parquet"),
    ]


def test_dead_letters_tell_which_row_and_why(score: Score, workdir: Path) -> None:
    table = numbers(100)
    values = [None, float("inf"), *table["b"].to_pylist()[2:]]
    table = table.set_column(1, "b", pa.array(values))
    write(workdir / "in.parquet", table)

    ended = score()

    assert ended.code == 0
    dead = pq.read_table("out/_dead_letters")
    assert dead["row_id"].to_pylist() == ["in.parquet#0", "in.parquet#1"]
    assert dead["error_code"].to_pylist() == ["null_value", "infinite_value"]
    assert pq.read_table("out")["id"].to_pylist() == list(range(2, 100))
    report = report_of(workdir / "out/_run")
    assert report["rows"] | {"filtered": 0} == {
        "read": 100,
        "predicted": 98,
        "dead_lettered": 2,
        "filtered": 0,
        "deduplicated": 0,
    }
    assert report["dead_letters"] == {"conform/null_value": 1, "conform/infinite_value": 1}
    assert "e.g. in.parquet#0: column 'b': a missing value" in ended.err


FRAME = numbers(300, seed=3).select(NUMBERS).to_pandas()
TARGETS = np.stack([FRAME.a > 0, FRAME.b > 0], axis=1)


@pytest.mark.parametrize(
    ("model", "outputs", "columns"),
    [
        (LinearRegression().fit(FRAME, FRAME.a), "predict", ["prediction"]),
        (
            LinearRegression().fit(FRAME, FRAME[["a", "b"]]),
            "predict",
            ["prediction_0", "prediction_1"],
        ),
        (KMeans(2, n_init=1, random_state=0).fit(FRAME), "predict", ["prediction"]),
        (
            IsolationForest(n_estimators=10, random_state=0).fit(FRAME),
            "predict,score_samples,decision_function",
            ["prediction", "score", "decision"],
        ),
        (
            StandardScaler().fit(FRAME),
            "transform",
            ["transformed_a", "transformed_b", "transformed_c"],
        ),
        (
            RandomForestClassifier(5, random_state=0).fit(FRAME, TARGETS),
            "predict,predict_proba",
            [
                *("prediction_0", "prediction_1"),
                *("probability_0_False", "probability_0_True"),
                *("probability_1_False", "probability_1_True"),
            ],
        ),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else None,
)
def test_every_family_of_estimators(
    score: Score, workdir: Path, model: Any, outputs: str, columns: list[str]
) -> None:
    joblib.dump(model, workdir / "m.joblib")
    table = numbers(50)
    write(workdir / "in.parquet", table)

    ended = score("--outputs", outputs, "--keep", "id", model="m.joblib")

    assert ended.code == 0, ended.err
    scored = pq.read_table("out")
    assert scored.column_names == ["id", *columns, "model_version"]
    first = outputs.split(",")[0]
    expected = np.asarray(getattr(model, first)(table.select(NUMBERS).to_pandas()))
    written = np.stack([scored[name] for name in columns], axis=1)
    got = written[:, : expected.shape[1] if expected.ndim > 1 else 1]
    np.testing.assert_allclose(
        got.astype(float), expected.reshape(got.shape).astype(float), rtol=1e-12
    )


def test_a_text_model_takes_the_column_that_is_named(score: Score, workdir: Path) -> None:
    texts = ["good film", "bad film", "very good", "very bad"]
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, [1, 0, 1, 0])
    joblib.dump(model, workdir / "m.joblib")
    write(workdir / "in.parquet", pa.table({"review": [*texts, None], "n": range(5)}))

    ended = score("--features", "review", "--max-dead-letter-ratio", "1", model="m.joblib")

    assert ended.code == 0, ended.err
    assert pq.read_table("out")["prediction"].to_pylist() == [1, 0, 1, 0]


def test_a_model_without_names_takes_the_features_that_are_named(
    score: Score, workdir: Path
) -> None:
    model = LinearRegression().fit(FRAME[["b", "a"]].to_numpy(), FRAME.a)
    joblib.dump(model, workdir / "m.joblib")
    table = numbers(20)
    write(workdir / "in.parquet", table)

    refused = score(model="m.joblib")
    assert refused.code == 2
    assert "--features a,b,c" in refused.err

    assert score("--features", "b,a", model="m.joblib").code == 0
    np.testing.assert_allclose(pq.read_table("out")["prediction"], table["a"], atol=1e-12)


def test_keep_chooses_and_orders_the_columns(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5))
    assert score("--keep", "id,c,id").code == 0
    assert pq.read_table("out").column_names == ["id", "c", "prediction", "model_version"]


def test_row_id_names_file_and_row(score: Score, workdir: Path) -> None:
    write(workdir / "data/x.parquet", numbers(5), row_group_size=2)
    assert score("--row-id", "--keep", "id", input="data").code == 0
    expected = [f"data/x.parquet#{row}" for row in range(5)]
    assert pq.read_table("out")["row_id"].to_pylist() == expected


def test_inputs_are_read_in_the_order_in_which_they_are_given(score: Score, workdir: Path) -> None:
    table = numbers(9)
    for name, start in (("z", 0), ("a", 3), ("m", 6)):
        write(workdir / f"{name}.parquet", table.slice(start, 3))
    assert score(input=["z.parquet", "a.parquet", "m.parquet", "z.parquet"]).code == 0
    assert pq.read_table("out")["id"].to_pylist() == list(range(9))


def test_preprocess_and_postprocess_run_around_the_model(
    score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    table = numbers(200)
    write(workdir / "in.parquet", table)
    flags = ["--preprocess", "odd_models:double_a", "--postprocess", "odd_models:shout"]

    refused = score(*flags)
    assert refused.code == 4
    assert "--allow-code" in refused.err
    assert not Path("out").exists()

    ended = score(*flags, "--allow-code")
    assert ended.code == 0, ended.err
    frame = table.select(NUMBERS).to_pandas()
    expected = [word.upper() for word in classifier.predict(frame.assign(a=frame.a * 2))]
    scored = pq.read_table("out")
    assert scored.column_names == [*table.column_names, "shouted", "model_version"]
    assert scored["shouted"].to_pylist() == expected
    assert scored["a"].equals(table["a"])


def test_columns_of_any_type_pass_through_unharmed(score: Score, workdir: Path) -> None:
    table = numbers(4)
    others: dict[str, Any] = {
        "list": pa.array([[1, 2], [], None, [3]], pa.list_(pa.int32())),
        "struct": pa.array([{"x": 1, "y": {"z": "q"}}] * 3 + [None]),
        "map": pa.array([[("k", 1)], [], None, [("l", None)]], pa.map_(pa.string(), pa.int64())),
        "word": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "when": pa.array([datetime(2024, 2, 29, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")),
        "money": pa.array([Decimal("1.10"), None, Decimal("-9.99"), Decimal(0)]),
        "bytes": pa.array([b"\x00\xff", b"", None, b"x"]),
        "big": pa.array([2**64 - 1, 0, None, 1], pa.uint64()),
        "a name, with 'quotes\" and a.dot": pa.array([1, 2, 3, 4], pa.int8()),
        "struct.x": pa.array([True, None, False, True]),
    }
    for name, column in others.items():
        table = table.append_column(name, column)
    write(workdir / "in.parquet", table, row_group_size=3)

    assert score().code == 0
    kept = pq.read_table("out").select(table.column_names)
    assert kept.equals(table)

    assert score("--keep", "struct.x,struct", output="nested").code == 0
    assert (
        pq.read_table("nested")
        .select(["struct.x", "struct"])
        .equals(table.select(["struct.x", "struct"]))
    )


def test_one_file_with_everything_else_beside_it(score: Score, workdir: Path) -> None:
    table = numbers(100)
    table = table.set_column(0, "a", pa.array([None, *table["a"].to_pylist()[1:]]))
    for number in range(2):
        write(workdir / f"in-{number}.parquet", table.slice(50 * number, 50), row_group_size=20)

    assert score(input="in-*.parquet", output="o/out.parquet").code == 0

    assert files_below(workdir / "o") == [
        *("out.parquet", "out.parquet.dead_letters.parquet", "out.parquet.run/RUN/_SUCCESS"),
        *("out.parquet.run/RUN/commit.json", "out.parquet.run/RUN/job.yaml"),
        "out.parquet.run/RUN/report.json",
    ]
    assert pq.read_table("o/out.parquet")["id"].to_pylist() == list(range(1, 100))
    assert pq.read_table("o/out.parquet.dead_letters.parquet").num_rows == 1


def test_dead_letters_and_report_go_where_they_are_told(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", alike([1.0, None]))
    flags = ["--dead-letters", "dead/d.parquet", "--report", "runs", "--max-dead-letter-ratio", "1"]

    assert score(*flags).code == 0

    assert files_below(workdir / "out") == ["part-00000.parquet"]
    assert files_below(workdir / "runs") == [
        *("RUN/_SUCCESS", "RUN/commit.json", "RUN/job.yaml", "RUN/report.json")
    ]
    assert pq.read_table("dead/d.parquet").num_rows == 1


@pytest.mark.parametrize(
    "flag", [("--dead-letters", "out/dead"), ("--report", "out"), ("--dead-letters", "out")]
)
def test_what_readers_would_take_for_predictions_is_refused(
    score: Score, workdir: Path, flag: tuple[str, str]
) -> None:
    write(workdir / "in.parquet", numbers(5))
    ended = score(*flag)
    assert ended.code == 2
    assert "Choose a place outside" in ended.err
    assert not Path("out").exists()


def test_too_many_dead_letters_end_with_code_3_and_leave_the_outputs(
    score: Score, workdir: Path
) -> None:
    values = [None, 1.0, 1.0, 1.0]
    write(workdir / "in.parquet", alike(values))

    ended = score("--max-dead-letter-ratio", "0.2")

    assert ended.code == 3
    assert "more dead letters than the limit" in ended.err
    assert "--overwrite --max-dead-letter-ratio 0.25" in ended.err
    assert files_below(workdir / "out") == [
        *("_dead_letters/part-00000-conform.parquet", "_run/RUN/commit.json", "_run/RUN/job.yaml"),
        *("_run/RUN/report.json", "part-00000.parquet"),
    ]
    assert pq.read_table("out").num_rows == 3

    again = score("--overwrite", "--max-dead-letter-ratio", "0.25")
    assert again.code == 0


def test_the_limit_itself_is_no_breach(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", alike([None, 1.0, 1.0, 1.0]))
    assert score("--max-dead-letter-ratio", "0.25").code == 0


def test_the_command_that_shows_dead_letters_works(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", alike([None, 1.0]))
    ended = score("--max-dead-letter-ratio", "1", output="it's $HOME")
    (line,) = [line for line in ended.err.splitlines() if line.startswith("look at them:")]
    command = line.removeprefix("look at them:").strip()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shown = subprocess.run(
        command, shell=True, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert "in.parquet#0" in shown.stdout, shown.stderr


def test_a_repeat_is_refused_and_changes_nothing(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(10))
    assert score().code == 0
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}

    ended = score()

    assert ended.code == 2
    assert "--output out exists: out/part-00000.parquet" in ended.err
    assert "--overwrite" in ended.err
    assert before == {
        path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()
    }


def test_overwrite_replaces_and_leaves_no_old_part(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = alike([None, *[1.0] * 99])
    write(workdir / "in.parquet", table, row_group_size=20)
    with monkeypatch.context() as patch:
        patch.setattr("scoreline.transforms.splits._MAX_SPLIT_BYTES", 1)
        assert score().code == 0
    assert len(list(Path("out").glob("part-*"))) == 5
    write(workdir / "small.parquet", numbers(7))

    assert score("--overwrite", input="small.parquet").code == 0

    assert [path.name for path in Path("out").glob("part-*")] == ["part-00000.parquet"]
    assert not list(Path("out/_dead_letters").glob("*"))
    assert pq.read_table("out")["id"].to_pylist() == list(range(7))
    assert len(list(Path("out/_run").iterdir())) == 2


def test_files_that_are_not_ours_are_refused_even_with_overwrite(
    score: Score, workdir: Path
) -> None:
    write(workdir / "in.parquet", numbers(5))
    write(workdir / "out/mine.parquet", numbers(5))
    ended = score("--overwrite")
    assert ended.code == 2
    assert "out/mine.parquet" in ended.err
    assert "Choose an empty or new --output" in ended.err
    assert files_below(workdir / "out") == ["mine.parquet"]


@pytest.mark.parametrize("output", ["in.parquet", "./in.parquet", "{absolute}"])
def test_the_input_is_never_overwritten(score: Score, workdir: Path, output: str) -> None:
    path = write(workdir / "in.parquet", numbers(5))
    before = path.read_bytes()
    ended = score("--overwrite", output=output.format(absolute=path))
    assert ended.code == 2
    assert "is both input and output" in ended.err
    assert path.read_bytes() == before


def test_an_earlier_output_can_be_an_input(score: Score, workdir: Path) -> None:
    values = [None, *[1.0] * 30]
    write(workdir / "in.parquet", alike(values))
    assert score("--keep", "a,b,c").code == 0
    ended = score("--keep", "a", input="out", output="second")
    assert ended.code == 0, ended.err
    assert pq.read_table("second").num_rows == 30


def test_output_json_is_one_document_on_stdout(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5))
    ended = score("--output-json", "--quiet")
    assert ended.code == 0
    assert ended.err == ""
    report = json.loads(ended.out)
    assert report == report_of(workdir / "out/_run")
    assert {"run_id", "job", "runner", "started_at", "duration_secs", "rows"} <= report.keys()
    assert report["job"] == "churn"
    assert report["model"]["format"] == "pickle"
    assert report["exit_code"] == 0


def test_output_json_without_quiet_still_prints_for_a_person_on_stderr(
    score: Score, workdir: Path
) -> None:
    write(workdir / "in.parquet", numbers(5))
    ended = score("--output-json")
    json.loads(ended.out)
    assert "predicted     5" in ended.err


def test_quiet_prints_errors_only(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5))
    assert score("--quiet") == Ended(0, "", "")
    assert score("--quiet").err.startswith("scoreline: --output out exists")


def test_the_job_has_a_name(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5))
    assert score("--name", "tuesday").code == 0
    assert report_of(workdir / "out/_run")["job"] == "tuesday"


def test_the_run_folder_holds_the_resolved_job(score: Score, workdir: Path) -> None:
    import yaml

    write(workdir / "in.parquet", numbers(5))
    assert score().code == 0
    (path,) = Path("out/_run").glob("*/job.yaml")
    job = yaml.safe_load(path.read_text())
    assert job["source"]["path"] == ["in.parquet"]
    assert job["source"]["format"] is None
    assert job["source"]["csv"]["delimiter"] == ","
    assert job["model"]["outputs"] == ["predict"]
    (sink,) = job["sinks"]
    named = {"type": "files", "path": "out", "format": None, "keep": None}
    assert sink == named | {"row_id": False, "flush_secs": None}
    assert job["dead_letters"]["max_ratio"] == 0.05


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_other_modes_of_the_runner_give_the_same(
    score: Score,
    workdir: Path,
    classifier: LogisticRegression,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scoreline.transforms.splits._MAX_SPLIT_BYTES", 1)
    table = numbers(1000)
    table = table.set_column(2, "c", pa.array([None, *table["c"].to_pylist()[1:]]))
    write(workdir / "in.parquet", table, row_group_size=200)

    ended = score("--direct_num_workers=2", f"--direct_running_mode={mode}", "--row-id")

    assert ended.code == 0, ended.err
    assert len(list(Path("out").glob("part-*"))) == 5
    scored = pq.read_table("out")
    assert scored["id"].to_pylist() == list(range(1, 1000))
    assert scored["row_id"][0].as_py() == "in.parquet#1"
    frame = table.slice(1).select(NUMBERS).to_pandas()
    assert scored["prediction"].to_pylist() == classifier.predict(frame).tolist()
    assert pq.read_table("out/_dead_letters")["position"].to_pylist() == ["0"]


def test_poison_rows_first_last_and_in_between(score: Score, workdir: Path) -> None:
    values = [float(row) for row in range(500)]
    values[0] = values[250] = values[-1] = 901.0
    joblib.dump(odd_models.Picky(), workdir / "m.joblib")
    write(workdir / "in.parquet", pa.table({"x": values}))

    ended = score(model="m.joblib")

    assert ended.code == 0, ended.err
    dead = pq.read_table("out/_dead_letters")
    assert dead["position"].to_pylist() == ["0", "250", "499"]
    assert set(dead["error_class"].to_pylist()) == {"ArithmeticError"}
    assert dead["error_message"][0].as_py() == "cannot\ncompute [901]"
    good = [value for value in values if value != 901]
    assert pq.read_table("out")["prediction"].to_pylist() == [2 * value for value in good]
    # On one line, and not taken for a terminal's markup.
    assert "e.g. in.parquet#0: cannot compute [901]" in ended.err


def test_poison_in_every_row(score: Score, workdir: Path) -> None:
    joblib.dump(odd_models.Picky(), workdir / "m.joblib")
    write(workdir / "in.parquet", pa.table({"x": [1000.0] * 20}))
    ended = score(model="m.joblib")
    assert ended.code == 3
    assert pq.read_table("out").num_rows == 0
    assert pq.read_table("out").schema.names == ["x", "prediction", "model_version"]
    assert pq.read_table("out/_dead_letters").num_rows == 20
