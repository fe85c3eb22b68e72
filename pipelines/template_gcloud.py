"""The call of gcloud that starts a job from the template."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath

from .errors import ExitCode, UsageError
from .runner_profiles import given_flags
from .template_environment import gcloud_flags, in_one_item
from .template_parameters import JOB_FILE

_STEM_LENGTH = 30  # a name is also a label, of 63 characters at most, with the time behind it
_JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")


def gcloud_call(
    spec: str, values: Mapping[str, str], beam_flags: Sequence[str], now: datetime
) -> list[str]:
    """The words of the call.

    Args:
        spec: the template's file.
        values: of the template's parameters.
        beam_flags: what the job is to have besides.
        now: part of the job's name, where none is given.

    Raises:
        UsageError: something without which gcloud would refuse, or take what nobody said.
    """
    if not re.fullmatch(r"gs://[^/]+/.+", spec):
        raise UsageError(
            f"expected the template's file at gs://, got {spec!r}. Publish it: scoreline template "
            "build --output gs://BUCKET/FOLDER"
        )
    given = given_flags(beam_flags)
    if "region" not in given:
        raise UsageError("--region is needed, such as --region=europe-west4: gcloud would take any")
    if "update" in given and "job_name" not in given:
        raise UsageError("--update needs --job_name: the name of the job that is to be replaced")
    name = given.get("job_name") or _job_name(values, now)
    if not _JOB_NAME.fullmatch(name):
        raise UsageError(
            f"--job_name={name}: expected small letters, digits and hyphens, from a letter on"
        )
    return [
        *("gcloud", "dataflow", "flex-template", "run", name),
        f"--template-file-gcs-location={spec}",
        *gcloud_flags(beam_flags),
        *(f"--parameters={in_one_item(f'{key}={value}')}" for key, value in values.items()),
    ]


def as_shell(call: Sequence[str]) -> str:
    r"""The call as a person copies it into a shell: a flag on each line.

    >>> print(as_shell(["gcloud", "run", "--region=r", "--parameters=^;^keep=a,b"]))
    gcloud run \
        --region=r \
        --parameters='^;^keep=a,b'
    """
    words = [shlex.quote(word) for word in call if not word.startswith("--")]
    flags = [_quoted_flag(word) for word in call if word.startswith("--")]
    return " \\\n    ".join([" ".join(words), *flags])


def start(call: Sequence[str]) -> int:
    """Makes the call; gives the exit code.

    Raises:
        UsageError: there is no gcloud.
    """
    program = shutil.which(call[0])
    if program is None:
        raise UsageError(
            "there is no gcloud on PATH. Install Google's Cloud SDK, or print the call with "
            "--print and make it elsewhere."
        )
    ended = subprocess.run([program, *call[1:]], check=False)
    return ExitCode.FINISHED if ended.returncode == 0 else ExitCode.FAILED


def _quoted_flag(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}{equals}{shlex.quote(value) if equals else ''}"


def _job_name(values: Mapping[str, str], now: datetime) -> str:
    """A name after the job file or the model, unlike that of a job that runs."""
    stem = PurePosixPath(values.get(JOB_FILE) or values["model"]).stem.lower()
    plain = re.sub(r"[^a-z0-9]+", "-", stem)[:_STEM_LENGTH].strip("-")
    return f"scoreline-{plain}-{now:%Y%m%d-%H%M%S}"
