"""Which file systems a job needs, and what to install for one that is not there."""

from collections.abc import Iterator
from importlib.util import find_spec

from apache_beam.io.filesystem import FileSystem

from scoreline.transforms.storage import is_local

from .errors import UsageError
from .job import Job
from .job_files import FilesSink

# The module behind a scheme, and what brings it. The one behind gs:// is always installed.
_NEEDS = {
    "s3": ("boto3", "scoreline[aws]"),
    "azfs": ("azure.storage.blob", "apache-beam[azure]"),
    "hdfs": ("hdfs", "apache-beam[hadoop]"),
}


def check_schemes(job: Job) -> None:
    """Checks that there is a file system for each path of a job.

    Raises:
        UsageError: names the extra to install, or the schemes that there are.
    """
    for path in _paths(job):
        if not is_local(path):
            _check(path, path.partition("://")[0])


def _paths(job: Job) -> Iterator[str]:
    yield from job.source.path
    yield job.model.uri
    yield from (sink.path for sink in job.sinks if isinstance(sink, FilesSink))
    yield from filter(None, (job.dead_letters.path, job.report.path))


def _check(path: str, scheme: str) -> None:
    module, extra = _NEEDS.get(scheme, ("", ""))
    if module and not _is_installed(module):
        raise UsageError(
            f"{path}: {scheme}:// needs {module}, which is not installed: pip install '{extra}'"
        )
    known = {system.scheme() for system in FileSystem.get_all_subclasses()} | set(_NEEDS)
    if scheme not in known:
        others = ", ".join(f"{name}://" for name in sorted(filter(None, known)))
        raise UsageError(
            f"{path}: there is no file system {scheme}://. Expected a local path or one of {others}"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package above it
        return False
