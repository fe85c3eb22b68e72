from typing import Any

import pytest

from scoreline.pipelines.dataflow_profile import dataflow_profile
from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job import make_job

FLAGS = ["--runner=DataflowRunner", "--project=my-project", "--region=europe-west4"]
BUCKET = "gs://bucket"
STREAM = {
    "source": {
        "type": "pubsub",
        "subscription": "projects/my-project/subscriptions/s",
    },
    "name": "Fraud: live (EU)",
}


def job(**changes: Any) -> Any:
    values = {
        "name": "churn",
        "source": {"path": f"{BUCKET}/in/*.csv"},
        "model": {"uri": f"{BUCKET}/churn.onnx"},
        "sinks": [{"path": f"{BUCKET}/scores"}],
    }
    return make_job(values | changes)


def values(profile: Any) -> dict[str, str]:
    return {setting.flag: setting.value for setting in profile.settings}


def test_a_batch_job() -> None:
    profile = dataflow_profile(job(), FLAGS)
    assert profile.added_flags == [f"--temp_location={BUCKET}/scoreline-temp"]
    assert values(profile)["region"] == "europe-west4"
    assert all(setting.reason for setting in profile.settings)


def test_a_stream() -> None:
    profile = dataflow_profile(job(**STREAM), FLAGS)
    assert profile.added_flags == [
        f"--temp_location={BUCKET}/scoreline-temp",
        "--streaming",
        "--job_name=fraud-live-eu",
    ]
    assert profile.acknowledged == "when Dataflow has stored what the first fused stage gave"


def test_every_value_gives_way_to_the_flag() -> None:
    given = ["--temp_location=gs://other/t", "--job_name=mine", "--streaming"]
    profile = dataflow_profile(job(**STREAM), [*FLAGS, *given])
    assert profile.added_flags == []
    assert values(profile)["job_name"] == "mine"


@pytest.mark.parametrize("name", ["2026", "!", "x" * 90, "-a-"])
def test_any_name_makes_one_of_a_job(name: str) -> None:
    import re

    made = values(dataflow_profile(job(**STREAM | {"name": name}), FLAGS))["job_name"]
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", made)
    assert len(made) <= 63


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--region=r"], "needs --project=PROJECT, the id of the project that pays; there is none"),
        (["--region=r", "--project=4711"], "the project that pays; got '4711'"),
        (["--project=my-project"], "needs --region=REGION, such as europe-west4"),
        ([*FLAGS, "--temp_location=/tmp"], "--temp_location=/tmp: expected a folder in a bucket"),
        ([*FLAGS, "--staging_location=x"], "--staging_location=x: expected a folder in a bucket"),
        ([*FLAGS, "--job_name=A_b"], "--job_name=A_b: expected small letters"),
        ([*FLAGS, "--update"], "--update: only a running stream can be updated"),
    ],
)
def test_flags_that_cannot_be(flags: list[str], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        dataflow_profile(job(), flags)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"uri": "churn.onnx"}}, "model.uri: churn.onnx is a path on this machine"),
        ({"model": {"uri": "/m/churn.onnx"}}, f"name that: {BUCKET}/churn.onnx."),
        ({"source": {"path": [f"{BUCKET}/a.csv", "b.csv"]}}, "source.path.1: b.csv is a path"),
        ({"sinks": [{"path": "/data/scores"}]}, "sinks.0.path: /data/scores is a path"),
        ({"dead_letters": {"path": "dead"}}, "dead_letters.path: dead is a path"),
        ({"report": {"path": "runs"}}, "report.path: runs is a path on this machine"),
    ],
)
def test_what_workers_could_not_reach(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        dataflow_profile(job(**changes), FLAGS)
    assert said in str(raised.value)
    assert "which Dataflow's workers cannot see" in str(raised.value)


def test_a_model_that_is_code_lies_nowhere() -> None:
    model = {"uri": "package.module:function", "trust": {"allow_code": True}}
    dataflow_profile(job(model=model), FLAGS)


def test_a_job_without_a_bucket() -> None:
    places = {"model": {"uri": "s3://b/m.onnx"}, "source": {"path": "s3://b/in.csv"}}
    made = job(**places, sinks=[{"path": "s3://b/scores"}])
    with pytest.raises(UsageError, match="needs --temp_location=gs://BUCKET/FOLDER"):
        dataflow_profile(made, FLAGS)
    dataflow_profile(made, [*FLAGS, "--temp_location=gs://b/t"])


def test_a_gpu_is_asked_for_in_one_place() -> None:
    made = job(resources={"accelerator": "type:nvidia-l4;count:1;install-nvidia-driver"})
    both = "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1"
    dataflow_profile(made, FLAGS)
    dataflow_profile(job(), [*FLAGS, both])
    with pytest.raises(UsageError, match="Dataflow takes one of the two: leave one out"):
        dataflow_profile(made, [*FLAGS, both, "--dataflow_service_options=enable_prime"])


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"accelerator": "nvidia-l4"}, "resources.accelerator: expected type:nvidia-l4;count:1;"),
        ({"accelerator": "type:nvidia-l4;count:1"}, "expected ;install-nvidia-driver at the end"),
        ({"min_ram": "16"}, "resources.min_ram: expected an amount with its unit, such as 16GB"),
    ],
)
def test_resources_that_nobody_has(resources: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        job(resources=resources)
    assert said in str(raised.value)


def test_resources_are_what_beam_takes() -> None:
    from apache_beam.transforms.resources import parse_resource_hints

    for ram in ("16GB", "1.5 GiB", "512MiB"):
        hints = job(resources={"min_ram": ram}).resources.hints
        assert parse_resource_hints(hints)
