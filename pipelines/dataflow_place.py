"""Where on Dataflow a run is: what its heartbeat and its submission say."""

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

RUN_LABEL = "scoreline_run_id"

# What a report says of it, and a summary shows.
REPORTED = ("project", "region", "job_name", "job_id", "url")

_MAX_LABEL = 63


@dataclass(frozen=True)
class Place:
    """Where a run was sent to; written into its heartbeat and its submission.

    Attributes:
        project: that pays.
        region: of the workers.
        job_name: unlike any other that runs.
        run_id: of ours, which stands in the job's labels.
        submitted_at: seconds since 1970.
        job_id: the service's own; None where a template was made, of which a job is made later.
        endpoint: of the service; Google's own if None.
    """

    project: str
    region: str
    job_name: str
    run_id: str
    submitted_at: float
    job_id: str | None = None
    endpoint: str | None = None

    @staticmethod
    def of(options: PipelineOptions, run_id: str) -> "Place":
        """Where Beam's options send a run to."""
        cloud = options.view_as(GoogleCloudOptions)
        endpoint = cloud.dataflow_endpoint
        is_own = endpoint == GoogleCloudOptions.DATAFLOW_ENDPOINT
        return Place(
            cloud.project,
            cloud.region,
            cloud.job_name,
            run_id,
            time.time(),
            endpoint=None if is_own else endpoint,
        )

    @property
    def url(self) -> str:
        """The job's page; the list of all jobs while it has no id."""
        jobs = "https://console.cloud.google.com/dataflow/jobs"
        page = f"/{self.region}/{self.job_id}" if self.job_id else ""
        return f"{jobs}{page}?project={self.project}"

    def as_json(self) -> dict[str, Any]:
        """For files; `of_json` reads it."""
        return asdict(self)

    @staticmethod
    def of_json(value: Mapping[str, Any]) -> "Place":
        """What `as_json` gave."""
        return Place(**value)


def label_of(value: str) -> str:
    """Turns a text into a label's value: 63 small letters, digits, `-` and `_`.

    >>> label_of("20240501T120000Z-0a1b2c"), label_of("v 1.2")
    ('20240501t120000z-0a1b2c', 'v_1_2')
    """
    return re.sub(r"[^a-z0-9_-]", "_", value.lower())[:_MAX_LABEL]
