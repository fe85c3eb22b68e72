"""The job: what to read, which model, where to write. Frozen, typed, checked on creation."""

import hashlib
from typing import Annotated, Any, Literal

import pyarrow as pa
import yaml
from pydantic import (
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from .errors import UsageError
from .job_bigquery import (
    BigQueryDeadLetters,
    BigQuerySink,
    BigQuerySource,
    with_dead_letters_table,
)
from .job_errors import explain
from .job_file import hide
from .job_files import CsvSpec, FilesDeadLetters, FilesSink, FilesSource
from .job_model import ModelSpec
from .job_part import Part, Strings
from .job_resources import ResourcesSpec
from .near import near_name

MessageFormat = Literal["json", "csv", "avro", "raw"]

_SUBSCRIPTION = r"projects/[^/]+/subscriptions/[^/]+"
_TOPIC = r"projects/[^/]+/topics/[^/]+"

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
}


class PubSubSource(Part):
    """The messages of a Pub/Sub subscription, as they come: the job runs until it is stopped."""

    type: Literal["pubsub"]
    subscription: str = Field(
        pattern=f"^{_SUBSCRIPTION}$", description="projects/PROJECT/subscriptions/NAME."
    )
    format: MessageFormat = Field("json", description="What a message holds: one record.")
    types: dict[str, str] = Field(
        default_factory=dict,
        description="Arrow types of columns that the model does not know: {tx_id: int64}; text, "
        "if left out.",
    )
    rename: dict[str, str] = Field(
        default_factory=dict, description="New names: {name in the message: name from here on}."
    )
    csv: CsvSpec = Field(default_factory=CsvSpec, description="For the format csv.")
    avro_schema: str | None = Field(
        None, description="For the format avro: the file of the messages' schema."
    )
    attributes: Strings = Field((), description="Attributes of messages to have as columns.")
    message_id: str | None = Field(None, description="Name of a column for the message's id.")
    publish_time: str | None = Field(
        None, description="Name of a column for the time at which the message was published."
    )
    deduplicate_by: str | None = Field(
        None, description="Drop rows whose value in this column was seen, or message_id."
    )
    deduplicate_secs: float = Field(600.0, gt=0, description="For how long that is remembered.")
    id_label: str | None = Field(
        None, description="On Dataflow, the attribute by which the service drops duplicates."
    )
    stop_when_idle_secs: float | None = Field(
        None, gt=0, description="End when no message has come for so long; never if left out."
    )
    pull_threads: int = Field(4, ge=1, le=64, description="Calls that wait for messages at a time.")
    max_messages_in_hand: int = Field(
        20_000, ge=2, description="Messages pulled and not yet acknowledged, at most."
    )
    max_bytes_in_hand: int = Field(
        64 * 2**20, ge=1, description="Bytes of messages that were pulled and wait, at most."
    )
    max_lease_secs: float = Field(
        600.0, gt=0, description="How long a message may be in hand before it is redelivered."
    )

    @property
    def path(self) -> tuple[str, ...]:
        """No files."""
        return ()

    @field_validator("types")
    @classmethod
    def _known_types(cls, types: dict[str, str]) -> dict[str, str]:
        for name in types.values():
            arrow_type(name)
        return types


class PubSubSink(Part):
    """Predictions as messages of a Pub/Sub topic, a JSON object each."""

    type: Literal["pubsub"]
    topic: str = Field(pattern=f"^{_TOPIC}$", description="projects/PROJECT/topics/NAME.")
    keep: Strings | None = Field(
        None, description="Input columns to publish, as attributes too; the model's if left out."
    )

    @property
    def path(self) -> str:
        """How a person names it."""
        return f"pubsub://{self.topic}"


class PubSubDeadLetters(Part):
    """Rejected messages as messages of a Pub/Sub topic, with the reason in their attributes."""

    type: Literal["pubsub"]
    topic: str = Field(pattern=f"^{_TOPIC}$", description="projects/PROJECT/topics/NAME.")
    max_ratio: float = Field(
        0.05, ge=0, le=1, description="More dead letters per row end the run with code 3."
    )

    @property
    def path(self) -> None:
        """No files."""

    @property
    def uri(self) -> str:
        """How a person names it."""
        return f"pubsub://{self.topic}"


def _type_of(value: Any) -> str:
    """Which of several kinds a part of a job is; files unless it says so."""
    kind = value.get("type", "files") if isinstance(value, dict) else "files"
    return getattr(value, "type", kind)


_BY_TYPE = Discriminator(_type_of)
Source = Annotated[
    Annotated[FilesSource, Tag("files")]
    | Annotated[PubSubSource, Tag("pubsub")]
    | Annotated[BigQuerySource, Tag("bigquery")],
    _BY_TYPE,
]
StoredSource = FilesSource | BigQuerySource
Sink = Annotated[
    Annotated[FilesSink, Tag("files")]
    | Annotated[PubSubSink, Tag("pubsub")]
    | Annotated[BigQuerySink, Tag("bigquery")],
    _BY_TYPE,
]
DeadLetters = Annotated[
    Annotated[FilesDeadLetters, Tag("files")]
    | Annotated[PubSubDeadLetters, Tag("pubsub")]
    | Annotated[BigQueryDeadLetters, Tag("bigquery")],
    _BY_TYPE,
]


class ReportSpec(Part):
    """The folder of run folders."""

    path: str | None = Field(None, description="A folder; beside the first output if left out.")


class Job(Part):
    """One scoreline job, the same whatever runs it."""

    name: str = Field(min_length=1, description="Stands in reports.")
    source: Source = Field(description="What to read.")
    model: ModelSpec = Field(description="The model and what to ask of it.")
    max_latency_secs: float = Field(
        0.1, gt=0, description="In a stream, how long a batch may take: it decides its size."
    )
    resources: ResourcesSpec = Field(
        default_factory=ResourcesSpec, description="What the model needs of a worker, on Dataflow."
    )
    sinks: tuple[Sink, ...] = Field(min_length=1, description="Where predictions go.")
    dead_letters: DeadLetters = Field(
        default_factory=FilesDeadLetters, description="Where rejected rows go."
    )
    report: ReportSpec = Field(default_factory=ReportSpec, description="Where run folders go.")

    _variables: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _dead_letters_beside(cls, values: Any) -> Any:
        return with_dead_letters_table(values)

    @field_validator("sinks")
    @classmethod
    def _distinct(cls, sinks: tuple[Sink, ...]) -> tuple[Sink, ...]:
        if len({sink.path.rstrip("/") for sink in sinks}) < len(sinks):
            raise ValueError("expected a path of its own for each sink, got one twice")
        return sinks

    @model_validator(mode="after")
    def _can_be_combined(self) -> "Job":
        _check_tables(self)
        if self.is_stream:
            _check_stream(self)
        else:
            _check_batch(self)
        return self

    @property
    def is_stream(self) -> bool:
        """Whether the job runs until it is stopped."""
        return isinstance(self.source, PubSubSource)

    @property
    def stored_source(self) -> StoredSource:
        """The source of a job that is no stream."""
        assert not isinstance(self.source, PubSubSource)
        return self.source

    @property
    def messages_source(self) -> PubSubSource:
        """The source of a stream."""
        assert isinstance(self.source, PubSubSource)
        return self.source

    @property
    def home(self) -> FilesSink | BigQuerySink | None:
        """The sink beside which run folders and dead letters go, unless they are named places."""
        return next((sink for sink in self.sinks if not isinstance(sink, PubSubSink)), None)

    @property
    def has_files(self) -> bool:
        """Whether predictions or rejected rows go to files."""
        kinds = (FilesSink, FilesDeadLetters)
        return any(isinstance(place, kinds) for place in (*self.sinks, self.dead_letters))

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


def _check_batch(job: Job) -> None:
    for number, sink in enumerate(job.sinks):
        if isinstance(sink, PubSubSink):
            raise ValueError(
                f"sinks.{number}: a job that reads stored data writes files or tables; expected "
                "type files or bigquery, got pubsub. Only what reads a subscription can publish."
            )
    if isinstance(job.dead_letters, PubSubDeadLetters):
        raise ValueError(
            "dead_letters: a job that reads stored data writes files or tables; got type pubsub"
        )


def _check_stream(job: Job) -> None:
    for number, sink in enumerate(job.sinks):
        if isinstance(sink, BigQuerySink) and sink.write == "truncate":
            raise ValueError(
                f"sinks.{number}.write: a stream adds to what is there; expected append, got "
                "truncate"
            )
    if job.home is not None:
        return
    if job.report.path is None:
        raise ValueError(
            "report: a topic has no folder for what a run leaves: give --report FOLDER "
            "(report.path)"
        )
    if isinstance(job.dead_letters, FilesDeadLetters) and job.dead_letters.path is None:
        raise ValueError(
            "dead_letters: a topic has no folder for rejected rows: give --dead-letters FOLDER or "
            "pubsub://projects/PROJECT/topics/NAME (dead_letters)"
        )


def _check_tables(job: Job) -> None:
    """No table is read and written, or has rows of two kinds; rejected rows have a place."""
    dead_letters = job.dead_letters
    source = job.source.table if isinstance(job.source, BigQuerySource) else None
    tables = [sink.table for sink in job.sinks if isinstance(sink, BigQuerySink)]
    if isinstance(dead_letters, BigQueryDeadLetters):
        if dead_letters.table is None:
            raise ValueError("dead_letters.table: missing; the first sink is no table to name one")
        if dead_letters.table in tables:
            raise ValueError(
                f"dead_letters: the predictions go to {dead_letters.uri}, and whoever reads them "
                "would take dead letters for predictions: expected a table of their own"
            )
        tables.append(dead_letters.table)
    if source in tables:
        raise ValueError(f"the job reads bq://{source} and writes to it: expected another table")
    is_homeless = isinstance(dead_letters, FilesDeadLetters) and dead_letters.path is None
    if is_homeless and isinstance(job.home, BigQuerySink):
        raise ValueError(
            "dead_letters: a table has no folder for rejected rows: give --dead-letters FOLDER "
            "(dead_letters.path), or leave the type out: they go to a table beside it then"
        )


def arrow_type(name: str) -> pa.DataType:
    """Turns the name of a type into the type.

    Raises:
        ValueError: there is none of this name, or messages cannot hold it.

    >>> arrow_type("int64")
    DataType(int64)
    """
    if name not in _TYPES:
        hint = near_name(name, list(_TYPES))
        raise ValueError(f"expected one of {', '.join(_TYPES)}, got {name!r}{hint}")
    return _TYPES[name]


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
        raise UsageError("\n".join(explain(each, Job) for each in _causes(error))) from None
    job._variables.update(variables or {})
    return job


def _causes(error: ValidationError) -> list[Any]:
    """What is wrong, without what only follows: a list is not empty whose entries are wrong."""
    problems = error.errors()
    above = {each["loc"][:depth] for each in problems for depth in range(1, len(each["loc"]))}
    return [each for each in problems if each["type"] != "too_short" or each["loc"] not in above]


def as_yaml(job: Job) -> str:
    """The job as a job file, all defaults written out, variables by their names."""
    return yaml.safe_dump(
        job.hide(job.model_dump(mode="json")), sort_keys=False, allow_unicode=True
    )
