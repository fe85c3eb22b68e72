"""What a stream would do, found out without pulling a message."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from scoreline.transforms.output_columns import ROW_ID

from .build_stream import build_stream
from .check import columns_found, model_found, runner_found, table_found, workers_found
from .fused import check_fused
from .job import Job
from .job_bigquery import BigQuerySink
from .job_files import FilesSink
from .launch import beam_options
from .places import dead_letters_output, layout_of
from .run_folder import new_run_id
from .runner_profiles import DATAFLOW, RunnerProfile
from .stream import prepare_stream, stream_profile
from .stream_preflight import PreparedStream

_DELETED = "_deleted-topic_"  # what a subscription says when its topic is gone


def check_stream_job(job: Job, beam_flags: Sequence[str]) -> dict[str, Any]:
    """Checks a stream as a run would, and says what it found.

    Raises:
        UsageError, ContractError, ModelError: what a run would raise, too.
        NotFusedError: as a run would.
    """
    profile = stream_profile(job, beam_flags)
    options = beam_options([*beam_flags, *profile.added_flags])
    prepared = prepare_stream(job, profile, options)
    if profile.is_in_process:
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
        build_stream(pipeline, prepared, new_run_id())
        check_fused(pipeline)
    layout = prepared.layouts[0]
    found = workers_found(job, prepared.model, profile, beam_flags)
    return {
        **found,
        "job": job.name,
        **runner_found(profile),
        "mode": "streaming",
        "acknowledged": profile.acknowledged,
        "readers": profile.num_readers,
        "input": _input(prepared),
        "in_hand": None if profile.runner == DATAFLOW else _in_hand(prepared),
        "max_latency_secs": job.max_latency_secs,
        "model": model_found(prepared.model, prepared.contract),
        "outputs": [_output(prepared, number) for number in range(len(job.sinks))],
        "dead_letters": dead_letters_output(job, prepared.layouts),
        "max_dead_letter_ratio": job.dead_letters.max_ratio,
        "reports": layout.run_root,
        "notes": [*_notes(prepared), *found["notes"], *_on_the_runner(job, profile)],
        "exit_code": 0,
    }


def _on_the_runner(job: Job, profile: RunnerProfile) -> Iterator[str]:
    """What becomes of duplicates and of an end, which depends on the runner."""
    spec = job.messages_source
    if profile.runner == DATAFLOW and spec.stop_when_idle_secs is not None:
        yield "source.stop_when_idle_secs is ignored on Dataflow: drain the job when it is done"
    if profile.runner == DATAFLOW and spec.id_label is not None:
        yield f"Dataflow drops messages whose attribute {spec.id_label} it saw in the last minutes"
    if spec.deduplicate_by is not None:
        where = "each worker process" if profile.runner == DATAFLOW else "this process"
        yield f"duplicates are found within {where} only, and not across a restart"


def _input(prepared: PreparedStream) -> dict[str, Any]:
    spec = prepared.job.messages_source
    return {
        "subscription": spec.subscription,
        "topic": prepared.found.topic,
        "ack_deadline_secs": prepared.found.ack_deadline_secs,
        "format": spec.format,
        "columns": columns_found(prepared.schema),
        "deduplicate_by": spec.deduplicate_by,
        "deduplicate_secs": None if spec.deduplicate_by is None else spec.deduplicate_secs,
        "stop_when_idle_secs": spec.stop_when_idle_secs,
    }


def _in_hand(prepared: PreparedStream) -> dict[str, Any]:
    """How much is pulled ahead, and for how long at most."""
    source = prepared.source
    return {
        "pull_threads": source.pull_threads,
        "max_messages": source.max_messages,
        "max_bytes": source.max_bytes,
        "max_lease_secs": source.max_lease_secs,
    }


def _output(prepared: PreparedStream, number: int) -> dict[str, Any]:
    sink = prepared.job.sinks[number]
    columns = columns_found(prepared.output_schemas[number])
    if isinstance(sink, BigQuerySink):
        return {"path": sink.path, **table_found(prepared.targets, sink), "columns": columns}
    if isinstance(sink, FilesSink):
        return {
            "path": sink.path,
            "files": f"part-*{layout_of(prepared.layouts, sink).extension}",
            "flush_secs": prepared.source.bundle_secs,
            "columns": columns,
        }
    attributes = dict.fromkeys(["model_version", ROW_ID, *(sink.keep or ())])
    return {"path": sink.path, "attributes": list(attributes), "columns": columns}


def _read_as_text(prepared: PreparedStream) -> list[str]:
    """The columns whose types nobody knows, and that are read as text."""
    spec = prepared.job.messages_source
    if spec.format == "avro":
        return []
    open_features = [
        each.name for each in prepared.contract.features if each.kind == "any" and not each.known
    ]
    added = {*spec.types, *spec.attributes, spec.message_id, spec.publish_time}
    names = {*prepared.reading.untyped, *open_features}
    return sorted(spec.rename.get(name, name) for name in names - added)


def _notes(prepared: PreparedStream) -> Iterator[str]:
    """What fits, and may still not be what was meant."""
    spec, found = prepared.job.messages_source, prepared.found
    for name in ("PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
        if name == "BIGQUERY_EMULATOR_HOST" and not prepared.targets:
            continue
        if emulator := os.environ.get(name):
            yield f"{name} is set: this is the emulator at {emulator}, not the service"
    if found.topic == _DELETED:
        yield "the subscription's topic was deleted: nothing new will come"
    names = _read_as_text(prepared)
    if names:
        yield f"the columns {names} are read as text, as nobody says their types: --types"
    if not prepared.contract.names:
        yield "the rows are not checked before --preprocess sees them"
    if prepared.source.max_lease_secs > spec.max_lease_secs:
        yield (
            f"max_lease_secs is {prepared.source.max_lease_secs:g}: no less than the "
            "subscription's own deadline for acknowledgements"
        )
