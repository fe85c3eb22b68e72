"""Every example job is submitted by the real DataflowRunner, and what it submitted is run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emulator import PROJECT as EMULATED
from emulator import Emulator
from examples import JOBS, Example, environment, examples, messages
from fake_dataflow import PROJECT, REGION, FakeCloud, RecordedJob
from graphs import PUBSUB_READ, hints, images, sources, tops
from places import Places
from running import Ended
from workers import installed, run, save, write_messages

import scoreline

Scoreline = Callable[..., Ended]

BATCH, STREAMING = 1, 2  # as the service numbers them
# Tables need an emulator of BigQuery, too: test_tables.py submits those.
TABLES = {path.name for path in JOBS.glob("*.yaml") if "bigquery" in path.read_text()}

pytestmark = pytest.mark.timeout(300)  # the emulator may have to start


def submit(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], example: Example
) -> RecordedJob:
    ended = scoreline(*example.words, *flags, "--quiet", "--no_wait_until_finish")
    assert ended.code == 0, ended.err
    return cloud.jobs[-1]


def test_every_example_is_submitted_and_what_was_submitted_runs(
    scoreline: Scoreline,
    cloud: FakeCloud,
    flags: list[str],
    emulator: Emulator,
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROJECT", EMULATED)
    monkeypatch.syspath_prepend(tmp_path)
    made = examples(cloud, tmp_path)
    for name, value in environment(cloud).items():
        monkeypatch.setenv(name, value)
    assert set(made) == {path.name for path in JOBS.glob("*.yaml")} - TABLES
    client = emulator.client
    names = ("customers", "churn", "rejected")
    topics = [client.create_topic(name) for name in names]
    client.create_subscription("customers", topics[0])
    churn, rejected = map(client.create_subscription, names[1:], topics[1:])

    jobs = {name: submit(scoreline, cloud, flags, example) for name, example in made.items()}

    for name, job in jobs.items():
        check_job(cloud, job, is_stream=name == "pubsub_stream.yaml")
    check_stream(cloud, jobs["pubsub_stream.yaml"])
    graphs = {name: save(cloud, job, tmp_path / f"{name}.pb") for name, job in jobs.items()}
    feed = write_messages(messages(), tmp_path / "messages")
    words = [
        f"{path}={feed}" if name == "pubsub_stream.yaml" else str(path)
        for name, path in graphs.items()
    ]
    said = run(words, installed(cloud, tmp_path / "installed"), tmp_path)

    assert f"scoreline is in {tmp_path / 'installed' / 'scoreline'}" in said
    for name, example in made.items():
        assert example.predicted(cloud) == example.expected, name
    for name, job in jobs.items():
        report = report_of(cloud, job)
        assert (report is None) == (name == "pubsub_stream.yaml"), name
        if report is not None:
            assert report["submitted"]["job_id"] == job.id
            assert f"/{REGION}/{job.id}?project={PROJECT}" in report["submitted"]["url"]
    assert len(client.pull_all(churn, quiet_secs=0.3)) == 40, "one customer came twice"
    (dead,) = client.pull_all(rejected, quiet_secs=0.3)
    assert (dead.data, dead.attributes["error_code"]) == (b"{", "malformed_json")


def check_job(cloud: FakeCloud, job: RecordedJob, *, is_stream: bool) -> None:
    graph = cloud.pipeline(job)
    assert (job.project, job.region) == (PROJECT, REGION)
    assert job.body["type"] == (STREAMING if is_stream else BATCH)
    assert set(job.labels) == {"scoreline_run_id", "scoreline_model_version"}
    assert job.name == (
        "churn-live" if is_stream else f"scoreline-{job.labels['scoreline_run_id']}"
    )
    experiments = job.environment["experiments"]
    assert "use_runner_v2" in experiments
    assert ("enable_streaming_engine" in experiments) == is_stream
    assert job.options["save_main_session"] is False
    staged = cloud.store.get(job.options["pipelineUrl"])
    assert job.options["pipelineProtoHash"] == hashlib.sha256(staged).hexdigest()
    assert images(graph) == {job.pool["workerHarnessContainerImage"]}
    packages = {package["name"] for package in job.pool["packages"]}
    assert f"scoreline-{scoreline.__version__}-py3-none-any.whl" in packages
    assert {"requirements.txt", "extra_packages.txt"} <= packages
    assert "pickled_main_session" not in packages
    assert not hints(graph)
    assert {"Read", "Conform", "Predict", "WatchWorkers", "WritePredictions"} <= tops(graph)
    assert ({"Commit", "HoldLimits"} <= tops(graph)) != is_stream


def check_stream(cloud: FakeCloud, job: RecordedJob) -> None:
    graph = cloud.pipeline(job)
    assert set(sources(graph).values()) == {PUBSUB_READ}, "the service reads, not we"
    (payload,) = (
        step.spec.payload
        for step in graph.components.transforms.values()
        if step.spec.urn == PUBSUB_READ
    )
    assert b"/subscriptions/customers" in payload


def report_of(cloud: FakeCloud, job: RecordedJob) -> dict[str, Any] | None:
    """What the job has written; None if it writes none."""
    end = f"{job.labels['scoreline_run_id']}/report.json"
    found = [name for name in cloud.store.names("gs://") if name.lower().endswith(end)]
    return json.loads(cloud.store.get(found[0])) if found else None
