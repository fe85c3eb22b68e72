"""Everything that is checked before a stream starts; nothing is pulled, nothing is written."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from scoreline.models.contract import Contract, is_text
from scoreline.models.handler import ColumnarModelHandler
from scoreline.models.model import Model
from scoreline.models.tensors import loose_type
from scoreline.transforms.decode import Decode
from scoreline.transforms.deduplicate import MESSAGE_ID
from scoreline.transforms.formats.avro_messages import avro_columns
from scoreline.transforms.formats.messages import RAW_COLUMN, MessageReading
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.pubsub_client import Subscription, client
from scoreline.transforms.pubsub_source import PubSubSource
from scoreline.transforms.storage import open_file

from .ask_pubsub import Need, ask_pubsub, check_permissions, check_pulled
from .errors import UsageError
from .inputs import dialect_of
from .job import Job, PubSubDeadLetters, PubSubSink, arrow_type
from .job import PubSubSource as SourceSpec
from .job_files import FilesSink
from .places import layouts_of
from .preflight import contract_of, handler_of, load, output_schemas
from .tables import Target, find_targets

_FLUSH_SECS = 1.0  # where neither a sink nor the runner says otherwise


@dataclass(frozen=True)
class PreparedStream:
    """A stream that can start.

    Attributes:
        job: as the user gave it.
        layouts: where its files go, for each sink of files; one at least, for the run folder.
        model: loaded here; workers load the same bytes or refuse.
        handler: for RunInference.
        contract: what `Conform` checks; empty where `preprocess` makes the features.
        found: what the subscription says of itself.
        source: what to read.
        reading: how a message becomes columns.
        schema: the columns of a decoded message, as the job names them.
        keeps: the input columns to write, for each sink.
        output_schemas: of the predictions, for each sink.
        targets: the tables that rows go to.
    """

    job: Job
    layouts: tuple[FileLayout, ...]
    model: Model
    handler: ColumnarModelHandler
    contract: Contract
    found: Subscription
    source: PubSubSource
    reading: MessageReading
    schema: pa.Schema
    keeps: tuple[tuple[str, ...], ...]
    output_schemas: tuple[pa.Schema, ...]
    targets: tuple[Target, ...] = ()


def check_stream(
    job: Job, bundle_secs: float | None = None, *, is_in_process: bool = True
) -> PreparedStream:
    """Checks a stream against its model and against the service.

    Args:
        job: as the user gave it.
        bundle_secs: how long a bundle lasts, where no sink says it; a second if None.
        is_in_process: whether this process pulls and publishes. Workers elsewhere have other
            credentials, of which nobody can ask here.

    Raises:
        UsageError, ContractError: the job does not fit together, or the service refuses a part.
        ModelError: the model is unfit.
        NoAnswerError: Pub/Sub does not answer.
    """
    spec = job.messages_source
    model = load(job)
    contract = contract_of(job, model)
    payload, untyped = _payload_schema(job, contract)
    schema = _with_message_columns(payload, spec)
    _check_id(spec.deduplicate_by, schema)
    # By default what the model and the job name: nobody knows what else messages hold.
    keeps = tuple(tuple(schema.names) if sink.keep is None else sink.keep for sink in job.sinks)
    handler = handler_of(job, model)
    loaded = handler.load_model()
    found = _describe(spec)
    _check_topics(job, found)
    if is_in_process:
        check_permissions(list(_needs(job)))
    schemas = output_schemas(_kept(job, keeps), schema, loaded)
    return PreparedStream(
        job=job,
        layouts=layouts_of(job),
        model=model,
        handler=handler,
        contract=contract,
        found=found,
        source=_source(job, found, bundle_secs),
        reading=_reading(spec, payload, untyped),
        schema=schema,
        keeps=keeps,
        output_schemas=tuple(schemas),
        targets=find_targets(job, schemas),
    )


def _payload_schema(job: Job, contract: Contract) -> tuple[pa.Schema, frozenset[str]]:
    """The columns to read of each message, as the job names them; and those of no known type.

    A feature that is a number is read as double, as nobody knows whether fractions come later.
    Only an Avro schema says the types of its columns.
    """
    spec = job.messages_source
    types = {name: arrow_type(type_) for name, type_ in spec.types.items()}
    written = _written_types(spec)
    if spec.format == "raw" and not contract.names and not types:
        return pa.schema([(RAW_COLUMN, pa.binary())]), frozenset()
    if not contract.names and not types:
        types = dict(written)
    if not contract.names and not types:
        raise UsageError(
            "a stream has no file to tell the columns from, and --preprocess, or a model that is "
            "code, hides the model's: name them all with --types COLUMN=TYPE,... (source.types)"
        )
    added = {*spec.attributes, spec.message_id, spec.publish_time}
    for feature in contract.features:
        default = pa.float64() if feature.reads_numbers else pa.string()
        if feature.kind == "tensor" and feature.type is not None:
            default = loose_type(feature.type)
        if feature.name not in added:
            types.setdefault(feature.name, written.get(feature.name, default))
    known = {*types, *written}
    wanted = [name for sink in job.sinks for name in sink.keep or ()]
    for name in [*wanted, *([spec.deduplicate_by] if spec.deduplicate_by else [])]:
        if name not in added and name != MESSAGE_ID:
            types.setdefault(name, written.get(name, pa.string()))
    return pa.schema(list(types.items())), frozenset(set(types) - known)


def _written_types(spec: SourceSpec) -> dict[str, pa.DataType]:
    """The types of the columns of Avro messages, by the names that the job gives them."""
    text = _avro_schema(spec)
    if text is None:
        return {}
    try:
        columns = avro_columns(text)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    return {spec.rename.get(field.name, field.name): field.type for field in columns}


def _with_message_columns(payload: pa.Schema, spec: SourceSpec) -> pa.Schema:
    added: list[tuple[str, pa.DataType]] = [(name, pa.string()) for name in spec.attributes]
    if spec.message_id:
        added.append((spec.message_id, pa.string()))
    if spec.publish_time:
        added.append((spec.publish_time, pa.timestamp("us", "UTC")))
    names = [*payload.names, *(name for name, _ in added)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"the columns {repeated} would come from two parts of a message: its data, its "
            "attributes, its id or its time. Rename those of the data with --rename "
            "(source.rename), or give the id or the time another name."
        )
    return pa.schema([*payload, *(pa.field(name, type_) for name, type_ in added)])


def _check_id(name: str | None, schema: pa.Schema) -> None:
    """Raises UsageError unless ids can be remembered as text, whatever bytes they hold."""
    if name is None or name not in schema.names:  # the message's own id
        return
    type_ = schema.field(name).type
    if not (is_text(type_) or pa.types.is_primitive(type_) or pa.types.is_decimal(type_)):
        raise UsageError(
            f"--deduplicate-by {name} (source.deduplicate_by): expected a column of text, numbers "
            f"or times, got {type_}. Name another one, or message_id."
        )


def _kept(job: Job, keeps: tuple[tuple[str, ...], ...]) -> Job:
    """The job with what it means written out: a stream's rows always have a row_id."""
    sinks = []
    for sink, keep in zip(job.sinks, keeps, strict=True):
        row_id = {} if isinstance(sink, PubSubSink) else {"row_id": True}
        sinks.append(sink.model_copy(update={"keep": keep, **row_id}))
    return job.model_copy(update={"sinks": tuple(sinks)})


def _reading(spec: SourceSpec, payload: pa.Schema, untyped: frozenset[str]) -> MessageReading:
    old = {new: name for name, new in spec.rename.items()}
    fields = [field.with_name(old.get(field.name, field.name)) for field in payload]
    if spec.format == "csv" and spec.csv.names is None:
        raise UsageError(
            "a message of the format csv has no header: name its fields in order with "
            "--csv-header A,B,... (source.csv.header: false and source.csv.names)"
        )
    reading = MessageReading(
        spec.format,
        pa.schema(fields),
        frozenset(old.get(name, name) for name in untyped),
        replace(dialect_of(spec.csv), header=False),
        _avro_schema(spec),
    )
    try:
        Decode(  # whatever is wrong with it is said now
            reading,
            rename=spec.rename,
            attributes={name: name for name in spec.attributes},
            message_id=spec.message_id,
            publish_time=spec.publish_time,
        )
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    return reading


def _avro_schema(spec: SourceSpec) -> str | None:
    if spec.format != "avro":
        return None
    if spec.avro_schema is None:
        raise UsageError(
            "a message of the format avro does not say its schema: give the file of it with "
            "--avro-schema FILE (source.avro_schema)"
        )
    try:
        with open_file(spec.avro_schema) as file:
            text: str = file.read().decode()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read --avro-schema {spec.avro_schema}: {error}") from None
    return text


def _describe(spec: SourceSpec) -> Subscription:
    flag = f"--input pubsub://{spec.subscription}"
    found = ask_pubsub(
        flag,
        "roles/pubsub.viewer and roles/pubsub.subscriber",
        lambda: client().describe_subscription(spec.subscription),
    )
    check_pulled(flag, spec.subscription, found)
    return found


def _needs(job: Job) -> Iterator[Need]:
    """What this process has to be allowed, beside looking."""
    path = job.messages_source.subscription
    yield Need(
        f"--input pubsub://{path}",
        path,
        "pubsub.subscriptions.consume",
        "roles/pubsub.subscriber",
    )
    for flag, topic in _topics(job).items():
        yield Need(flag, topic, "pubsub.topics.publish", "roles/pubsub.publisher")


def _source(job: Job, found: Subscription, bundle_secs: float | None) -> PubSubSource:
    spec = job.messages_source
    default = bundle_secs or _FLUSH_SECS
    flushes = [sink.flush_secs or default for sink in job.sinks if isinstance(sink, FilesSink)]
    flush_secs = min(flushes, default=default)
    max_lease_secs = max(spec.max_lease_secs, math.ceil(found.ack_deadline_secs))
    if flush_secs >= max_lease_secs:
        raise UsageError(
            f"flush_secs is {flush_secs:g} and source.max_lease_secs {max_lease_secs:g}: messages "
            "are acknowledged when their file is complete, but given up and redelivered before, so "
            "the same rows would be written again and again. Lower flush_secs, or raise "
            "source.max_lease_secs well above it."
        )
    return PubSubSource(
        spec.subscription,
        deadline_secs=found.ack_deadline_secs,
        bundle_secs=flush_secs,
        idle_secs=bundle_secs,
        max_latency_secs=job.max_latency_secs,
        pull_threads=spec.pull_threads,
        max_messages=spec.max_messages_in_hand,
        max_bytes=spec.max_bytes_in_hand,
        max_lease_secs=max_lease_secs,
        stop_when_idle_secs=spec.stop_when_idle_secs,
        attributes=bool(spec.attributes),
    )


def _topics(job: Job) -> dict[str, str]:
    """The topics that are published to, by the flags that name them."""
    topics = {
        f"--output pubsub://{sink.topic}": sink.topic
        for sink in job.sinks
        if isinstance(sink, PubSubSink)
    }
    if isinstance(job.dead_letters, PubSubDeadLetters):
        dead = job.dead_letters.topic
        if dead in topics.values():
            raise UsageError(
                f"--dead-letters pubsub://{dead}: the predictions go there, and whoever reads them "
                "would take dead letters for predictions. Choose a topic of their own."
            )
        topics[f"--dead-letters pubsub://{dead}"] = dead
    return topics


def _check_topics(job: Job, found: Subscription) -> None:
    for flag, topic in _topics(job).items():
        if topic == found.topic:
            raise UsageError(
                f"{flag}: the subscription {job.messages_source.subscription} reads this very "
                "topic: what is published would come back, for ever. Choose another topic."
            )
        ask_pubsub(
            flag,
            "roles/pubsub.viewer and roles/pubsub.publisher",
            lambda topic=topic: client().check_topic(topic),  # type: ignore[misc]
        )
