"""Which file systems a job needs, what to install for one that is not there, and who may use it."""

from collections.abc import Iterator
from importlib.util import find_spec

from apache_beam.io.filesystem import FileSystem
from apache_beam.options.pipeline_options import PipelineOptions, S3Options

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


def check_schemes(job: Job, options: PipelineOptions) -> None:
    """Checks that there is a file system for each path of a job.

    Raises:
        UsageError: as `check_scheme`.
    """
    for path in _paths(job):
        check_scheme(path, options)


def check_scheme(path: str, options: PipelineOptions) -> None:
    """Checks that there is a file system for a path, and for S3 that somebody is to use it.

    Raises:
        UsageError: names the extra to install, the schemes that there are, or what would be taken
            as credentials.
    """
    if is_local(path):
        return
    scheme = path.partition("://")[0]
    _check_installed(path, scheme)
    if scheme == "s3" and options.view_as(S3Options).s3_access_key_id is None:
        _check_aws_credentials(path)


def _paths(job: Job) -> Iterator[str]:
    yield from job.source.path
    yield job.model.uri
    yield from (sink.path for sink in job.sinks if isinstance(sink, FilesSink))
    yield from filter(None, (job.dead_letters.path, job.report.path))


def _check_installed(path: str, scheme: str) -> None:
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


def _check_aws_credentials(path: str) -> None:
    """Looks for credentials where boto3 will.

    Without any, Beam 2.77 takes each call for one that may yet succeed, and tries for ten minutes.
    """
    import boto3  # not everyone has it
    from botocore.exceptions import BotoCoreError

    try:
        found, reason = boto3.session.Session().get_credentials(), "there are no AWS credentials"
    except BotoCoreError as error:
        found, reason = None, str(error)
    if found is None:
        raise UsageError(
            f"{path}: {reason}. Expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
            "environment, a profile (AWS_PROFILE, ~/.aws), the role of this machine, or "
            "--s3_access_key_id and --s3_secret_access_key"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package above it
        return False
