"""Hands a job to Dataflow: a batch job's launcher waits for its report, a stream is left to run."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from scoreline.transforms import CommitPlan
from scoreline.transforms.commit import REPORT
from scoreline.transforms.storage import exists, join, read_json, write_text
from scoreline.transforms.watch_workers import WatchWorkers

from .build import build
from .build_stream import build_stream
from .dataflow import DataflowError, Submitted, Target
from .dataflow_place import REPORTED
from .display import Display
from .engine import Build
from .errors import ExitCode, UsageError
from .failure import RunFailedError, explain
from .job import Job, as_yaml
from .preflight import Prepared, reading
from .run_folder import Claims
from .stop import undo_on_signals
from .stream_preflight import PreparedStream
from .worker_parts import worker_parts


def submit_batch(
    prepared: Prepared,
    plan: CommitPlan,
    claims: Claims,
    options: PipelineOptions,
    beam_flags: Sequence[str],
    display: Display,
) -> dict[str, Any]:
    """Submits a job that reads to an end; gives its report, or what was submitted if nobody waits.

    Args:
        prepared: the job.
        plan: what the commit step makes final; that runs in the job itself.
        claims: on its outputs.
        options: of Beam, with all that is set for the job.
        beam_flags: as the user gave them.
        display: for notes.

    Raises:
        UsageError: workers would lack something; nothing was submitted.
        RunFailedError: the job failed, or could not be submitted.
    """
    target = _target(prepared.job, prepared, options, beam_flags, plan.run_id, plan.home)
    with reading(prepared, plan.run_id, stays=not target.waits) as opened:
        planned = replace(plan, planned=opened.planned, planned_rows=opened.planned_rows)
        built = partial(build, prepared=opened, plan=planned, on_dataflow=True)
        submitted = _submit(target, built, prepared.job, claims, display)
        if not target.waits:
            return _left(plan.report, plan.run_id, plan.run_folder, submitted)
        return _wait(submitted, plan, claims, display)


def submit_stream(
    prepared: PreparedStream,
    run_id: str,
    claims: Claims,
    head: dict[str, Any],
    options: PipelineOptions,
    beam_flags: Sequence[str],
    display: Display,
) -> dict[str, Any]:
    """Submits a stream, and gives what was submitted: it runs until somebody drains it.

    Args:
        prepared: the stream.
        run_id: of the run.
        claims: on its outputs.
        head: what a report says that is known before the run.
        options: of Beam, with all that is set for the job.
        beam_flags: as the user gave them.
        display: for notes.

    Raises:
        UsageError: workers would lack something, or a job of the name runs; nothing was submitted.
        RunFailedError: it could not be submitted.
    """
    layout = prepared.layouts[0]
    target = _target(prepared.job, prepared, options, beam_flags, run_id, layout)

    def built(pipeline: beam.Pipeline, watch: WatchWorkers | None) -> None:
        build_stream(pipeline, prepared, run_id, watch=watch, on_dataflow=True)

    submitted = _submit(target, built, prepared.job, claims, display)
    return _left(head, run_id, layout.run_folder(run_id), submitted)


def _target(
    job: Job,
    prepared: Prepared | PreparedStream,
    options: PipelineOptions,
    beam_flags: Sequence[str],
    run_id: str,
    layout: Any,
) -> Target:
    info = prepared.model.info
    parts = worker_parts(job, info, beam_flags)
    folder = layout.run_folder(run_id)
    return Target(options, parts, info, run_id, folder, layout.run_root)


def _submit(target: Target, built: Build, job: Job, claims: Claims, display: Display) -> Submitted:
    """Claims the outputs, and sends the job; until that is done, all can be undone."""
    for note in target.parts.notes:
        display.note(note)
    undo_on_signals(claims.undo)
    try:
        claims.take()
        write_text(join(target.run_folder, "job.yaml"), as_yaml(job))
        submitted = target.submit(built)
        claims.hand_over(submitted.place)
    except (UsageError, KeyboardInterrupt):
        claims.undo()
        raise
    except Exception as error:  # whatever a bucket or the service raised
        cause = explain(error, job.sinks[0].path)
        raise RunFailedError(f"{cause}\nNothing was submitted: {claims.undo()}") from error
    undo_on_signals(lambda: _goes_on(submitted))
    display.note(f"submitted {submitted.place.job_name}: {submitted.place.url}")
    return submitted


def _goes_on(submitted: Submitted) -> str:
    place = submitted.place
    cancel = f"gcloud dataflow jobs cancel {place.job_id} --project={place.project} "
    return (
        f"the job goes on without this command: {place.url}. To end it: "
        f"{cancel}--region={place.region}"
    )


def _left(
    head: dict[str, Any], run_id: str, run_folder: str, submitted: Submitted
) -> dict[str, Any]:
    """What is said of a job that goes on without its launcher."""
    place = submitted.place.as_json() | {"url": submitted.place.url}
    return {
        "run_id": run_id,
        **head,
        "submitted": {name: place[name] for name in REPORTED},
        "run_folder": run_folder,
        "exit_code": int(ExitCode.FINISHED),
    }


def _wait(
    submitted: Submitted, plan: CommitPlan, claims: Claims, display: Display
) -> dict[str, Any]:
    """Waits for the report that the commit step writes in the job.

    A job that broke a limit fails, so that whoever watches it hears of it: its report is there.
    """
    failed: DataflowError | None = None
    try:
        with display.progress(None, is_seen=False):
            submitted.wait(display)
    except DataflowError as error:
        failed = error
    report_path = join(plan.run_folder, REPORT)
    if not exists(report_path):
        cause = explain(failed or DataflowError("the job left no report"), plan.places[0].output)
        said = f"{cause}\n{submitted.place.url}\n"
        raise RunFailedError(said + _sentence(claims.undo())) from failed
    report = read_json(report_path)
    claims.release()
    return report


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
