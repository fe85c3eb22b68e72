import time
from dataclasses import replace

import pytest
from fake_dataflow import DATAFLOW_ENDPOINT, PROJECT, REGION, FakeCloud, RecordedJob

from scoreline.pipelines.dataflow_place import RUN_LABEL, Place
from scoreline.pipelines.dataflow_service import active_jobs, is_running
from scoreline.pipelines.errors import UsageError

PLACE = Place(
    PROJECT,
    REGION,
    "scoreline-1",
    "20240501T120000Z-0a1b2c",
    submitted_at=0.0,
    job_id="job-1",
    endpoint=DATAFLOW_ENDPOINT,
)


def add(cloud: FakeCloud, job_id: str, **body: object) -> RecordedJob:
    job = RecordedJob(job_id, PROJECT, REGION, {"name": f"name-of-{job_id}", **body})
    cloud.jobs.append(job)
    return job


def test_the_jobs_that_have_not_ended(cloud: FakeCloud) -> None:
    add(cloud, "a", labels={RUN_LABEL: "x"})
    add(cloud, "b").state = "DONE"
    add(cloud, "c").state = "QUEUED"
    found = active_jobs(PLACE)
    assert [(job.job_id, job.run_label, job.is_running) for job in found] == [
        ("a", "x", True),
        ("c", None, False),
    ]


def test_a_run_is_known_by_its_job_its_label_or_its_name(cloud: FakeCloud) -> None:
    template = replace(PLACE, job_id=None)
    add(cloud, "other")
    assert not is_running(PLACE)
    assert not is_running(template)
    by_id = add(cloud, "job-1")
    assert is_running(PLACE)
    assert not is_running(template)
    by_id.state = "FAILED"
    by_label = add(cloud, "job-2", labels={RUN_LABEL: "20240501t120000z-0a1b2c"})
    assert is_running(template)
    by_label.state = "CANCELLED"
    assert not is_running(template)
    add(cloud, "job-3", name="scoreline-1")
    assert is_running(template)


def test_a_template_is_about_to_be_a_job(cloud: FakeCloud) -> None:
    just_now = replace(PLACE, job_id=None, submitted_at=time.time())
    assert is_running(just_now)
    assert not is_running(replace(just_now, job_id="job-9"))


def test_a_service_that_cannot_be_asked(cloud: FakeCloud) -> None:
    nowhere = replace(PLACE, endpoint="http://nowhere.sandbox.test")
    cloud.stop()
    with pytest.raises(UsageError) as raised:
        active_jobs(nowhere)
    assert f"cannot ask Dataflow which jobs run in {PROJECT}, {REGION}" in str(raised.value)
    assert "gcloud auth application-default login" in str(raised.value)


def test_the_page_of_a_job() -> None:
    console = "https://console.cloud.google.com/dataflow/jobs"
    assert PLACE.url == f"{console}/{REGION}/job-1?project={PROJECT}"
    assert replace(PLACE, job_id=None).url == f"{console}?project={PROJECT}"
    assert Place.of_json(PLACE.as_json()) == PLACE
