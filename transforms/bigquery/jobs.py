"""Runs a statement once under a name, however often it is asked for."""

import time
from typing import Final

from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from .credentials import charged_project
from .errors import BigQueryError
from .rest_client import CALL_SECS, RETRY, rest

_MAX_ATTEMPTS: Final = 20  # runs of one statement that may have failed before
_MAX_POLL_SECS: Final = 5.0
_JOB_SECS: Final = 6 * 3600.0  # BigQuery's own limit for a query


def run_once(
    statement: str,
    job_id: str,
    project: str,
    location: str | None,
    *,
    charged: str | None = None,
) -> None:
    """Runs a statement, and waits for its end; one that has run under this name is not run again.

    A statement that failed has changed nothing: it runs again under the next name, `<job_id>_2`.

    Args:
        statement: one that takes effect as a whole or not at all.
        job_id: letters, digits, dashes and underscores; unlike that of any other statement.
        project: of the tables; the job runs in the one that is charged.
        location: of the tables.
        charged: the project that the job runs in, where that has been settled: a name is unlike
            any other within one project only.

    Raises:
        BigQueryError: it has not ended in time, or failed too often.
        google.api_core.exceptions.GoogleAPIError: it failed.
    """
    charged = charged or charged_project(project)
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        name = _name(job_id, attempt)
        earlier = _find(name, charged, location)
        if earlier is None:
            wait_for(_start(statement, name, charged, location))
            return
        if _ended_well(earlier):
            return
    raise BigQueryError(f"the job {job_id} has failed {_MAX_ATTEMPTS} times: see it in BigQuery")


def has_run(job_id: str, charged: str, location: str | None) -> bool:
    """Whether a statement has run under this name, and did not fail; waits for one that runs.

    Args:
        job_id: as `run_once` was told.
        charged: the project that the job runs in.
        location: of the tables.
    """
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        job = _find(_name(job_id, attempt), charged, location)
        if job is None:
            return False
        if _ended_well(job):
            return True
    return False


def wait_for(job: bigquery.QueryJob) -> None:
    """Waits until a job has ended.

    Raises:
        BigQueryError: it has not ended in time.
        google.api_core.exceptions.GoogleAPIError: it failed.
    """
    _wait_for_end(job)
    error = job.exception(timeout=CALL_SECS)
    if error is not None:
        raise error


def _wait_for_end(job: bigquery.QueryJob) -> None:
    deadline = time.monotonic() + _JOB_SECS
    pause = 0.05
    while job.state != "DONE":
        if time.monotonic() > deadline:
            raise BigQueryError(f"the job {job.job_id} still runs after {_JOB_SECS / 3600:.0f} h")
        time.sleep(pause)
        pause = min(2 * pause, _MAX_POLL_SECS)
        job.reload(retry=RETRY, timeout=CALL_SECS)


def _name(job_id: str, attempt: int) -> str:
    return job_id if attempt == 1 else f"{job_id}_{attempt}"


def _start(statement: str, name: str, project: str, location: str | None) -> bigquery.QueryJob:
    try:
        return rest().query(
            statement,
            job_id=name,
            project=project,
            location=location,
            retry=RETRY,
            timeout=CALL_SECS,
            job_retry=None,
        )
    except Conflict:
        # The first answer was lost, or another process runs the same: either way it is this one.
        found = _find(name, project, location)
        if found is None:
            raise
        return found


def _find(name: str, project: str, location: str | None) -> bigquery.QueryJob | None:
    try:
        job = rest().get_job(
            name, project=project, location=location, retry=RETRY, timeout=CALL_SECS
        )
    except NotFound:
        return None
    assert isinstance(job, bigquery.QueryJob), f"the job {name} is no query"
    return job


def _ended_well(job: bigquery.QueryJob) -> bool:
    _wait_for_end(job)
    return job.error_result is None
