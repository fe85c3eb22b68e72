"""What a job on Google's Dataflow needs to be told, and what cannot run there; nothing is asked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from scoreline.transforms.storage import is_local

from .errors import UsageError
from .job import Job
from .job_files import FilesSink
from .places import layouts_of
from .runner_profiles import DATAFLOW, RunnerProfile, Setting, given_flags, settled

_ACKNOWLEDGED = "when Dataflow has stored what the first fused stage gave"
_PROJECT = re.compile(r"[a-z][-a-z0-9:.]+[a-z0-9]")
_JOB_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_MAX_NAME = 63
_WORKER_GPU = "worker_accelerator"


def dataflow_profile(job: Job, beam_flags: Sequence[str]) -> RunnerProfile:
    """Finds the settings for a job on Dataflow.

    Args:
        job: as the user gave it.
        beam_flags: as the user gave them, each `--flag=value` or `--flag`.

    Raises:
        UsageError: a flag is missing or cannot be; or workers on Google's machines could not reach
            a part of the job.
    """
    given = given_flags(beam_flags)
    _check_place(given)
    _check_paths(job)
    _check_resources(job, beam_flags)
    _check_update(job, given)
    wanted = [_temp_location(job, given), *_stream(job)]
    settings = tuple(settled(one, given) for one in wanted)
    shown = tuple(
        Setting(flag, given[flag], "as given", is_given=True)
        for flag in ("project", "region", "job_name", "template_location")
        if flag in given and flag not in {one.flag for one in wanted}
    )
    acknowledged = _ACKNOWLEDGED if job.is_stream else RunnerProfile.acknowledged
    return RunnerProfile(DATAFLOW, (*shown, *settings), acknowledged=acknowledged)


def _check_place(given: Mapping[str, str]) -> None:
    """A project, a region, and buckets: Beam would look for defaults, and find another's."""
    if not _PROJECT.fullmatch(given.get("project", "")):
        came = f"got {given['project']!r}" if "project" in given else "there is none"
        raise UsageError(
            "--runner=DataflowRunner needs --project=PROJECT, the id of the project that pays; "
            f"{came}."
        )
    if not given.get("region"):
        raise UsageError(
            "--runner=DataflowRunner needs --region=REGION, such as europe-west4: best where the "
            "buckets, the subscription and the tables are."
        )
    for flag in ("temp_location", "staging_location"):
        if flag in given and not given[flag].startswith("gs://"):
            raise UsageError(f"--{flag}={given[flag]}: expected a folder in a bucket, gs://...")
    name = given.get("job_name")
    if name is not None and not _JOB_NAME.fullmatch(name):
        raise UsageError(
            f"--job_name={name}: expected small letters, digits and hyphens, a letter first"
        )


def _check_paths(job: Job) -> None:
    """Workers run on Google's machines: what lies on this one they cannot see."""
    for what, path in _paths(job):
        if is_local(path):
            bucket = _bucket_of(job) or "gs://BUCKET"
            name = PurePosixPath(path).name or "data"
            raise UsageError(
                f"{what}: {path} is a path on this machine, which Dataflow's workers cannot see. "
                f"Copy what is there into a bucket, and name that: {bucket}/{name}."
            )


def _paths(job: Job) -> Iterator[tuple[str, str]]:
    """(where it stands in the job, path) of everything that workers read or write."""
    from scoreline.models.model import is_code

    if not is_code(job.model.uri):
        yield "model.uri", job.model.uri
    for number, path in enumerate(job.source.path):
        yield f"source.path.{number}", path
    for number, sink in enumerate(job.sinks):
        if isinstance(sink, FilesSink):
            yield f"sinks.{number}.path", sink.path
    if job.dead_letters.path is not None:
        yield "dead_letters.path", job.dead_letters.path
    for layout in layouts_of(job):
        yield "report.path", layout.run_root


def _bucket_of(job: Job) -> str | None:
    """The bucket of the first place that the job writes to, else of the first that it names."""
    paths = [path for _, path in _paths(job)]
    writes = [path for what, path in _paths(job) if what.split(".")[0] in ("sinks", "report")]
    for path in (*writes, *paths):
        if path.startswith("gs://"):
            return "/".join(path.split("/")[:3])
    return None


def _check_resources(job: Job, beam_flags: Sequence[str]) -> None:
    """Google's documentation says: one of the two, never both."""
    if job.resources.accelerator and any(_WORKER_GPU in word for word in beam_flags):
        raise UsageError(
            f"resources.accelerator asks for a GPU for the step that calls the model, and "
            f"--dataflow_service_options={_WORKER_GPU} for one on every worker. Dataflow takes one "
            "of the two: leave one out."
        )


def _check_update(job: Job, given: Mapping[str, str]) -> None:
    if given.get("update") == "true" and not job.is_stream:
        raise UsageError(
            "--update: only a running stream can be updated, and this job reads to an end. Leave "
            "the flag out."
        )


def _temp_location(job: Job, given: Mapping[str, str]) -> Setting:
    bucket = _bucket_of(job)
    if bucket is None and "temp_location" not in given:
        raise UsageError(
            "--runner=DataflowRunner needs --temp_location=gs://BUCKET/FOLDER, for what is staged: "
            "the job itself names no bucket."
        )
    return Setting(
        "temp_location", f"{bucket}/scoreline-temp", "what is staged lies in the job's own bucket"
    )


def _stream(job: Job) -> list[Setting]:
    if not job.is_stream:
        return []
    name = re.sub(r"[^a-z0-9]+", "-", job.name.lower()).strip("-")[:_MAX_NAME].rstrip("-")
    name = name if name[:1].isalpha() else f"job-{name}".rstrip("-")
    return [
        Setting("streaming", "true", "messages come without an end"),
        Setting("job_name", name, "the job's name: only one of it runs, and --update finds it"),
    ]
