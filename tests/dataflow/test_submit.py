"""What becomes of a job that is sent to Dataflow: left, waited for, failed, updated."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples import ROOT, customers, pickled
from fake_dataflow import BUCKET, PROJECT, REGION, FakeCloud, RecordedJob
from graphs import hints, images
from places import Places
from running import Ended
from sklearn.linear_model import LogisticRegression

from scoreline.pipelines import dataflow
from scoreline.pipelines.build import LimitBrokenError, hold_limits
from scoreline.pipelines.dataflow import Submitted
from scoreline.pipelines.dataflow_place import Place
from scoreline.pipelines.step_names import Rename
from scoreline.pipelines.submit import _goes_on

Scoreline = Callable[..., Ended]

NUMBERS = ["age", "months", "spend"]
REPORT = {
    "rows": {"read": 5, "predicted": 5, "dead_lettered": 0, "filtered": 0, "deduplicated": 0},
    "rows_per_sec": 5,
    "duration_secs": 1.0,
    "dead_letters": {},
    "dead_letter_examples": {},
    "max_dead_letter_ratio": 0.05,
    "unaccounted": [],
    "output": f"{ROOT}/scores",
    "outputs": [f"{ROOT}/scores"],
    "exit_code": 0,
}


@pytest.fixture
def job(cloud: FakeCloud, workdir: Path) -> str:
    """A small batch job whose files lie in the bucket."""
    frame = customers(20, seed=1)
    model = LogisticRegression().fit(frame[NUMBERS], frame.spend > 100)
    cloud.store.put(f"{BUCKET}/churn.joblib", pickled(model))
    text = frame.to_csv(index=False)
    cloud.store.put(f"{BUCKET}/customers.csv", text.encode())
    return write_job()


def write_job(**changes: Any) -> str:
    values = {
        "name": "Churn, live!",
        "source": {"path": f"{ROOT}/customers.csv"},
        "model": {"uri": f"{ROOT}/churn.joblib", "trust": {"allow_pickle": True}},
        "sinks": [{"path": f"{ROOT}/scores"}],
        **changes,
    }
    Path("job.yaml").write_text(json.dumps(values))
    return "job.yaml"


def write_stream(places: Places, **changes: Any) -> str:
    source = {"type": "pubsub", "subscription": places.subscription, **changes.pop("source", {})}
    return write_job(source=source, **changes)


def run_folder(cloud: FakeCloud, job: RecordedJob) -> str:
    """gs://.../RUN_ID of the run that a job is."""
    run_id = job.labels["scoreline_run_id"]
    (found,) = (
        name.removesuffix("/submission.json")
        for name in cloud.store.names("gs://")
        if name.lower().endswith(f"{run_id}/submission.json")
    )
    return found


def finish(cloud: FakeCloud, **report: Any) -> Callable[[RecordedJob], None]:
    """Plays the service: the job writes its report, and is done."""

    def on_job(job: RecordedJob) -> None:
        folder = run_folder(cloud, job)
        head = {"run_id": folder.rsplit("/", 1)[1], "job": "churn", "runner": "DataflowRunner"}
        model = {"name": "churn", "version": "1", "notes": []}
        place = {"submitted": {"url": "https://console"}, "model": model}
        body = REPORT | head | place | {"run_folder": folder} | report
        cloud.store.put(f"{folder}/report.json".removeprefix("gs://"), json.dumps(body).encode())
        job.state = "DONE" if body["exit_code"] == 0 else "FAILED"
        job.messages.append(("JOB_MESSAGE_ERROR", "a limit was broken"))

    return on_job


def test_a_batch_job_that_is_waited_for(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    cloud.on_job = finish(cloud)
    ended = scoreline("run", job, *flags, "--output-json")
    assert ended.code == 0, ended.err
    (recorded,) = cloud.jobs
    report = json.loads(ended.out)
    assert report["rows"]["predicted"] == 5
    url = f"https://console.cloud.google.com/dataflow/jobs/{recorded.region}/{recorded.id}"
    assert f"submitted {recorded.name}: {url}?project={recorded.project}\n" in ended.err
    assert "job           https://console\n" in ended.err, "as the report in the job says"
    assert not [name for name in cloud.store.names(ROOT) if name.endswith("heartbeat.json")]


def test_a_limit_that_the_job_broke(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    rows = REPORT["rows"] | {"predicted": 3, "dead_lettered": 2}  # type: ignore[operator]
    dead = {"dead_letters": {"conform/missing_value": 2}, "dead_letters_output": "gs://dead"}
    example = {"dead_letter_examples": {"conform/missing_value": "row 1: no age"}}
    cloud.on_job = finish(cloud, rows=rows, exit_code=3, **dead, **example)
    ended = scoreline("run", job, *flags)
    assert ended.code == 3, ended.err
    assert "more dead letters than the limit" in ended.err


def test_a_job_that_fails(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    def fail(recorded: RecordedJob) -> None:
        recorded.messages.append(("JOB_MESSAGE_ERROR", "Workflow failed."))
        recorded.messages.append(("JOB_MESSAGE_ERROR", "Traceback ...\nValueError: no such column"))
        recorded.messages.append(("JOB_MESSAGE_ERROR", "The job failed 4 times."))
        recorded.state = "FAILED"

    cloud.on_job = fail
    ended = scoreline("run", job, *flags)
    assert ended.code == 1, ended.err
    assert "ValueError: no such column" in ended.err
    assert cloud.jobs[0].id in ended.err
    assert "Nothing was made final; the same command starts anew." in ended.err
    assert not [name for name in cloud.store.names(ROOT) if "_run/" in name]


def test_a_job_of_which_the_service_does_not_say_why_it_failed(
    scoreline: Scoreline,
    cloud: FakeCloud,
    flags: list[str],
    job: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataflow, "_LAST_WORDS_SECS", 0.2)
    cloud.first_state = "FAILED"
    ended = scoreline("run", job, *flags)
    assert ended.code == 1
    assert "DataflowError: the service does not say why" in ended.err


def test_a_bucket_that_is_not_there(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    ended = scoreline("run", job, *flags, "--staging_location=gs://no-such-bucket/staging")
    assert ended.code == 2, ended.err
    assert "--staging_location=gs://no-such-bucket/staging: 404" in ended.err
    assert "Create the bucket, or name another" in ended.err
    assert not cloud.jobs
    assert not [name for name in cloud.store.names(ROOT) if "_run/" in name]


def test_a_name_that_another_job_has(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    cloud.jobs.append(
        RecordedJob("job-1", PROJECT, REGION, {"name": "mine", "clientRequestId": "other"})
    )
    ended = scoreline("run", job, *flags, "--job_name=mine")
    assert ended.code == 1, ended.err
    assert "There is already active job named mine" in ended.err
    assert len(cloud.jobs) == 1


def test_what_is_said_when_the_command_is_interrupted() -> None:
    place = Place("p", "r", "name", "run", 0.0, "job-1")
    said = _goes_on(Submitted(place, None, None))
    assert said.startswith("the job goes on without this command: https://console")
    assert said.endswith("gcloud dataflow jobs cancel job-1 --project=p --region=r")


def test_a_job_that_somebody_cancels(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    cloud.first_state = "CANCELLED"
    ended = scoreline("run", job, *flags)
    assert ended.code == 1
    assert "somebody ended the job: it is cancelled" in ended.err


def test_a_job_that_is_left_keeps_its_place(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    left = scoreline("run", job, *flags, "--no_wait_until_finish", "--output-json")
    assert left.code == 0, left.err
    (recorded,) = cloud.jobs
    said = json.loads(left.out)["submitted"]
    assert said["job_id"] == recorded.id
    assert f"job         {said['url']}" in left.err
    assert "report.json, when it has ended" in left.err
    submission = json.loads(cloud.store.get(f"{run_folder(cloud, recorded)}/submission.json"))
    assert submission["job_id"] == recorded.id
    assert "Predict/Score" in submission["steps"]

    again = scoreline("run", job, *flags, "--no_wait_until_finish")
    assert again.code == 2
    assert f"is writing to {ROOT}/scores now ({said['url']})" in again.err
    recorded.state = "FAILED"
    again = scoreline("run", job, *flags, "--no_wait_until_finish")
    assert again.code == 0, again.err
    assert "removed what run" in again.err
    assert len(cloud.jobs) == 2


def test_a_template_has_no_job(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    place = f"--template_location={ROOT}/template/job_object"
    ended = scoreline("run", job, *flags, place, "--output-json")
    assert ended.code == 0, ended.err
    assert not cloud.jobs
    template = json.loads(cloud.store.get(f"{ROOT}/template/job_object"))
    assert template["type"] == "JOB_TYPE_BATCH"
    assert cloud.pipeline(template).components.transforms
    assert json.loads(ended.out)["submitted"]["job_id"] is None


def test_hints_are_on_predict_alone(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    accelerator = "type:nvidia-l4;count:1;install-nvidia-driver"
    write_job(resources={"accelerator": accelerator, "min_ram": "16GB"})
    cloud.images["p/scoreline:1"] = {"Labels": {"scoreline.extras": "onnx"}}
    image = f"--sdk_container_image={cloud.registry}/p/scoreline:1"
    ended = scoreline("run", job, *flags, "--no_wait_until_finish", image)
    assert ended.code == 0, ended.err
    (recorded,) = cloud.jobs
    graph = cloud.pipeline(recorded)
    found = hints(graph)
    assert {name.split("/")[0] for name in found} == {"Predict"}
    wanted = {"accelerator": accelerator.encode(), "min_ram_bytes": b"16000000000"}
    assert all(one == wanted for one in found.values())
    assert images(graph) == {f"{cloud.registry}/p/scoreline:1"}
    assert "packages" not in recorded.pool, "the image has all"
    local = scoreline("check", job)
    assert local.code == 0, local.err
    assert "resources.accelerator is for Dataflow: ignored on DirectRunner" in local.err


def test_an_image_that_lacks_an_extra(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    cloud.images["p/scoreline:1"] = {"Labels": {"scoreline.extras": "onnx"}}
    write_job(sinks=[{"path": "s3://bucket/scores"}], report={"path": f"{ROOT}/runs"})
    image = f"--sdk_container_image={cloud.registry}/p/scoreline:1"
    for verb in ("check", "run"):
        ended = scoreline(verb, job, *flags, image)
        assert ended.code == 2, ended.err
        assert "s3" in ended.err or "lacks the extra aws" in ended.err
    assert not cloud.jobs


def test_a_check_says_what_workers_get(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], job: str
) -> None:
    before = cloud.store.names("gs://")
    ended = scoreline("check", job, *flags[:3])
    assert ended.code == 0, ended.err
    assert f"--temp_location={ROOT}/scoreline-temp: what is staged lies" in ended.err
    assert "workers    Beam's own image; each worker installs this scoreline and " in ended.err
    assert "scikit-learn==" in ended.err
    assert cloud.store.names("gs://") == before


def test_a_check_of_a_stream(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], places: Places, job: str
) -> None:
    source = {"id_label": "tx", "deduplicate_by": "age", "stop_when_idle_secs": 3}
    write_stream(places, source=source)
    ended = scoreline("check", job, *flags)
    assert ended.code == 0, ended.err
    for line in (
        "in hand    Dataflow pulls, and gives what a bundle of its own holds\n",
        "messages are acknowledged when Dataflow has stored what the first fused stage gave\n",
        "--job_name=churn-live: the job's name: only one of it runs, and --update finds it\n",
        "note       source.stop_when_idle_secs is ignored on Dataflow: drain the job when it is",
        "note       Dataflow drops messages whose attribute tx it saw in the last minutes\n",
        "note       duplicates are found within each worker process only",
    ):
        assert line in ended.err
    here = scoreline("check", job)
    assert "note       source.id_label is for Dataflow: ignored on DirectRunner\n" in here.err
    assert scoreline("run", job, *flags, "--metrics-port=9100").code == 2


def test_a_job_that_broke_a_limit_fails_in_the_service() -> None:
    report = {**REPORT, "run_folder": "gs://b/run"}
    assert hold_limits(report) is report
    rows = {"read": 10, "predicted": 7, "dead_lettered": 3}
    with pytest.raises(LimitBrokenError) as raised:
        hold_limits({**report, "exit_code": 3, "rows": rows, "unaccounted": ["1 row is lost"]})
    assert "3 dead letters in 10 rows, of which 5.00% may be; 1 row is lost" in str(raised.value)
    assert "gs://b/run/report.json" in str(raised.value)


def test_a_stream_is_submitted_and_left(
    scoreline: Scoreline, cloud: FakeCloud, flags: list[str], places: Places, job: str
) -> None:
    write_stream(places, source={"id_label": "tx"})
    ended = scoreline("run", job, *flags)
    assert ended.code == 0, ended.err
    (recorded,) = cloud.jobs
    assert recorded.name == "churn-live"
    assert f"gcloud dataflow jobs drain {recorded.id}" in ended.err
    again = scoreline("run", job, *flags)
    assert again.code == 2
    assert "a job named churn-live runs already: https://console" in again.err


def test_a_stream_is_updated(
    scoreline: Scoreline,
    cloud: FakeCloud,
    flags: list[str],
    places: Places,
    job: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_stream(places)
    missing = scoreline("run", job, *flags, "--update")
    assert missing.code == 2
    assert "no job named churn-live runs in my-project, europe-west4" in missing.err
    assert scoreline("run", job, *flags).code == 0
    (old,) = cloud.jobs
    path = f"{run_folder(cloud, old)}/submission.json".removeprefix("gs://")
    submission = json.loads(cloud.store.objects[path])
    steps = [re.sub(r"^Predict\b", "Score", step) for step in submission["steps"]]
    cloud.store.put(path, json.dumps(submission | {"steps": steps}).encode())

    lost = scoreline("run", job, *flags, "--update")
    assert lost.code == 2
    assert "the running stream has steps that the new one lacks: Score" in lost.err
    monkeypatch.setattr(dataflow, "RENAMES", (Rename("9.9.9", "Score", "Predict"),))
    updated = scoreline("run", job, *flags, "--update")

    assert updated.code == 0, updated.err
    new = cloud.jobs[-1]
    assert new.body["replaceJobId"] == old.id
    assert new.body["transformNameMapping"] == {"Score": "Predict"}
    assert new.name == old.name
    assert old.state == "UPDATED"
