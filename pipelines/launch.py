"""Starts a job and waits for its report."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from scoreline.models.model import ModelInfo
from scoreline.transforms import CommitPlan
from scoreline.transforms.commit import REPORT
from scoreline.transforms.layout import FileLayout, FilelessLayout
from scoreline.transforms.storage import join, read_json, write_text

from .build import build
from .credentials import use_credentials
from .dataflow_place import REPORTED
from .display import Display
from .engine import Engine, job_name_of
from .errors import UsageError
from .failure import RunFailedError, explain
from .job import Job, as_yaml
from .job_paths import with_absolute_paths
from .places import check_places, check_report, dead_letters_table, layouts_of, places_of
from .preflight import Prepared, check, reading
from .run_folder import Claim, Claims, new_run_id, recover
from .runner_preflight import check_runner
from .runner_profiles import DATAFLOW, ENGINES, IN_PROCESS, RunnerProfile, ignored
from .schemes import check_schemes
from .stop import undo_on_signals
from .tables import TableClaim


def run(
    job: Job, beam_flags: Sequence[str], display: Display, *, overwrite: bool = False
) -> dict[str, Any]:
    """Runs a job to its end and gives its report.

    A run of the same job that was interrupted while it committed is finished instead.

    Raises:
        UsageError, ContractError, UnreadableFileError, ModelError: nothing was started.
        RunFailedError: the run did not end well; says what is left.
    """
    started = time.monotonic()
    profile = check_runner(beam_flags, is_stream=False, job=job)
    for note in ignored(job, profile.runner):
        display.note(note)
    job = with_absolute_paths(job) if profile.runner in ENGINES else job
    run_id = new_run_id()
    options = beam_options([*beam_flags, *engine_flags(profile, run_id)])
    check_schemes(job, options)
    check_report(job, profile)
    layouts = layouts_of(job)
    for layout in layouts:
        check_places(layout)
    report = _recover(layouts, job, display)
    if report is not None:
        return report
    existing = [layout.existing() for layout in layouts]
    for layout, files in zip(layouts, existing, strict=True):
        check_output(layout, files, overwrite=overwrite)
    removes = [path for files in existing for path in files]
    prepared = check(job, removes)
    plan = _plan(prepared, run_id, tuple(removes), profile.runner)
    outputs = [
        Claim(layout, plan.run_id, files) for layout, files in zip(layouts, existing, strict=True)
    ]
    table = prepared.input.table
    result = table.result_table(run_id) if table else None
    tables = TableClaim(prepared.targets, run_id, plan.run_folder, result)
    claims = Claims([*outputs, tables])
    if profile.runner == DATAFLOW:
        from .submit import submit_batch  # Google's client is slow to import

        return submit_batch(prepared, plan, claims, options, beam_flags, display)
    engine = None
    if profile.runner in ENGINES:
        load_secs = time.monotonic() - started
        engine = engine_for(
            profile, options, plan.run_folder, run_id, prepared.model.info, load_secs, display.note
        )
    return _run_claimed(prepared, plan, claims, options, engine, display)


def engine_flags(profile: RunnerProfile, run_id: str) -> list[str]:
    """What is added to the user's flags of the runner."""
    if profile.runner == DATAFLOW:
        is_named = profile.value("job_name") is not None
        return [*profile.added_flags, *([] if is_named else [f"--job_name={job_name_of(run_id)}"])]
    if profile.runner not in ENGINES:
        return []
    return [*profile.added_flags, f"--job_name={job_name_of(run_id)}"]


def engine_for(
    profile: RunnerProfile,
    options: PipelineOptions,
    run_folder: str,
    run_id: str,
    info: ModelInfo,
    load_secs: float,
    note: Callable[[str], None],
) -> Engine:
    """The engine on which a job runs whose workers are other processes."""
    seen = [path for path in (join(run_folder, "job.yaml"), info.uri) if "/" in path]
    job_name = job_name_of(run_id)
    return Engine(profile, options, run_folder, tuple(seen), info.format, load_secs, job_name, note)


def beam_options(beam_flags: Sequence[str]) -> PipelineOptions:
    """Beam's options; its file systems, which serve before there is a pipeline, know them now."""
    options = PipelineOptions(list(beam_flags), save_main_session=False)
    FileSystems.set_options(options)
    use_credentials(options)
    return options


def _recover(layouts: Sequence[FileLayout], job: Job, display: Display) -> dict[str, Any] | None:
    """Settles what interrupted runs left at every output; the report, if one was of this job."""
    report = None
    settled: set[str] = set()  # a run may have written to several of them
    for layout in layouts:
        recovery = recover(layout, job.fingerprint)
        for run_id, note in zip(recovery.run_ids, recovery.notes, strict=True):
            if run_id not in settled:
                display.note(note)
        settled.update(recovery.run_ids)
        report = report or recovery.report
    return report


def _run_claimed(
    prepared: Prepared,
    plan: CommitPlan,
    claim: Claims,
    options: PipelineOptions,
    engine: Engine | None,
    display: Display,
) -> dict[str, Any]:
    undo_on_signals(lambda: _stop(claim, engine, display))
    try:
        claim.take()
        write_text(join(plan.run_folder, "job.yaml"), as_yaml(prepared.job))
        with reading(prepared, plan.run_id) as opened:
            planned = replace(plan, planned=opened.planned, planned_rows=opened.planned_rows)
            _run_pipeline(opened, planned, options, engine, display)
        report = read_json(join(plan.run_folder, REPORT))
    except (UsageError, KeyboardInterrupt):
        claim.undo()
        raise
    except Exception as error:  # whatever a worker, a disk or a service raised
        cause = explain(error, plan.places[0].output)
        raise RunFailedError(f"{cause}\n{_sentence(claim.undo())}") from error
    claim.release()
    return report


def _stop(claim: Claims, engine: Engine | None, display: Display) -> str:
    display.stop()
    if engine is not None:
        engine.cancel()
    return claim.undo()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _run_pipeline(
    prepared: Prepared,
    plan: CommitPlan,
    options: PipelineOptions,
    engine: Engine | None,
    display: Display,
) -> None:
    if engine is not None:
        with display.progress(None, is_seen=False):
            engine.run(partial(build, prepared=prepared, plan=plan))
        return
    named = options.view_as(StandardOptions).runner
    runner = FnApiRunner() if named in IN_PROCESS else named
    # What was imported stays: the collector need not look at it again and again.
    gc.freeze()
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline, prepared=prepared, plan=plan)
    # What another process reads cannot be counted here.
    mode = options.view_as(DirectOptions).direct_running_mode
    is_seen = named in IN_PROCESS and mode != "multi_processing"
    planned, total = plan.planned, plan.planned_rows
    if len(planned) == len(prepared.splits):
        total = sum(planned.values())
    with display.progress(total, is_seen=is_seen):
        pipeline.run().wait_until_finish()


def check_output(layout: FileLayout, existing: list[str], *, overwrite: bool) -> None:
    """Raises UsageError if something stands at an output that may not be replaced."""
    check_foreign(layout)
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if existing[1:] else ""
        flag, path = "--output", layout.output
        if isinstance(layout, FilelessLayout):
            flag, path = "--dead-letters", layout.dead_letter_path
        raise UsageError(
            f"{flag} {path} exists: {existing[0]}{more}. Choose another {flag}, or "
            "replace what is there with --overwrite."
        )


def check_foreign(layout: FileLayout) -> None:
    """Raises UsageError if somebody else's files lie where readers look for predictions."""
    foreign = layout.foreign()
    if foreign:
        raise UsageError(
            f"{layout.output} holds files that scoreline did not write, such as {foreign[0]}; "
            "readers would take them for predictions. Choose an empty or new --output."
        )


def _plan(prepared: Prepared, run_id: str, removes: tuple[str, ...], runner: str) -> CommitPlan:
    job, info = prepared.job, prepared.model.info
    return CommitPlan(
        run_id=run_id,
        home=prepared.layouts[0],
        places=places_of(job, prepared.layouts, run_id),
        dead_letters=dead_letters_table(job) or prepared.layouts[0],
        fingerprint=job.fingerprint,
        removes=removes,
        planned=prepared.planned,
        max_dead_letter_ratio=job.dead_letters.max_ratio,
        output_schemas=prepared.output_schemas,
        report=_report_head(job, info, runner),
    )


def _report_head(job: Job, info: ModelInfo, runner: str) -> dict[str, Any]:
    """What the report says that is known before the run.

    Variables stand there by their names, but for those that are a part of a path of an output: the
    report and the intent say where the files are.
    """
    return {
        "job": job.hide(job.name),
        "runner": "DirectRunner" if runner in IN_PROCESS else runner,
        "started_at": datetime.now(UTC).isoformat(),
        "limit": job.stored_source.limit,
        "model": model_report(job, info),
        # The job learns where it runs when it runs there.
        **({"submitted": dict.fromkeys(REPORTED)} if runner == DATAFLOW else {}),
    }


def model_report(job: Job, info: ModelInfo) -> dict[str, Any]:
    """What a report says of the model."""
    return {
        "name": job.hide(info.name),
        "version": info.version,
        "sha256": info.sha256,
        "format": info.format,
        "uri": job.hide(info.uri),
        "notes": [job.hide(note) for note in info.notes],
    }
