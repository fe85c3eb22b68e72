"""The job: what to read, which model, where to write. Frozen, typed, checked on creation."""

import hashlib
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from scoreline.models.outputs import OUTPUTS

from .errors import UsageError
from .near import near_name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FilesSource(_Part):
    """Stored files, by paths or globs on any Beam file system."""

    type: Literal["files"] = "files"
    path: tuple[str, ...] = Field(min_length=1, description="Paths, globs or folders.")


class TrustSpec(_Part):
    """What the model file may do when it is loaded."""

    sha256: str | None = None
    allow_pickle: bool = False
    allow_code: bool = False
    skops_types: tuple[str, ...] = ()

    @field_validator("sha256")
    @classmethod
    def _is_hash(cls, sha256: str | None) -> str | None:
        if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
            raise ValueError(f"expected 64 hexadecimal digits, got {sha256!r}")
        return sha256


class ModelSpec(_Part):
    """The model and what to ask of it."""

    uri: str = Field(min_length=1)
    outputs: tuple[str, ...] = Field(("predict",), min_length=1)
    features: tuple[str, ...] | None = None
    preprocess: str | None = None
    postprocess: str | None = None
    trust: TrustSpec = TrustSpec()

    @field_validator("outputs")
    @classmethod
    def _known_outputs(cls, outputs: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [output for output in outputs if output not in OUTPUTS]
        if unknown:
            hint = near_name(unknown[0], OUTPUTS)
            raise ValueError(
                f"expected some of {', '.join(OUTPUTS)}, got {', '.join(unknown)}{hint}"
            )
        return tuple(dict.fromkeys(outputs))


class FilesSink(_Part):
    """Predictions as files: a folder of parts, or one file if the path ends in `.parquet`."""

    type: Literal["files"] = "files"
    path: str = Field(min_length=1)
    keep: tuple[str, ...] | None = None
    row_id: bool = False


class DeadLettersSpec(_Part):
    """Where rejected rows go, and how many of them a run may have."""

    path: str | None = None
    max_ratio: float = Field(0.05, ge=0, le=1)


class ReportSpec(_Part):
    """Where run folders go; below or beside the output if no path is given."""

    path: str | None = None


class Job(_Part):
    """One job, the same whatever runs it."""

    name: str = Field(min_length=1)
    source: FilesSource
    model: ModelSpec
    sinks: tuple[FilesSink, ...] = Field(min_length=1, max_length=1)
    dead_letters: DeadLettersSpec = DeadLettersSpec()
    report: ReportSpec = ReportSpec()

    @property
    def fingerprint(self) -> str:
        """Equal for two commands that ask for the same."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def make_job(values: dict[str, Any]) -> Job:
    """Checks values and makes a job of them.

    Raises:
        UsageError: one line for each wrong value: where it stands, what was expected, what came.
    """
    try:
        return Job.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(_explain(problem) for problem in error.errors())) from None


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "value_error":  # one of the validators above: it says what came
        return f"{where}: {problem['ctx']['error']}"
    return f"{where}: {problem['msg']}, got {problem['input']!r}"
