"""What the launcher starts: parameters become a command."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import Ended

from scoreline.pipelines import template_program
from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job import make_job
from scoreline.pipelines.job_file import read_job_values
from scoreline.pipelines.template_parameters import JOB_FILE, parameters
from scoreline.pipelines.template_program import (
    IMAGE_VARIABLE,
    Given,
    command_of,
    read_parameters,
)

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "templates" / "dataflow" / "main.py"
NEEDED = {
    "input": "gs://b/in/*.parquet",
    "model": "gs://b/churn.joblib",
    "output": "gs://b/scores",
}
FULL = {
    **NEEDED,
    "outputs": "predict,predict_proba",
    "input_format": "parquet",
    "keep": "id, plan",
    "overwrite": "true",
    "report": "gs://b/runs",
    "dead_letters": "gs://b/rejected",
    "max_dead_letter_ratio": "0.2",
    "allow_pickle": "true",
    "sha256": "ab" * 32,
    "skops_types": "a.B",
    "allow_code": "true",
}
STREAM = {
    **FULL,
    "input": "pubsub://projects/p/subscriptions/s",
    "output": "pubsub://projects/p/topics/scores",
    "dead_letters": "pubsub://projects/p/topics/rejected",
    "input_format": "json",
    "max_latency_secs": "0.5",
    "types": "id=int64,at=timestamp",
}
del STREAM["overwrite"]  # not for a stream
TABLES = {
    **NEEDED,
    "input": "bq://shop.sales.orders",
    "output": "bq://shop.ml.scores",
    "dead_letters": "bq://shop.ml.rejected",
    "report": "gs://b/runs",
}
LAUNCHER = [
    "--runner=DataflowRunner",
    "--project=p",
    "--region=r",
    "--job_name=nightly",
    "--staging_location=gs://b/staging",
    "--temp_location=gs://b/temp",
    "--template_location=gs://b/template_launches/job_object",
]


def words(values: dict[str, str]) -> list[str]:
    """As the launcher calls the program: in no order that anybody promised."""
    found = [*(f"--{name}={value}" for name, value in values.items()), *LAUNCHER]
    random.Random(len(found)).shuffle(found)
    return found


def printed(scoreline: Callable[..., Ended], command: list[str]) -> Any:
    ours = [word for word in command if word not in LAUNCHER and word != "--overwrite=true"]
    ended = scoreline(*ours, "--print-job")
    assert ended.code == 0, ended.err
    return yaml.safe_load(ended.out)


def test_parameters_become_the_flags_of_score() -> None:
    command = command_of(read_parameters(words(FULL)))
    ours = [word for word in command if word not in LAUNCHER]
    assert ours == [
        "score",
        *(f"--{n.replace('_', '-')}={FULL[n]}" for n in parameters() if n in FULL),
    ]
    assert sorted(command[len(ours) :]) == sorted(LAUNCHER)


@pytest.mark.parametrize(
    "values", [NEEDED, FULL, STREAM, TABLES], ids=["needed", "full", "stream", "tables"]
)
def test_the_job_is_the_one_of_the_command_line(
    scoreline: Callable[..., Ended], values: dict[str, str]
) -> None:
    direct = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    command = command_of(read_parameters(words(values)))
    assert printed(scoreline, command) == printed(scoreline, ["score", *direct])


def test_a_form_that_was_left_as_it_is_says_nothing() -> None:
    untouched = {name: one.default or "" for name, one in parameters().items()}
    assert read_parameters(words(untouched | NEEDED)).values == NEEDED


def job_of(tmp_path: Path, content: dict[str, Any], values: dict[str, str]) -> Any:
    """The job that the command runs, with the job file in a folder of this machine."""
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(content))
    command = command_of(read_parameters(words({JOB_FILE: "gs://b/job.yaml", **values})))
    assert command[:2] == ["run", "gs://b/job.yaml"]
    settings = [word.removeprefix("--set=") for word in command if word.startswith("--set=")]
    return make_job(read_job_values(str(path), settings).values)


FILES_JOB = {
    "name": "nightly",
    "source": {"path": "gs://old/in", "rename": {"Age": "age"}},
    "model": {"uri": "gs://old/model.onnx", "outputs": ["predict", "predict_proba"]},
    "sinks": [{"path": "gs://old/out", "keep": ["id"]}, {"path": "gs://old/second"}],
}
STREAM_JOB = {
    "name": "live",
    "source": {"type": "pubsub", "subscription": "projects/o/subscriptions/s"},
    "model": {"uri": "gs://old/model.onnx"},
    "sinks": [{"type": "pubsub", "topic": "projects/o/topics/t"}],
    "dead_letters": {"type": "pubsub", "topic": "projects/o/topics/d"},
    "report": {"path": "gs://old/runs"},
}


def test_a_job_file_alone_is_the_job(tmp_path: Path) -> None:
    untouched = {name: one.default or "" for name, one in parameters().items()}
    del untouched[JOB_FILE]
    assert job_of(tmp_path, FILES_JOB, untouched) == make_job(FILES_JOB)


def test_what_is_filled_in_replaces_what_the_job_file_says(tmp_path: Path) -> None:
    values = {name: value for name, value in FULL.items() if name != "overwrite"}
    job = job_of(tmp_path, FILES_JOB, values)
    assert job.source.path == ("gs://b/in/*.parquet",)
    assert job.source.rename == {"Age": "age"}, "what has no field stays"
    assert job.source.format == "parquet"
    assert job.model.uri == "gs://b/churn.joblib"
    assert job.model.outputs == ("predict", "predict_proba")
    trust = job.model.trust
    assert (trust.sha256, trust.allow_pickle, trust.allow_code) == ("ab" * 32, True, True)
    assert trust.skops_types == ("a.B",)
    assert [sink.path for sink in job.sinks] == ["gs://b/scores", "gs://old/second"]
    assert job.sinks[0].keep == ("id", "plan")
    assert (job.dead_letters.path, job.dead_letters.max_ratio) == ("gs://b/rejected", 0.2)
    assert job.report.path == "gs://b/runs"


def test_the_same_of_a_stream(tmp_path: Path) -> None:
    job = job_of(tmp_path, STREAM_JOB, STREAM)
    assert job.source.subscription == "projects/p/subscriptions/s"
    assert job.source.types == {"id": "int64", "at": "timestamp"}
    assert job.sinks[0].topic == "projects/p/topics/scores"
    assert job.dead_letters.topic == "projects/p/topics/rejected"
    assert job.max_latency_secs == 0.5


def test_the_same_of_tables(tmp_path: Path) -> None:
    content = {
        "name": "orders",
        "source": {"type": "bigquery", "table": "o.d.in", "row_filter": "x > 1"},
        "model": {"uri": "gs://old/model.onnx"},
        "sinks": [{"type": "bigquery", "table": "o.d.out", "write": "truncate"}],
    }
    job = job_of(tmp_path, content, TABLES)
    assert (job.source.table, job.source.row_filter) == ("shop.sales.orders", "x > 1")
    assert (job.sinks[0].table, job.sinks[0].write) == ("shop.ml.scores", "truncate")
    assert job.dead_letters.table == "shop.ml.rejected"


def test_another_kind_than_the_job_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"source\.path"):
        job_of(tmp_path, FILES_JOB, {"input": "pubsub://projects/p/subscriptions/s"})


def test_every_parameter_has_a_key_in_a_job_file() -> None:
    known = {*template_program._KEYS, *template_program._FLAGS_OF_RUN, JOB_FILE}
    assert known == set(parameters())


def test_overwrite_stays_a_flag() -> None:
    given = read_parameters(words({JOB_FILE: "gs://b/j.yaml", "overwrite": "True"}))
    assert command_of(given)[:3] == ["run", "gs://b/j.yaml", "--overwrite=true"]


@pytest.mark.parametrize(
    "spelling", ["--allow_pickle=true", "--allow-pickle=True", "--allow_pickle"]
)
def test_a_boolean_may_be_spelled_as_launchers_do(spelling: str) -> None:
    given = read_parameters([*words(NEEDED), spelling])
    assert given.values["allow_pickle"] == "true"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "expected input, model, output: a job needs an input, a model and an output, or a"),
        ({"input": "gs://b/x"}, "expected model, output: "),
        (NEEDED | {"model": "churn.onnx"}, "--model: expected a value such as gs://"),
        (NEEDED | {"input_format": "xml"}, "--input-format: expected one of auto, parquet"),
        (NEEDED | {"ouputs": "predict"}, "unknown flag --ouputs. Did you mean --outputs?"),
        (NEEDED | {"limit": "5"}, "unknown flag --limit"),
        (NEEDED | {"allow_pickle": "yes"}, "--allow_pickle is a boolean"),
    ],
)
def test_what_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_parameters(words(given))
    assert str(caught.value).startswith(said)


def test_two_inputs_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--input: a template takes one, got .* Name several"):
        read_parameters([*words(NEEDED), "--input=gs://b/more"])


def test_the_workers_image_is_the_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IMAGE_VARIABLE, "host/scoreline:1")
    assert command_of(Given(NEEDED, ()))[-1] == "--sdk_container_image=host/scoreline:1"
    given = Given(NEEDED, ("--sdk_container_image=host/other:2",))
    assert command_of(given)[-1] == "--sdk_container_image=host/other:2"
    monkeypatch.setenv(IMAGE_VARIABLE, "")
    assert command_of(Given(NEEDED, ()))[-1] == "--output=gs://b/scores"


def run_main(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(MAIN), *arguments], capture_output=True, text=True)


def test_main_shows_the_parameters() -> None:
    done = run_main("--help")
    assert done.returncode == 0
    assert all(one.flag in done.stdout for one in parameters().values())


def test_main_says_what_is_wrong_and_starts_nothing() -> None:
    done = run_main("--input=gs://b/in", *LAUNCHER)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "scoreline: expected model, output: a job needs an input, a model and an output, or a "
        "job_file that names them\n"
    )


def test_main_only_parses() -> None:
    lines = [line for line in MAIN.read_text().splitlines() if line and not line.startswith('"""')]
    assert lines == [
        "from scoreline.pipelines.template_program import program",
        'if __name__ == "__main__":',
        "    program()",
    ]
