"""What a job would do, found out without reading or writing its data."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from scoreline.models.contract import Contract, Feature
from scoreline.models.model import Model

from .job import Job
from .job_bigquery import BigQuerySink
from .job_files import FilesSink
from .launch import beam_options, check_output
from .places import check_places, check_report, dead_letters_output, layout_of, layouts_of
from .preflight import Prepared, check
from .runner_preflight import check_runner
from .runner_profiles import DATAFLOW, RunnerProfile, ignored
from .schemes import check_schemes
from .tables import Target, asked


def check_job(job: Job, beam_flags: Sequence[str], *, overwrite: bool) -> dict[str, Any]:
    """Checks a job as a run would, and says what it found.

    Raises:
        UsageError, ContractError, UnreadableFileError, ModelError: what a run would raise, too.
    """
    profile = check_runner(beam_flags, is_stream=False, job=job)
    options = beam_options([*beam_flags, *profile.added_flags])
    check_schemes(job, options)
    check_report(job, profile)
    layouts = layouts_of(job)
    for layout in layouts:
        check_places(layout)
        check_output(layout, layout.existing(), overwrite=overwrite)
    prepared = check(job, [path for layout in layouts for path in layout.existing()])
    return {
        "job": job.name,
        **runner_found(profile),
        "input": _input(prepared),
        "model": model_found(prepared.model, prepared.contract),
        "outputs": [_output(prepared, number) for number in range(len(job.sinks))],
        "dead_letters": dead_letters_output(job, layouts),
        "max_dead_letter_ratio": job.dead_letters.max_ratio,
        "reports": layouts[0].run_root,
        **workers_found(job, prepared.model, profile, beam_flags),
        "exit_code": 0,
    }


def workers_found(
    job: Job, model: Model, profile: RunnerProfile, beam_flags: Sequence[str]
) -> dict[str, Any]:
    """What a check says of the workers on Dataflow, and of what only those can make use of.

    Raises:
        UsageError: they would lack something.
    """
    if profile.runner != DATAFLOW:
        return {"notes": ignored(job, profile.runner)}
    from .worker_parts import worker_parts

    parts = worker_parts(job, model.info, beam_flags)
    hints = [f"resources.{name}: {value}" for name, value in job.resources.hints.items()]
    needs = [f"the step that calls the model asks for {', '.join(hints)}"] if hints else []
    return {"workers": [*parts.as_lines(), *needs], "notes": list(parts.notes)}


def runner_found(profile: RunnerProfile) -> dict[str, Any]:
    """What a check says of the runner: its name, and the flags that are set for the job."""
    settings = {
        setting.flag: {"value": setting.value, "reason": setting.reason}
        for setting in profile.settings
    }
    return {"runner": profile.runner, "runner_settings": settings}


def _input(prepared: Prepared) -> dict[str, Any]:
    columns = {field.name: str(field.type) for field in prepared.input.schema}
    table = prepared.input.table
    if table is not None:
        with asked(f"--input {table.path}"):
            num_bytes = table.bytes_scanned(prepared.columns)
        return {
            "format": prepared.input.format,
            "table": table.path,
            "rows": table.num_rows,
            "bytes": num_bytes,
            "row_filter": getattr(prepared.job.source, "row_filter", None),
            "columns": columns,
        }
    files = prepared.input.files
    counts = [info.num_rows for info in files]
    known = None not in counts
    return {
        "format": prepared.input.format,
        "files": len(files),
        "rows": sum(rows for rows in counts if rows is not None) if known else None,
        "bytes": sum(weight for info in files for _, weight in info.ranges()),
        "splits": len(prepared.splits),
        "read_by_one_worker": [
            info.path for info in files if getattr(info, "is_sequential", False)
        ],
        "columns": columns,
    }


def model_found(model: Model, contract: Contract) -> dict[str, Any]:
    """What a check says of a model and of the contract that its rows must satisfy."""
    info = model.info
    features = contract.features or model.contract.features
    return {
        "name": info.name,
        "version": info.version,
        "format": info.format,
        "uri": info.uri,
        "notes": list(info.notes),
        "takes": model.contract.layout,
        "columns": {feature.name: _accepted(feature) for feature in features},
    }


def _accepted(feature: Feature) -> str:
    """What a column may hold, in a few words."""
    words: list[str] = [feature.kind]
    if feature.required or not feature.nullable:
        words.append("not null")
    if feature.minimum is not None:
        words.append(f"at least {feature.minimum:g}")
    if feature.maximum is not None:
        words.append(f"at most {feature.maximum:g}")
    if feature.categories is not None:
        words.append(f"one of {len(feature.categories)} categories")
    return ", ".join(words)


def _output(prepared: Prepared, number: int) -> dict[str, Any]:
    sink = prepared.job.sinks[number]
    columns = columns_found(prepared.output_schemas[number])
    if isinstance(sink, BigQuerySink):
        return {"path": sink.path, **table_found(prepared.targets, sink), "columns": columns}
    assert isinstance(sink, FilesSink)  # the job was checked
    layout = layout_of(prepared.layouts, sink)
    files = "one file" if layout.is_one_file else f"part-*{layout.extension}"
    return {"path": layout.output, "files": files, "columns": columns}


def table_found(targets: Sequence[Target], sink: BigQuerySink) -> dict[str, Any]:
    """What a check says of a table that rows go to."""
    target = next(target for target in targets if str(target.table) == sink.table)
    return {
        "table": "is made" if target.is_new else "is there",
        "write": sink.write,
        "new_columns": list(target.new_columns),
    }


def columns_found(schema: pa.Schema) -> dict[str, str]:
    """What a check says of the columns of an output."""
    return {field.name: _type_name(field.type) for field in schema}


def _type_name(type_: pa.DataType) -> str:
    if pa.types.is_dictionary(type_):  # a way to store the values, which is nobody's concern
        return str(type_.value_type)
    return "told by the first rows" if pa.types.is_null(type_) else str(type_)
