"""Asks Dataflow which jobs run. It alone knows: a job goes on without whoever submitted it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
from google.cloud import dataflow

from .dataflow_place import RUN_LABEL, Place, label_of
from .errors import UsageError

_START_SECS = 900.0  # between a template's launch and its job, at most
_ASK_SECS = 30.0


@dataclass(frozen=True)
class ActiveJob:
    """A job that runs, or waits for its workers or its launcher."""

    job_id: str
    name: str
    labels: Mapping[str, str]
    is_running: bool = True

    @property
    def run_label(self) -> str | None:
        """The run that it is, as labels spell it; None if it is none of ours."""
        return self.labels.get(RUN_LABEL)


def active_jobs(place: Place) -> list[ActiveJob]:
    """The jobs of a project and region that have not ended.

    Raises:
        UsageError: the service does not answer, or not to us.
    """
    flags = [f"--project={place.project}", f"--region={place.region}"]
    flags += [f"--dataflow_endpoint={place.endpoint}"] if place.endpoint else []
    request = dataflow.ListJobsRequest(
        project_id=place.project,
        location=place.region,
        filter=dataflow.ListJobsRequest.Filter.ACTIVE,
    )
    try:
        client = DataflowApplicationClient(PipelineOptions(flags))._jobs_client
        jobs = list(client.list_jobs(request, timeout=_ASK_SECS))
    except Exception as error:  # no credentials, no network: whatever a library raises
        raise UsageError(
            f"cannot ask Dataflow which jobs run in {place.project}, {place.region}: "
            f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}. Log in with "
            "gcloud auth application-default login; it takes roles/dataflow.viewer."
        ) from None
    running = dataflow.JobState.JOB_STATE_RUNNING
    return [
        ActiveJob(job.id, job.name, dict(job.labels), job.current_state == running) for job in jobs
    ]


def is_running(place: Place, jobs: Sequence[ActiveJob] | None = None) -> bool:
    """Whether a run that was sent to Dataflow may still write.

    Args:
        place: where it was sent to.
        jobs: that run there; asked for if None.

    Raises:
        UsageError: the service does not answer, or not to us.
    """
    found = active_jobs(place) if jobs is None else jobs
    label = label_of(place.run_id)
    for job in found:
        if place.job_id == job.job_id or job.run_label == label or job.name == place.job_name:
            return True
    return place.job_id is None and time.time() - place.submitted_at < _START_SECS
