"""`check`: what it finds, that it ends as the run would, and that it changes nothing."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import pyarrow as pa
import pytest
from jobs import write_job
from running import Ended, numbers, write
from written import write_as

Scoreline = Callable[..., Ended]


def test_what_a_check_finds(scoreline: Scoreline, workdir: Path, classifier_file: Path) -> None:
    for number in range(3):
        write(workdir / f"d/{number}.parquet", numbers(1000))
    sinks = [{"path": "out", "row_id": True}, {"path": "scores.csv", "keep": ["id"]}]
    job = write_job(classifier_file, source={"path": "d"}, sinks=sinks)

    ended = scoreline("check", job, "--output-json")

    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["input"] | {"bytes": 0} == {
        "format": "parquet",
        "files": 3,
        "rows": 3000,
        "bytes": 0,
        "splits": 1,
        "read_by_one_worker": [],
        "columns": {"a": "double", "b": "double", "c": "double", "id": "int64"},
    }
    assert found["input"]["bytes"] > 10_000
    assert found["model"]["name"] == "churn"
    assert found["model"]["columns"] == dict.fromkeys("abc", "number, not null")
    added = {"prediction": "string", "model_version": "string"}
    assert found["outputs"] == [
        {
            "path": "out",
            "files": "part-*.parquet",
            "columns": {**found["input"]["columns"], **added, "row_id": "string"},
        },
        {"path": "scores.csv", "files": "one file", "columns": {"id": "int64", **added}},
    ]
    assert found["dead_letters"] == "out/_dead_letters"
    assert found["reports"] == "out/_run"
    assert found["runner"] == "DirectRunner"
    assert found["exit_code"] == 0
    assert not Path("out").exists()


def test_a_dry_run_of_a_job_file_is_a_check(
    scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    """Beam has a flag of this name, too, with which it would run the job."""
    write(workdir / "d/0.parquet", numbers(10))
    job = write_job(classifier_file, source={"path": "d"}, sinks=[{"path": "out"}])
    checked, dry = scoreline("check", job), scoreline("run", job, "--dry-run")
    assert (dry.code, dry.out, dry.err) == (0, checked.out, checked.err)
    assert not Path("out").exists()


def test_what_a_person_reads_of_it(
    scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    write_as(workdir / "in.csv.gz", numbers(10))
    ended = scoreline("check", write_job(classifier_file, source={"path": "in.csv.gz"}))
    size = Path("in.csv.gz").stat().st_size
    assert ended.err.splitlines() == [
        f"input      1 csv file, rows not counted yet, {size} bytes, in 1 split",
        *("           a: double", "           b: double", "           c: double"),
        "           id: int64",
        "           1 of them can only be read from start to end, each by one worker: compressed "
        "text, Avro, or CSV with line breaks in values (in.csv.gz)",
        *[line for line in ended.err.splitlines() if line.startswith("model ")],
        *("           a: number, not null", "           b: number, not null"),
        "           c: number, not null",
        "output     out (part-*.parquet)",
        *("           a: double", "           b: double", "           c: double"),
        *("           id: int64", "           prediction: string"),
        "           model_version: string",
        "rejected   out/_dead_letters (at most 5.00%)",
        "reports    out/_run",
        "runner     DirectRunner",
        "nothing was read but heads, and nothing was written: the job can start.",
    ]
    assert ended.out == ""
    assert scoreline("check", "job.yaml", "--quiet") == Ended(0, "", "")


def no_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode != os.W_OK | os.X_OK and access(path, mode)
    )


def break_nothing(_: pytest.MonkeyPatch) -> None:
    pass


UNFIT = [
    ({"source": {"path": "nothing.parquet"}}, break_nothing, 2, "no file matches"),
    ({"source": {"path": "in.parquet", "columns": ["a", "b"]}}, break_nothing, 2, "needs columns"),
    ({"source": {"path": "job.yaml", "format": "parquet"}}, break_nothing, 2, "cannot read"),
    ({"model": {"uri": "nothing.joblib"}}, break_nothing, 4, "nothing.joblib: it does not exist"),
    ({"model": {"uri": "in.parquet"}}, break_nothing, 4, "in.parquet"),
    ({}, no_rights, 2, "--output: no right to write to"),
    ({"sinks": [{"path": "in.parquet/out"}]}, break_nothing, 2, "is a file, not a folder"),
    ({"sinks": [{"path": "full"}]}, break_nothing, 2, "full exists: full/part-00000.parquet"),
    ({"sinks": [{"path": "out", "keep": ["x"]}]}, break_nothing, 2, "--keep x"),
    ({"sinks": [{"path": "a.csv", "format": "json"}]}, break_nothing, 2, "leave one of the two"),
    ({"sinks": [{"pth": "out"}]}, break_nothing, 2, "sinks.0.pth: unknown key"),
]


@pytest.mark.parametrize(("changes", "break_", "code", "said"), UNFIT)
@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_check_ends_as_the_run_would(
    scoreline: Scoreline,
    workdir: Path,
    classifier_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    changes: dict[str, Any],
    break_: Callable[[pytest.MonkeyPatch], None],
    code: int,
    said: str,
) -> None:
    write(workdir / "in.parquet", numbers(5))
    write(workdir / "full/part-00000.parquet", numbers(5))
    job = write_job(classifier_file, **changes)
    before = sorted(workdir.rglob("*"))
    break_(monkeypatch)
    ended = scoreline(verb, job)
    assert ended.code == code, ended.err
    assert said in ended.err
    assert sorted(workdir.rglob("*")) == before


def test_a_model_whose_outputs_are_told_by_the_first_rows(
    scoreline: Scoreline, workdir: Path
) -> None:
    """A model that refuses the made-up row may take the real ones."""
    import joblib
    import odd_models

    joblib.dump(odd_models.Picky(), workdir / "m.joblib")
    write(workdir / "in.parquet", pa.table({"x": [1.0]}))
    ended = scoreline("check", write_job(Path("m.joblib")), "--output-json", "--quiet")
    assert ended.code == 0, ended.err
    columns = json.loads(ended.out)["outputs"][0]["columns"]
    assert columns["prediction"] in ("double", "told by the first rows")


def test_the_schema_is_json_schema_of_every_job(
    scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    ended = scoreline("schema")
    assert ended.code == 0
    assert ended.err == ""
    schema = json.loads(ended.out)
    _check_schema(schema, schema)
    assert list(schema["properties"]) == [
        *("name", "source", "model", "max_latency_secs", "resources"),
        *("sinks", "dead_letters", "report"),
    ]
    assert schema["required"] == ["name", "source", "model", "sinks"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["FilesSource"]["properties"]["format"]["anyOf"][0]["enum"] == [
        *("parquet", "json", "csv", "avro")
    ]
    # An editor must take what the loader takes: one string for a list of one.
    for key in ("path", "columns"):
        kinds = _kinds(schema["$defs"]["FilesSource"]["properties"][key])
        assert {"string", "array"} <= kinds, key


def _kinds(node: dict[str, Any]) -> set[str]:
    if "anyOf" in node:
        return {kind for option in node["anyOf"] for kind in _kinds(option)}
    return {node["type"]}


def _check_schema(node: Any, root: dict[str, Any]) -> None:
    """Every reference leads somewhere, every type is one of JSON's."""
    if isinstance(node, list):
        for inner in node:
            _check_schema(inner, root)
    if not isinstance(node, dict):
        return
    if "$ref" in node:
        assert node["$ref"].removeprefix("#/$defs/") in root["$defs"]
    if isinstance(node.get("type"), str):
        assert node["type"] in {
            *("object", "array", "string", "number", "integer", "boolean", "null")
        }
    for inner in node.values():
        _check_schema(inner, root)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_all_verbs_and_flags(scoreline: Scoreline, shell: str) -> None:
    ended = scoreline("completion", shell)
    assert ended.code == 0
    assert ended.err == ""
    for word in ("score", "run", "check", "schema", "model", "template", "completion"):
        assert word in ended.out
    for flag in ("input-format", "max-dead-letter-ratio", "set", "output-json"):
        assert (f"-l {flag} " if shell == "fish" else f"--{flag}") in ended.out
    if which(shell):
        checked = subprocess.run([shell, "-n"], input=ended.out, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr


COMPLETED = {
    ("scoreline", ""): ["check", "completion", "model", "run", "schema", "score", "template"],
    ("scoreline", "sc"): ["schema", "score"],
    ("scoreline", "score", "--out"): ["--output", "--output-format", "--output-json", "--outputs"],
    ("scoreline", "run", "--s"): ["--set", "--status-secs"],
    ("scoreline", "model", ""): ["inspect"],
    ("scoreline", "model", "inspect", "m.skops", "--c"): ["--contract-yaml"],
    ("scoreline", "completion", ""): ["bash", "fish", "zsh"],
    ("scoreline", "score", "--input-format", ""): ["avro", "csv", "json", "parquet", "raw"],
    ("scoreline", "score", "--output-format", "p"): ["parquet"],
    ("scoreline", "score", "in"): [],
}


@pytest.mark.skipif(which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize("words", COMPLETED, ids=" ".join)
def test_completion_in_bash(scoreline: Scoreline, words: tuple[str, ...]) -> None:
    script = scoreline("completion", "bash").out
    ask = (
        f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
        '_scoreline; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    ended = subprocess.run(["bash"], input=script + ask, text=True, capture_output=True)
    assert ended.stderr == ""
    assert sorted(set(ended.stdout.split())) == COMPLETED[words]


def test_completion_of_an_unknown_shell(scoreline: Scoreline) -> None:
    ended = scoreline("completion", "tcsh")
    assert ended.code == 2
    assert "invalid choice: 'tcsh'" in ended.err
    assert "choose from bash, zsh, fish" in ended.err.replace("'", "")
