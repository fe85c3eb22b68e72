"""Names the local files of a job so that a process that works in another folder finds them."""

from scoreline.transforms.storage import absolute, exists

from .job import Job
from .job_files import FilesDeadLetters, FilesSink, FilesSource
from .places import default_report


def with_absolute_paths(job: Job) -> Job:
    """The same job, whichever folder it is read in."""
    changes: dict[str, object] = {
        "model": job.model.model_copy(update={"uri": _absolute_if_there(job.model.uri)}),
        "sinks": tuple(_sink(sink) for sink in job.sinks),
    }
    if isinstance(job.source, FilesSource):
        paths = tuple(map(absolute, job.source.path))
        changes["source"] = job.source.model_copy(update={"path": paths})
    if isinstance(job.dead_letters, FilesDeadLetters) and job.dead_letters.path is not None:
        path = absolute(job.dead_letters.path)
        changes["dead_letters"] = job.dead_letters.model_copy(update={"path": path})
    report = job.report.path or default_report(job)
    if report is not None:
        changes["report"] = job.report.model_copy(update={"path": absolute(report)})
    return job.model_copy(update=changes)


def _sink(sink: object) -> object:
    if isinstance(sink, FilesSink):
        return sink.model_copy(update={"path": absolute(sink.path)})
    return sink


def _absolute_if_there(uri: str) -> str:
    """Of a model: what names no file here, such as a function, stays as it is."""
    return absolute(uri) if exists(uri) else uri
