"""What Dataflow's workers get to work with, and whether that is all that a job needs."""

import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import (
    PackageNotFoundError,
    packages_distributions,
    requires,
    version,
)
from pathlib import Path

from packaging.requirements import Requirement

from scoreline.models.model import ModelInfo, is_code
from scoreline.models.registry import FORMATS
from scoreline.transforms.bigquery.credentials import IMPERSONATE, QUOTA_PROJECT

from .errors import UsageError
from .job import Job
from .job_bigquery import BigQueryDeadLetters, BigQuerySink, BigQuerySource
from .job_files import FilesSink
from .runner_profiles import given_flags
from .worker_image import ImageFacts, ImageUnknownError, check_image, describe_image

# Beam's own image has it, in the version of the launcher: it is chosen by that.
_IN_THE_IMAGE = ("apache-beam",)
_AWS = "aws"


@dataclass(frozen=True)
class WorkerParts:
    """What workers get.

    Attributes:
        image: that the user named; Beam's own if None, in which all else is installed.
        extras: of scoreline that the job needs.
        requirements: what is installed on each worker as it starts, `name==version`.
        modules: of the user's, which the job imports.
        notes: what could not be found out, and what holds here but not there.
    """

    image: str | None
    extras: frozenset[str]
    requirements: tuple[str, ...]
    modules: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def as_lines(self) -> list[str]:
        """As a person reads it."""
        if self.image is not None:
            extras = ", ".join(sorted(self.extras)) or "none"
            lines = [f"the image {self.image}; extras that the job needs: {extras}"]
        else:
            lines = [
                "Beam's own image; each worker installs this scoreline and "
                f"{', '.join(self.requirements)} as it starts"
            ]
        if self.modules:
            lines.append(f"they import {', '.join(self.modules)}")
        return lines


def worker_parts(
    job: Job,
    info: ModelInfo,
    beam_flags: Sequence[str],
    describe: Callable[[str], ImageFacts] = describe_image,
) -> WorkerParts:
    """Finds out what workers get, and checks that the job needs no more.

    Args:
        job: that is to run.
        info: of its model, which was loaded here.
        beam_flags: as the user gave them.
        describe: asks a registry what an image holds.

    Raises:
        UsageError: an extra, a version or the user's own code will not be there.
    """
    image = given_flags(beam_flags).get("sdk_container_image")
    extras, modules = frozenset(_extras(job, info)), tuple(_modules(job))
    if image is not None:
        notes = (*_looked_into(image, extras, modules, describe), *_left_here(job))
        return WorkerParts(image, extras, (), modules, notes)
    requirements = (*_pins(extras), *_given_requirements(beam_flags))
    for module in modules:
        _check_module(module, requirements, beam_flags)
    return WorkerParts(None, extras, requirements, modules, tuple(_left_here(job)))


def _extras(job: Job, info: ModelInfo) -> Iterator[str]:
    """The extras that bring the model's library and the file systems."""
    yield from (one.extra for one in FORMATS if one.name == info.format and one.extra)
    paths = [*job.source.path, job.model.uri, job.report.path, job.dead_letters.path]
    paths += [sink.path for sink in job.sinks if isinstance(sink, FilesSink)]
    if any(path is not None and path.startswith("s3://") for path in paths):
        yield _AWS


def _left_here(job: Job) -> Iterator[str]:
    """What says here who calls BigQuery: Dataflow hands no variables on to workers."""
    named = [name for name in (IMPERSONATE, QUOTA_PROJECT) if os.environ.get(name)]
    tables = (BigQuerySource, BigQuerySink, BigQueryDeadLetters)
    parts = (job.source, *job.sinks, job.dead_letters)
    if named and any(isinstance(part, tables) for part in parts):
        yield (
            f"{' and '.join(named)}: set here only. Workers call BigQuery as their own service "
            "account, and charge the project that they run in: --service_account_email names one"
        )


def _modules(job: Job) -> Iterator[str]:
    """The modules of the user's, each once."""
    spec = job.model
    named = [spec.uri] if is_code(spec.uri) else []
    named += [one for one in (spec.preprocess, spec.postprocess) if one is not None]
    yield from dict.fromkeys(one.removeprefix("beam:").partition(":")[0] for one in named)


def _looked_into(
    image: str,
    extras: frozenset[str],
    modules: Sequence[str],
    describe: Callable[[str], ImageFacts],
) -> Iterator[str]:
    """Checks what an image says of itself; gives what it does not say."""
    try:
        facts = describe(image)
    except ImageUnknownError as error:
        yield f"the image could not be looked into ({error}): workers check it when they start"
    else:
        check_image(image, facts, extras)
        if facts.extras is None:
            yield (
                "the image does not say what it holds (it has no label scoreline.extras): workers "
                "check it when they start"
            )
    if modules:
        yield f"whether the image holds {', '.join(modules)} is seen when workers start"


def _given_requirements(beam_flags: Sequence[str]) -> Iterator[str]:
    """The lines of the user's own --requirements_file."""
    path = given_flags(beam_flags).get("requirements_file")
    if path is None:
        return
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--requirements_file={path} cannot be read: {error}") from None
    yield from (line for line in map(str.strip, lines) if line and not line.startswith("#"))


def _check_module(module: str, requirements: Sequence[str], beam_flags: Sequence[str]) -> None:
    """Raises UsageError if nothing that workers get holds a module of the user's."""
    top = module.partition(".")[0]
    if any(_holds(Path(path), top) for path in _sent_along(beam_flags)):
        return
    named = {_plain(re.split(r"[\[<>=!~; @]", line, maxsplit=1)[0]) for line in requirements}
    brought_by = set(map(_plain, packages_distributions().get(top, ())))
    if brought_by & {*named, *_IN_THE_IMAGE, "scoreline"}:
        return
    raise UsageError(
        f"{module}, which the job imports, would not be on the workers. Send the package that "
        "holds it along with --extra_package=FILE (a wheel, or an archive of sources), or name an "
        "image that holds it with --sdk_container_image."
    )


def _plain(name: str) -> str:
    """A distribution's name as all of its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _sent_along(beam_flags: Sequence[str]) -> Iterator[str]:
    for word in beam_flags:
        flag, _, value = word.lstrip("-").partition("=")
        if flag in ("extra_package", "extra_packages", "setup_file"):
            yield value


def _holds(path: Path, top: str) -> bool:
    """Whether a package, or the folder of a setup file, holds a module or package of this name."""
    wanted = (f"{top}.py", f"{top}/__init__.py")
    if path.name in ("setup.py", "pyproject.toml"):
        folders = (path.parent, path.parent / "src")
        return any((folder / name).is_file() for folder in folders for name in wanted)
    return any(f"/{name}".endswith(f"/{one}") for name in _names_in(path) for one in wanted)


def _names_in(path: Path) -> list[str]:
    """The names of the files in an archive; none if it cannot be read, of which Beam complains."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return archive.namelist()
        with tarfile.open(path) as tar:
            return tar.getnames()
    except (OSError, tarfile.TarError):
        return []


def _pins(extras: frozenset[str]) -> Iterator[str]:
    """The versions that are installed here of all that scoreline itself asks for."""
    for requirement in map(Requirement, requires("scoreline") or ()):
        if requirement.name in _IN_THE_IMAGE and not requirement.extras - {"gcp"}:
            continue
        if not _is_wanted(requirement, extras):
            continue
        wanted = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        yield f"{requirement.name}{wanted}=={_version(requirement.name)}"


def _is_wanted(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Whether the base install, or one of some extras, asks for it."""
    marker = requirement.marker
    if marker is None:
        return True
    if "extra" not in str(marker):
        return marker.evaluate()
    return any(marker.evaluate({"extra": extra}) for extra in extras)


def _version(name: str) -> str:
    """Of what is installed; xgboost may be there as the package without GPUs."""
    for known in (name, f"{name}-cpu"):
        try:
            return version(known)
        except PackageNotFoundError:
            continue
    raise UsageError(
        f"{name} is not installed here, so which version workers should get is not known: pip "
        f"install {name}, or name an image that has it with --sdk_container_image."
    )


def installed_from(parts: WorkerParts, folder: Path) -> Mapping[str, Path]:
    """Writes what workers install; {what it is: file}. Nothing where an image has all.

    Args:
        parts: what they get.
        folder: to write to.
    """
    from .own_wheel import build_wheel

    if parts.image is not None:
        return {}
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{line}\n" for line in parts.requirements))
    return {"wheel": build_wheel(folder), "requirements": requirements}
