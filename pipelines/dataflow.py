"""Submits a pipeline to Dataflow, and waits for its end where somebody wants to."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineState

from scoreline import __version__
from scoreline.models.model import ModelInfo
from scoreline.transforms.commit import SUBMISSION
from scoreline.transforms.storage import exists, join, read_json, write_json
from scoreline.transforms.watch_workers import Expected, WatchWorkers

from .dataflow_place import RUN_LABEL, Place, label_of
from .dataflow_service import ActiveJob, active_jobs
from .display import Display
from .engine import LIBRARIES, Build
from .errors import UsageError
from .runner_profiles import DATAFLOW
from .step_names import RENAMES, name_mapping, steps_of
from .worker_parts import WorkerParts, installed_from

MODEL_LABEL = "scoreline_model_version"

_POLL_SECS = 5.0
_LAST_WORDS_SECS = 30.0  # the service says why a job failed some time after it says that it did
_WRITE_SECS = 20.0  # how often a worker says that it lives: on a bucket each time costs something
_SKIP = "skip"  # of Beam's requirements cache: nothing is downloaded where a job is submitted


class DataflowError(Exception):
    """A job did not end well on Dataflow; the message is the service's, or says what was done."""


@dataclass(frozen=True)
class Target:
    """Where a run goes to, and what its workers get.

    Attributes:
        options: of Beam.
        parts: what workers get.
        info: of the model.
        run_id: of the run.
        run_folder: where workers write, and what is known of the submission.
        run_root: of all runs of the job.
    """

    options: PipelineOptions
    parts: WorkerParts
    info: ModelInfo
    run_id: str
    run_folder: str
    run_root: str

    @property
    def waits(self) -> bool:
        """Whether whoever submits a job stays until it has ended."""
        options = self.options
        is_template = options.view_as(GoogleCloudOptions).template_location is not None
        is_left = options.view_as(StandardOptions).no_wait_until_finish
        return not (is_template or is_left or options.view_as(StandardOptions).streaming)

    def submit(self, build: Build) -> "Submitted":
        """Builds a pipeline, records its steps in the run folder, and sends it.

        Raises:
            UsageError: another job has the name, or the one to be replaced does not run.
            Exception: whatever Beam or the service raises.
        """
        options = self.options
        _check_buckets(options)
        self._set_labels()
        place = Place.of(options, self.run_id)
        replaced = _replaced(place, options)
        with _workers_install(self.parts, options):
            pipeline = beam.Pipeline(runner=DATAFLOW, options=options)
            build(pipeline, WatchWorkers(self._expected()))
            steps = steps_of(pipeline)
            if replaced is not None:
                self._map_names(pipeline.options, steps, replaced)
            self._record(place, steps)
            result: Any = pipeline.run()
        if getattr(result, "has_job", False):
            place = replace(place, job_id=result.job_id())
            self._record(place, steps)
        return Submitted(place, result, pipeline.runner)

    def _set_labels(self) -> None:
        cloud = self.options.view_as(GoogleCloudOptions)
        cloud.labels = [
            *(cloud.labels or ()),
            f"{RUN_LABEL}={label_of(self.run_id)}",
            f"{MODEL_LABEL}={label_of(self.info.version)}",
        ]

    def _expected(self) -> Expected:
        """What workers must have; a drain is asked of the service, not in the run folder."""
        seen = (join(self.run_folder, "job.yaml"), self.info.uri)
        return Expected(
            self.run_folder,
            tuple(path for path in seen if "://" in path),
            Expected.versions_here(*LIBRARIES.get(self.info.format, ())),
            write_secs=_WRITE_SECS,
            hears_drain=False,
        )

    def _map_names(
        self, options: PipelineOptions, steps: Sequence[str], replaced: ActiveJob
    ) -> None:
        """Says to the service which step takes over from which, in the pipeline's own options."""
        cloud = options.view_as(GoogleCloudOptions)
        old = _recorded_steps(self.run_root, replaced)
        mapping = name_mapping(old, steps, RENAMES, cloud.transform_name_mapping)
        cloud.transform_name_mapping = mapping or None

    def _record(self, place: Place, steps: Sequence[str]) -> None:
        submission = {
            **place.as_json(),
            "url": place.url,
            "scoreline": __version__,
            "steps": list(steps),
        }
        write_json(join(self.run_folder, SUBMISSION), submission)


@dataclass(frozen=True)
class Submitted:
    """A job that the service has, or a template that it makes jobs of.

    Attributes:
        place: where it is.
        result: Beam's.
        runner: Beam's, which talks to the service.
    """

    place: Place
    result: Any
    runner: Any

    def wait(self, display: Display) -> None:
        """Waits until the job has ended.

        Raises:
            DataflowError: it failed, or somebody ended it.
        """
        shown = None
        while not PipelineState.is_terminal(state := self.result.state):
            if state != shown:
                display.note(f"job {self.place.job_id} is {state.lower()}")
                shown = state
            time.sleep(_POLL_SECS)
        if state == PipelineState.FAILED:
            raise DataflowError(self._last_words())
        if state != PipelineState.DONE:
            raise DataflowError(f"somebody ended the job: it is {state.lower()}")

    def _last_words(self) -> str:
        """Why a job failed: the service says it in its own time."""
        deadline = time.monotonic() + _LAST_WORDS_SECS
        while True:
            said: list[str] = []
            with suppress(Exception):  # whatever a service raises: the job's page says it too
                client = self.runner.dataflow_client
                found, _ = client.list_messages(
                    self.place.job_id, minimum_importance="JOB_MESSAGE_ERROR"
                )
                said = [message.message_text for message in found]
            if said or time.monotonic() >= deadline:
                traced = [text for text in said if "Traceback" in text]
                return (traced or said or ["the service does not say why"])[-1]
            time.sleep(_POLL_SECS)


@contextmanager
def _workers_install(parts: WorkerParts, options: PipelineOptions) -> Iterator[None]:
    """Has Beam send along what workers install, as long as that lies in a folder of its own."""
    setup = options.view_as(SetupOptions)
    with tempfile.TemporaryDirectory(prefix="scoreline-") as folder:
        files = installed_from(parts, Path(folder))
        if files:
            setup.extra_packages = [*(setup.extra_packages or ()), str(files["wheel"])]
            setup.requirements_file = str(files["requirements"])
            setup.requirements_cache = _SKIP
        yield


def _check_buckets(options: PipelineOptions) -> None:
    """Lists where things are staged, which is nothing: Beam would try a missing bucket for minutes.

    Raises:
        UsageError: there is no such bucket, or we may not see it.
    """
    cloud = options.view_as(GoogleCloudOptions)
    for flag in ("temp_location", "staging_location"):
        location = getattr(cloud, flag)
        if location is None:
            continue
        try:
            FileSystems.match([join(location, "scoreline-looks-whether-the-bucket-is-there*")])
        except BeamIOError as error:
            raise UsageError(
                f"--{flag}={location}: {_cause(error)} Create the bucket, or name another; it "
                "takes roles/storage.objectUser."
            ) from None


def _cause(error: Exception) -> str:
    """What a file system said at first: Beam wraps it, once for each layer."""
    while isinstance(error, BeamIOError) and error.exception_details:
        error = next(iter(error.exception_details.values()))
    return f"{str(error).rstrip('.')}."


def _replaced(place: Place, options: PipelineOptions) -> ActiveJob | None:
    """The job that an update replaces; Beam itself would look for one that is not there for ever.

    Raises:
        UsageError: there is none; or, without an update, there is one.
    """
    cloud = options.view_as(GoogleCloudOptions)
    is_update = bool(cloud.update)
    is_batch = not options.view_as(StandardOptions).streaming
    if not is_update and (is_batch or cloud.template_location):
        return None  # named after its run; or the service lists the very job that is being made
    named = [job for job in active_jobs(place) if job.name == place.job_name]
    found = next((job for job in named if job.is_running or not is_update), None)
    if is_update and found is None:
        raise UsageError(
            f"--update: no job named {place.job_name} runs in {place.project}, {place.region}. "
            "Name the one to replace with --job_name, or leave --update out."
        )
    if not is_update and found is not None:
        page = replace(place, job_id=found.job_id).url
        raise UsageError(
            f"a job named {place.job_name} runs already: {page}. Replace it with --update, drain "
            "it, or give this one another --job_name."
        )
    return found


def _recorded_steps(run_root: str, job: ActiveJob) -> Sequence[str]:
    """The steps of a running job, as its run folder has them; none if it is not among these runs.

    The labels of a job spell a run's id in small letters.
    """
    label = job.run_label
    if label is None:
        return ()
    run_id = label.upper().rpartition("-")
    path = join(run_root, f"{run_id[0]}-{run_id[2].lower()}", SUBMISSION)
    if not exists(path):
        return ()
    steps: Sequence[str] = read_json(path)["steps"]
    return steps
