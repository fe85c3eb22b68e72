"""The form against the options, in both directions; its expressions in two engines."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scoreline.pipelines.beam_flags import BEAM_FLAGS, FLINK_FLAGS
from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.flags import run_parser, score_parser
from scoreline.pipelines.job import Job
from scoreline.pipelines.template_parameters import (
    AUTO,
    JOB_FILE,
    OF_A_TERMINAL,
    left_to_job_file,
    parameters,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPTIONS = {action.dest: action for action in score_parser()._actions if action.dest != "help"}
OF_SCORE = [name for name in parameters() if name != JOB_FILE]

# Options of `scoreline score` without a field, and the key of a job file that says the same.
# Whoever adds an option decides: a field in pipelines/template_parameters.py, or a line here.
LEFT_TO_JOB_FILE = {
    "columns": "source.columns",
    "rename": "source.rename",
    "csv_delimiter": "source.csv.delimiter",
    "csv_quote": "source.csv.quote",
    "csv_header": "source.csv.names",
    "csv_null_values": "source.csv.null_values",
    "csv_newlines_in_values": "source.csv.newlines_in_values",
    "limit": "source.limit",
    "output_format": "sinks.N.format",
    "row_id": "sinks.N.row_id",
    "avro_schema": "source.avro_schema",
    "attributes": "source.attributes",
    "message_id_column": "source.message_id",
    "publish_time_column": "source.publish_time",
    "deduplicate_by": "source.deduplicate_by",
    "deduplicate_secs": "source.deduplicate_secs",
    "flush_secs": "sinks.N.flush_secs",
    "stop_when_idle_secs": "source.stop_when_idle_secs",
    "pull_threads": "source.pull_threads",
    "row_filter": "source.row_filter",
    "write": "sinks.N.write",
    "partition_by": "sinks.N.create.partition_by",
    "cluster_by": "sinks.N.create.cluster_by",
    "expiration_days": "sinks.N.create.expiration_days",
    "allow_new_columns": "sinks.N.allow_new_columns",
    "features": "model.features",
    "preprocess": "model.preprocess",
    "postprocess": "model.postprocess",
    "name": "name",
}


@pytest.mark.parametrize("name", OF_SCORE)
def test_a_parameter_is_an_option_of_score(name: str) -> None:
    option, parameter = OPTIONS[name], parameters()[name]
    assert option.option_strings == [parameter.flag]
    assert (option.nargs == 0) == (parameter.field.param_type == "BOOLEAN")
    assert (option.choices is not None) == (parameter.field.param_type == "ENUM")
    if option.choices:
        assert [choice for choice in parameter.choices if choice != AUTO] == list(option.choices)


@pytest.mark.parametrize("name", OF_SCORE)
def test_a_default_is_the_options(name: str) -> None:
    option, default = OPTIONS[name], parameters()[name].default
    if option.nargs == 0:
        assert default == "false"
    elif option.default not in (None, {}, ()):
        value: Any = option.type(default) if callable(option.type) else default
        assert value == option.default
    elif default not in (None, AUTO):
        job_default = Job.model_fields[name].default
        assert float(str(default)) == job_default
        assert f"(default: {default})" in (option.help or "")


def test_the_job_file_is_what_run_takes() -> None:
    (positional,) = (action for action in run_parser()._actions if not action.option_strings)
    assert positional.dest == "job"
    assert parameters()[JOB_FILE].default is None


def test_every_option_has_a_field_or_is_left_to_something_else() -> None:
    assert left_to_job_file() == set(LEFT_TO_JOB_FILE), "an option came or went: decide where it is"
    everything = set(OF_SCORE) | set(LEFT_TO_JOB_FILE) | OF_A_TERMINAL
    assert everything == set(OPTIONS)
    keys = re.findall(r"^\| `([\w.]+)` \|", (DOCS / "job-file.md").read_text(), re.MULTILINE)
    assert set(LEFT_TO_JOB_FILE.values()) <= set(keys)


def test_no_parameter_is_one_of_the_runners() -> None:
    """The service has fields of its own for them, and the launcher gives them."""
    runners = {flag.lstrip("-") for flag in (*BEAM_FLAGS, *FLINK_FLAGS)}
    assert not set(parameters()) & runners
    assert {"runner", "project", "region", "job_name", "template_location", "streaming"} <= runners


def test_parameters_of_a_group_stand_together() -> None:
    groups = [parameter.field.group for parameter in parameters().values()]
    assert len(set(groups)) == len(
        [a for a, b in zip(groups, ["", *groups], strict=False) if a != b]
    )


@pytest.mark.parametrize("name", parameters())
def test_a_colleague_finds_a_label_a_help_and_an_example(name: str) -> None:
    parameter = parameters()[name]
    label, help_text = parameter.field.label, parameter.help_text
    assert label[0].isupper()
    assert not label.endswith(".")
    assert help_text.split("Example:")[0].rstrip().endswith(".")
    assert "--" not in help_text, "a form has no flags"
    assert bool(parameter.field.forms) == bool(parameter.field.example)


def test_the_runbook_lists_the_fields_of_the_form() -> None:
    _, _, page = (DOCS / "dataflow.md").read_text().partition("| field | what | parameter |\n")
    rows = re.findall(r"^\| (.+?) \| .+ \| `(\w+)` \|$", page.partition("\n\n")[0], re.MULTILINE)
    assert rows == [(one.field.label, name) for name, one in parameters().items()]


ACCEPTED = {
    "input": [
        "gs://bucket/customers/*.parquet",
        "gs://bucket",
        "gs://bucket/a b/[0-9].csv",
        "pubsub://projects/shop/subscriptions/orders",
        "bq://shop.sales.orders",
        "bq://example.com:shop.sales.orders",
    ],
    "model": ["gs://bucket/models/churn.onnx"],
    "outputs": ["predict", "predict,predict_proba"],
    "output": ["gs://bucket/scores", "pubsub://projects/shop/topics/s", "bq://shop.ml.scores"],
    "keep": ["id", "customer id,amount"],
    "report": ["gs://bucket/runs"],
    "dead_letters": ["gs://bucket/rejected/", "pubsub://projects/shop/topics/rejected"],
    "max_dead_letter_ratio": ["0", "0.05", ".5", "1", "1.0"],
    "sha256": ["0123456789abcdefABCDEF" + "0" * 42],
    "skops_types": ["mypackage.Ratio,numpy.ndarray"],
    "max_latency_secs": ["0.1", "5"],
    "types": ["id=int64", "id=int64,at=timestamp"],
    "job_file": ["gs://bucket/jobs/fraud.yaml"],
}
REFUSED = {
    "input": [
        "customers.parquet",
        "/data",
        "pubsub://projects/p/topics/t",
        "bq://sales.orders",
        "s3://b/x",
    ],
    "model": ["churn.onnx", "gs://bucket", "package.module:function"],
    "outputs": ["predict proba", "predict,"],
    "output": ["scores", "pubsub://projects/shop/subscriptions/s", "gs://"],
    "keep": [",id", "id,,amount"],
    "report": ["runs", "file:///runs"],
    "dead_letters": ["rejected"],
    "max_dead_letter_ratio": ["5%", "1.5", "-0.1", "2"],
    "sha256": ["0123", "g" * 64],
    "skops_types": ["a,,b"],
    "max_latency_secs": ["-1", "1s", "fast"],
    "types": ["id", "id=", "id=int64;b=c"],
    "job_file": ["fraud.yaml"],
}
WITH_FORM = [name for name, parameter in parameters().items() if parameter.regexes]


def grep(expression: str, value: str) -> bool:
    """Whether a value matches in an engine that knows POSIX extended expressions only."""
    done = subprocess.run(
        ["grep", "-E", "-q", "-e", expression], input=f"{value}\n", text=True, capture_output=True
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("name", WITH_FORM)
def test_an_expression_accepts_and_refuses_in_both_engines(name: str) -> None:
    parameter = parameters()[name]
    (expression,) = parameter.regexes
    assert "\\" not in expression, "POSIX has no \\d, and its brackets hold a backslash as itself"
    assert "(?" not in expression
    for value in ACCEPTED[name]:
        assert grep(expression, value), value
        assert re.search(expression, value), value
        parameter.check(value)
    for value in REFUSED[name]:
        assert not grep(expression, value), value
        assert not re.search(expression, value), value
        with pytest.raises(UsageError, match=re.escape(f"got {value!r}")):
            parameter.check(value)


@pytest.mark.parametrize("name", ["input", "output", "model", "report"])
def test_an_example_is_accepted(name: str) -> None:
    for example in parameters()[name].field.example.split(" or "):
        parameters()[name].check(example)


def test_a_path_of_this_machine_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError) as caught:
        parameters()["model"].check("models/churn.onnx")
    assert str(caught.value) == (
        "--model: expected a value such as gs://bucket/models/churn.onnx, got 'models/churn.onnx'. "
        "Workers on Dataflow see no file of another machine"
    )


def test_a_word_that_is_no_choice_is_refused() -> None:
    with pytest.raises(
        UsageError, match="--input-format: expected one of auto, parquet, json, csv"
    ):
        parameters()["input_format"].check("xml")
