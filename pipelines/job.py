"""The job: what to read, which model, where to write. Frozen, typed, checked on creation."""

import hashlib
import re
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from scoreline.models.outputs import OUTPUTS

from .errors import UsageError
from .job_errors import explain
from .job_file import hide
from .near import near_name

FileFormat = Literal["parquet", "json", "csv", "avro"]


def _listed(value: Any) -> Any:
    """One string may stand for a list of one."""
    return [value] if isinstance(value, str) else value


_STRING_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Strings = Annotated[tuple[str, ...], BeforeValidator(_listed), WithJsonSchema(_STRING_OR_LIST)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CsvSpec(_Part):
    """How a CSV file is written."""

    delimiter: str = Field(",", min_length=1, max_length=1, description="Between two fields.")
    quote: str = Field('"', max_length=1, description="Around a field; empty for none.")
    header: bool = Field(True, description="Whether the first line holds the columns' names.")
    names: Strings | None = Field(
        None, description="The columns' names, where the file has no header."
    )
    null_values: Strings = Field(
        ("", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "NaN", "nan", "None"),
        description="Spellings of a missing value.",
    )
    newlines_in_values: bool = Field(
        False, description="Whether a quoted field may hold a line break; read by one worker then."
    )


class FilesSource(_Part):
    """Stored files, by paths or globs on any Beam file system."""

    type: Literal["files"] = "files"
    path: Strings = Field(min_length=1, description="Paths, globs or folders.")
    format: FileFormat | None = Field(
        None, description="The files' format; told from their extension if left out."
    )
    columns: Strings | None = Field(
        None, description="The columns to read, by their names in the files; all if left out."
    )
    rename: dict[str, str] = Field(
        default_factory=dict, description="New names: {name in the file: name from here on}."
    )
    csv: CsvSpec = Field(default_factory=CsvSpec, description="For the format csv.")
    limit: int | None = Field(None, ge=1, description="Read at most so many rows, then stop.")


class TrustSpec(_Part):
    """What the model file may do when it is loaded."""

    sha256: str | None = Field(None, description="Load only the file with this hash.")
    allow_pickle: bool = Field(False, description="Load a pickle, which can run any code.")
    allow_code: bool = Field(False, description="Import and run preprocess and postprocess.")
    skops_types: Strings = Field((), description="Types that a .skops file may hold besides ours.")

    @field_validator("sha256")
    @classmethod
    def _is_hash(cls, sha256: str | None) -> str | None:
        if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
            raise ValueError(f"expected 64 hexadecimal digits, got {sha256!r}")
        return sha256


class ModelSpec(_Part):
    """A model file, the methods to call, and what it may do."""

    uri: str = Field(min_length=1, description="The model file, on any Beam file system.")
    outputs: Strings = Field(
        ("predict",), min_length=1, description=f"What to compute: {', '.join(OUTPUTS)}."
    )
    features: Strings | None = Field(
        None, description="The model's columns in its own order, if it does not know them."
    )
    preprocess: str | None = Field(
        None, description="package.module:function from the input's columns to the model's."
    )
    postprocess: str | None = Field(
        None, description="package.module:function from input and outputs to what is written."
    )
    trust: TrustSpec = Field(default_factory=TrustSpec, description="What the file may do.")

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
    """Predictions as files: a folder of parts, or one file if the path ends in an extension."""

    type: Literal["files"] = "files"
    path: str = Field(min_length=1, description="A folder, or one file such as out.parquet.")
    format: FileFormat | None = Field(
        None, description="The format; told from the path's extension, else parquet."
    )
    keep: Strings | None = Field(
        None, description="Input columns to write beside the predictions; all if left out."
    )
    row_id: bool = Field(False, description="Add a column row_id: which file, which row.")


class DeadLettersSpec(_Part):
    """Where rejected rows go, and how many of them a run may have."""

    path: str | None = Field(None, description="A folder, or one file that ends in .parquet.")
    max_ratio: float = Field(
        0.05, ge=0, le=1, description="More dead letters per row end the run with code 3."
    )


class ReportSpec(_Part):
    """The folder of run folders."""

    path: str | None = Field(None, description="A folder; beside the first output if left out.")


class Job(_Part):
    """One scoreline job, the same whatever runs it."""

    name: str = Field(min_length=1, description="Stands in reports.")
    source: FilesSource = Field(description="What to read.")
    model: ModelSpec = Field(description="The model and what to ask of it.")
    sinks: tuple[FilesSink, ...] = Field(min_length=1, description="Where predictions go.")
    dead_letters: DeadLettersSpec = Field(
        default_factory=DeadLettersSpec, description="Where rejected rows go."
    )
    report: ReportSpec = Field(default_factory=ReportSpec, description="Where run folders go.")

    _variables: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("sinks")
    @classmethod
    def _distinct(cls, sinks: tuple[FilesSink, ...]) -> tuple[FilesSink, ...]:
        if len({sink.path.rstrip("/") for sink in sinks}) < len(sinks):
            raise ValueError("expected a path of its own for each sink, got one twice")
        return sinks

    @property
    def fingerprint(self) -> str:
        """Equal for two commands that ask for the same."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def has_variables(self) -> bool:
        """Whether something was filled in from the environment."""
        return bool(self._variables)

    def hide(self, value: Any) -> Any:
        """Puts `${NAME}` in place of what a variable held, in every string of a value."""
        return hide(value, self._variables)


def make_job(values: dict[str, Any], variables: dict[str, str] | None = None) -> Job:
    """Checks values and makes a job of them.

    Args:
        values: as in a job file.
        variables: what was filled in from the environment, by name: it is never written.

    Raises:
        UsageError: one line for each wrong value: where it stands, what was expected, what came.
    """
    try:
        job = Job.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(explain(problem, Job) for problem in error.errors())) from None
    job._variables.update(variables or {})
    return job


def as_yaml(job: Job) -> str:
    """The job as a job file, all defaults written out, variables by their names."""
    return yaml.safe_dump(
        job.hide(job.model_dump(mode="json")), sort_keys=False, allow_unicode=True
    )
