"""Job files, run: several outputs, settings, variables, limits, and what the flags stand for."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from jobs import write_job
from killed import kill
from running import NUMBERS, Ended, files_below, numbers, write
from sklearn.linear_model import LogisticRegression
from written import read_back, write_as

Score = Callable[..., Ended]
Scoreline = Callable[..., Ended]

TWO = [{"path": "one", "keep": ["id"]}, {"path": "two", "format": "json", "row_id": True}]


def report_of(folder: str) -> dict[str, Any]:
    (path,) = Path(folder).glob("*/report.json")
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def test_several_sinks_each_with_its_own_columns_and_format(
    scoreline: Scoreline, workdir: Path, classifier: LogisticRegression, classifier_file: Path
) -> None:
    table = numbers(50).set_column(0, "a", pa.array([None, *numbers(50)["a"].to_pylist()[1:]]))
    write(workdir / "in.parquet", table)
    sinks = [*TWO, {"path": "three.csv", "keep": ["b", "id"]}, {"path": "four", "format": "avro"}]

    ended = scoreline("run", write_job(classifier_file, sinks=sinks))

    assert ended.code == 0, ended.err
    expected = classifier.predict(table.slice(1).select(NUMBERS).to_pandas()).tolist()
    outputs = {name: read_back(Path(name)) for name in ("one", "two", "three.csv", "four")}
    for rows in outputs.values():
        assert [row["prediction"] for row in rows] == expected
        assert [row["id"] for row in rows] == list(range(1, 50))
    added = ["prediction", "model_version"]
    assert {name: list(rows[0]) for name, rows in outputs.items()} == {
        "one": ["id", *added],
        "two": ["a", "b", "c", "id", *added, "row_id"],
        "three.csv": ["b", "id", *added],
        "four": ["a", "b", "c", "id", *added],
    }
    assert outputs["two"][0]["row_id"] == "in.parquet#1"
    report = report_of("one/_run")
    assert report["rows"]["predicted"] == 49
    assert report["outputs"] == ["one", "two", "three.csv", "four"]
    for path in report["outputs"]:
        assert f" {path}\n" in ended.err
    # Dead letters and the run folder are the first one's; nothing is left at the others.
    assert files_below(Path("two")) == ["part-00000.jsonl"]
    assert files_below(Path("four")) == ["part-00000.avro"]
    assert not Path("three.csv.run").exists()
    assert pq.read_table("one/_dead_letters").num_rows == 1


def test_one_output_that_is_there_stops_all(
    scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    write(workdir / "in.parquet", numbers(5))
    job = write_job(classifier_file, sinks=TWO)
    assert scoreline("run", job, "--set", "sinks=[{path: two, format: json}]").code == 0
    ended = scoreline("run", job)
    assert ended.code == 2
    assert "two exists: two/part-00000.jsonl" in ended.err
    assert not Path("one").exists()
    assert scoreline("run", job, "--overwrite").code == 0
    assert len(read_back(Path("one"))) == len(read_back(Path("two"))) == 5


@contextmanager
def commit_fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets no file be made final, once the intent is written."""

    def fail(*_: Any) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr("scoreline.transforms.commit.move", fail)
        yield


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("scoreline.transforms.commit.move 2 before", "completed run"),
        ("scoreline.pipelines.heartbeat.Heartbeat.stop 2 before", "had finished"),
        ("scoreline.transforms.part_writer.create 2 after", "removed what run"),
    ],
)
def test_a_killed_run_with_two_sinks_is_removed_or_completed(
    scoreline: Scoreline, workdir: Path, classifier_file: Path, where: str, said: str
) -> None:
    write(workdir / "in.parquet", numbers(100))
    job = write_job(classifier_file, sinks=TWO)
    kill(where, "run", job)

    ended = scoreline("run", job)

    assert ended.code == 0, ended.err
    (note,) = [line for line in ended.err.splitlines() if "interrupted" in line]
    assert said in note
    assert [row["id"] for row in read_back(Path("one"))] == list(range(100))
    assert [row["id"] for row in read_back(Path("two"))] == list(range(100))
    assert files_below(Path("two")) == ["part-00000.jsonl"]
    assert len(files_below(Path("one"))) == 5


def test_the_second_output_of_a_killed_run_can_be_completed_by_itself(
    score: Score,
    scoreline: Scoreline,
    workdir: Path,
    classifier_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(workdir / "in.parquet", numbers(100))
    with commit_fails(monkeypatch):
        assert scoreline("run", write_job(classifier_file, sinks=TWO)).code == 1
    ended = score(output="two")
    assert ended.code == 2
    assert "completed run" in ended.err
    assert "two exists" in ended.err
    assert len(read_back(Path("one"))) == len(read_back(Path("two"))) == 100


def test_two_runs_into_one_second_sink(workdir: Path, classifier_file: Path) -> None:
    """One of them gets it; the other one says who has it and leaves nothing."""
    write(workdir / "in.parquet", numbers(200_000), row_group_size=2_000)
    model = {
        "uri": str(classifier_file),
        "preprocess": "odd_models:slow",
        "trust": {"allow_pickle": True, "allow_code": True},
    }
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    processes = []
    for first in ("left", "right"):
        sinks = [{"path": first}, {"path": "shared"}]
        write_job(classifier_file, model=model, sinks=sinks)
        Path("job.yaml").rename(f"{first}.yaml")
        command = [sys.executable, "-m", "scoreline", "run", f"{first}.yaml"]
        processes.append(
            subprocess.Popen(
                command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
            )
        )
    said = {process.communicate(timeout=60)[1]: process.returncode for process in processes}
    assert sorted(said.values()) == [0, 2], said
    loser = next(err for err, code in said.items() if code == 2)
    assert "is writing to shared now (process" in loser
    assert pq.read_table("shared").num_rows == 200_000
    assert sum(Path(first).exists() for first in ("left", "right")) == 1
    assert files_below(Path("shared")) == ["part-00000.parquet"]


def test_rename_and_columns(
    score: Score, scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    table = numbers(30)
    write(workdir / "plain.parquet", table)
    assert score(input="plain.parquet").code == 0
    expected = pq.read_table("out")["prediction"]
    odd = table.rename_columns(["b", "Bee", "c", "key"])  # b is what the model calls a
    for name in ("in.parquet", "in.csv", "in.jsonl", "in.avro"):
        write_as(workdir / name, odd.append_column("more", table["c"]))
        flags = ["--rename", "b=a,Bee=b", "--columns", "Bee,b,c,key", "--overwrite"]
        ended = score(*flags, input=name)
        assert ended.code == 0, ended.err
        scored = pq.read_table("out")
        assert scored.column_names == ["b", "a", "c", "key", "prediction", "model_version"]
        assert scored["prediction"].equals(expected)
        assert scored["a"].equals(table["a"])
    source = {"path": "in.csv", "rename": {"b": "a", "Bee": "b"}, "columns": ["b", "Bee", "c"]}
    assert scoreline("run", write_job(classifier_file, source=source), "--overwrite").code == 0
    scored = pq.read_table("out")
    assert scored.column_names == ["a", "b", "c", "prediction", "model_version"]
    assert scored["prediction"].equals(expected)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--columns", "a,bb"], "no column 'bb': it has ['a', 'b', 'c', 'id']; did you mean b?"),
        (["--rename", "ids=x"], "no column 'ids': it has ['a', 'b', 'c', 'id']; did you mean id?"),
        (["--rename", "a=b"], "after source.rename (--rename) several columns are named ['b']"),
        (["--rename", "id=_scoreline_x"], "names that start with _scoreline_ are scoreline's own"),
        (["--rename", "a"], "--rename: expected OLD=NEW with commas between, got 'a'"),
        (["--limit", "0"], "--limit: expected a whole number from 1 on, got '0'"),
    ],
)
def test_columns_that_are_not_there(
    score: Score, workdir: Path, flags: list[str], words: str
) -> None:
    write(workdir / "in.parquet", numbers(5))
    ended = score(*flags)
    assert ended.code == 2
    assert words in ended.err
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl.gz", "in.avro"])
@pytest.mark.parametrize("limit", [7, 25, 100])
def test_a_limit_reads_exactly_so_many_rows(
    score: Score, workdir: Path, name: str, limit: int
) -> None:
    stem, _, extension = name.partition(".")
    for number in range(2):
        write_as(workdir / f"d/{stem}{number}.{extension}", numbers(40).slice(20 * number, 20))
    ended = score("--limit", str(limit), "--output-json", input="d")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    wanted = min(limit, 40)
    assert report["rows"]["read"] == report["rows"]["predicted"] == wanted
    assert report["limit"] == limit
    assert report["unaccounted"] == []
    assert pq.read_table("out")["id"].to_pylist() == list(range(wanted))
    assert (f"{wanted} rows, where --limit {limit} ended the run" in ended.err) == (limit < 40)


def test_a_limit_counts_dead_letters_too(score: Score, workdir: Path) -> None:
    Path("in.csv").write_text("a,b,c\n1,2,3\nbroken\n4,5,6\n7,8,9\n")
    flags = ["--limit", "3", "--max-dead-letter-ratio", "1", "--output-json"]
    ended = score(*flags, input="in.csv")
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)["rows"]
    assert rows["read"] == 3
    assert rows["predicted"] + rows["dead_lettered"] == 3


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl.gz", "in.avro"])
def test_a_dry_run_touches_nothing(score: Score, workdir: Path, name: str) -> None:
    write_as(workdir / name, numbers(50))
    before = tree(workdir)
    ended = score("--dry-run", input=name, output="deep/out")
    assert ended.code == 0, ended.err
    assert "nothing was read but heads, and nothing was written: the job can start." in ended.err
    assert tree(workdir) == before


def test_a_dry_run_over_an_earlier_output_touches_nothing(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(50))
    assert score().code == 0
    before = tree(workdir)
    assert score("--dry-run").code == 2
    assert score("--dry-run", "--overwrite").code == 0
    assert tree(workdir) == before


def test_what_print_job_prints_does_the_same(
    score: Score, scoreline: Scoreline, workdir: Path
) -> None:
    numbers(40).rename_columns(["A", "b", "c", "id"]).to_pandas().to_csv(
        "in.csv", sep=";", index=False
    )
    flags = [
        *("--rename", "A=a", "--csv-delimiter", ";", "--keep", "id,a", "--row-id", "--limit", "30"),
        *("--outputs", "predict,predict_proba", "--output-format", "csv", "--name", "n"),
        *("--dead-letters", "dead", "--max-dead-letter-ratio", "0.5", "--report", "runs"),
    ]
    before = tree(workdir)
    printed = score(*flags, "--print-job", input="in.csv")
    assert printed.code == 0
    assert printed.err == ""
    assert tree(workdir) == before

    assert score(*flags, input="in.csv").code == 0
    by_flags = Path("out/part-00000.csv").read_bytes()
    (flags_job,) = Path("runs").glob("*/job.yaml")
    assert flags_job.read_text() == printed.out
    Path("printed.yaml").write_text(printed.out)
    ended = scoreline("run", "printed.yaml", "--overwrite")
    assert ended.code == 0, ended.err
    assert Path("out/part-00000.csv").read_bytes() == by_flags
    again = scoreline("run", str(flags_job), "--overwrite")
    assert again.code == 0, again.err


def test_settings_change_a_job_for_one_run(
    scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    write(workdir / "in.parquet", numbers(10))
    job = write_job(classifier_file)
    before = Path(job).read_text()
    ended = scoreline(
        *("run", "--set", "sinks.0.path=other", job, "--set=source.limit=4", "--output-json"),
        *("--set", "model.outputs=[predict, predict_proba]", "--quiet"),
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["rows"]["read"] == 4
    assert "probability_yes" in pq.read_table("other").column_names
    assert not Path("out").exists()
    assert Path(job).read_text() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "the following arguments are required: JOB.yaml. See scoreline run --help"),
        (["run", "jobb.yaml"], "no job file jobb.yaml. Did you mean job.yaml?"),
        (["run", "job.yaml", "other.yaml"], "unexpected 'other.yaml'"),
        (["run", "job.yaml", "--set", "nam=x"], "nam: unknown key; did you mean 'name'?"),
        (["run", "job.yaml", "--input", "x"], "unknown flag --input"),
        (["check", "nothing/job.yaml"], "no job file nothing/job.yaml"),
    ],
)
def test_wrong_words(
    scoreline: Scoreline, workdir: Path, classifier_file: Path, words: list[str], said: str
) -> None:
    write_job(classifier_file)
    ended = scoreline(*words)
    assert ended.code == 2
    assert said in ended.err
    assert ended.out == ""


SECRET = "hunter2-is-no-password"


def test_what_a_variable_holds_is_nowhere_in_the_run_folder(
    scoreline: Scoreline,
    workdir: Path,
    classifier: LogisticRegression,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    joblib.dump(classifier, workdir / f"{SECRET}.joblib")
    table = numbers(40).set_column(0, "a", pa.array([None, *[1.0] * 39]))
    write(workdir / SECRET / "in.parquet", table)
    job = write_job(
        Path("${TOKEN}.joblib"),
        name="job of ${TOKEN}",
        source={"path": "${TOKEN}/in.parquet", "csv": {"null_values": ["${TOKEN}"]}},
        sinks=[{"path": "out"}, {"path": "other.csv"}],
    )

    ended = scoreline("run", job)

    assert ended.code == 0, ended.err
    left = [path for path in Path("out/_run").rglob("*") if path.is_file()]
    assert sorted(path.name for path in left) == [
        *("_SUCCESS", "commit.json", "job.yaml", "report.json")
    ]
    (job_file,) = Path("out/_run").glob("*/job.yaml")
    assert "${TOKEN}/in.parquet" in job_file.read_text()
    report = report_of("out/_run")
    assert report["job"] == "job of ${TOKEN}"
    assert report["model"]["uri"] == "${TOKEN}.joblib"
    for path in left:
        assert SECRET not in path.read_text(), path
    assert scoreline("run", job, "--overwrite").code == 0
    assert scoreline("run", str(job_file), "--overwrite").code == 0


def test_a_variable_in_the_path_of_an_output_names_a_place(
    scoreline: Scoreline, workdir: Path, classifier_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent and the report say where files are: whoever rolls forward must find them."""
    monkeypatch.setenv("DAY", "2024-02-29")
    write(workdir / "in.parquet", numbers(5))
    job = write_job(classifier_file, sinks=[{"path": "out/day=${DAY}"}])
    with commit_fails(monkeypatch):
        assert scoreline("run", job).code == 1
    ended = scoreline("run", job, "--output-json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["output"] == "out/day=2024-02-29"
    assert pq.read_table("out/day=2024-02-29").num_rows == 5
    (job_file,) = Path("out").glob("*/_run/*/job.yaml")
    assert yaml.safe_load(job_file.read_text())["sinks"][0]["path"] == "out/day=${DAY}"


def test_a_variable_that_is_not_set(
    scoreline: Scoreline, workdir: Path, classifier_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    job = write_job(classifier_file, sinks=[{"path": "gs://${NO_SUCH}/out"}])
    ended = scoreline("run", job)
    assert ended.code == 2
    assert "sinks.0.path: the environment variable NO_SUCH is not set" in ended.err
