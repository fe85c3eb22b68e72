"""Starts a job and waits for its report."""

import gc
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import yaml
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from scoreline.transforms import CommitPlan
from scoreline.transforms.commit import REPORT
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.storage import absolute, join, read_json, write_text

from .build import build
from .display import Display
from .errors import UsageError
from .failure import RunFailedError, explain
from .job import Job
from .preflight import Prepared, check, check_places, layout_of
from .run_folder import Claim, new_run_id, recover
from .stop import undo_on_signals

# Beam's DirectRunner first tries to download another runner; the in-process one is what it ends at.
_IN_PROCESS = (None, "DirectRunner", "FnApiRunner")


def run(
    job: Job, beam_flags: Sequence[str], display: Display, *, overwrite: bool = False
) -> dict[str, Any]:
    """Runs a job to its end and gives its report.

    A run of the same job that was interrupted while it committed is finished instead.

    Raises:
        UsageError, ContractError, UnreadableFileError, ModelError: nothing was started.
        RunFailedError: the run did not end well; says what is left.
    """
    layout = layout_of(job)
    check_places(layout)
    recovery = recover(layout, job.fingerprint)
    for note in recovery.notes:
        display.note(note)
    if recovery.report is not None:
        return recovery.report
    existing = layout.existing()
    _check_output(layout, existing, overwrite=overwrite)
    prepared = check(job)
    _check_input_is_not_output(prepared, existing)
    options = PipelineOptions(list(beam_flags), save_main_session=False)
    plan = _plan(prepared, tuple(existing), options.view_as(StandardOptions).runner)
    return _run_claimed(prepared, plan, options, display)


def _run_claimed(
    prepared: Prepared, plan: CommitPlan, options: PipelineOptions, display: Display
) -> dict[str, Any]:
    claim = Claim(plan.layout, plan.run_id, list(plan.removes))
    undo_on_signals(lambda: _stop(claim, display))
    try:
        claim.take()
        write_text(join(plan.run_folder, "job.yaml"), _as_yaml(prepared.job))
        _run_pipeline(prepared, plan, options, display)
        report = read_json(join(plan.run_folder, REPORT))
    except (UsageError, KeyboardInterrupt):
        claim.undo()
        raise
    except Exception as error:  # whatever a worker, a disk or a service raised
        cause = explain(error, plan.layout.output)
        raise RunFailedError(f"{cause}\n{_sentence(claim.undo())}") from error
    claim.release()
    return report


def _stop(claim: Claim, display: Display) -> str:
    display.stop()
    return claim.undo()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _run_pipeline(
    prepared: Prepared, plan: CommitPlan, options: PipelineOptions, display: Display
) -> None:
    named = options.view_as(StandardOptions).runner
    runner = FnApiRunner() if named in _IN_PROCESS else named
    # What was imported stays: the collector need not look at it again and again.
    gc.freeze()
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline, prepared, plan)
    # What another process reads cannot be counted here.
    mode = options.view_as(DirectOptions).direct_running_mode
    is_seen = named in _IN_PROCESS and mode != "multi_processing"
    with display.progress(sum(split.num_rows for split in prepared.splits), is_seen=is_seen):
        pipeline.run().wait_until_finish()


def _check_output(layout: FileLayout, existing: list[str], *, overwrite: bool) -> None:
    foreign = layout.foreign()
    if foreign:
        raise UsageError(
            f"{layout.output} holds files that scoreline did not write, such as {foreign[0]}; "
            "readers would take them for predictions. Choose an empty or new --output."
        )
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if existing[1:] else ""
        raise UsageError(
            f"--output {layout.output} exists: {existing[0]}{more}. Choose another --output, or "
            "replace what is there with --overwrite."
        )


def _check_input_is_not_output(prepared: Prepared, existing: list[str]) -> None:
    inputs = {absolute(range_.path) for split in prepared.splits for range_ in split.ranges}
    both = sorted(path for path in existing if absolute(path) in inputs)
    if both:
        raise UsageError(f"{both[0]} is both input and output. Choose another --output.")


def _plan(prepared: Prepared, removes: tuple[str, ...], runner: str | None) -> CommitPlan:
    job, info = prepared.job, prepared.model.info
    return CommitPlan(
        run_id=new_run_id(),
        layout=prepared.layout,
        fingerprint=job.fingerprint,
        removes=removes,
        planned={split.number: split.num_rows for split in prepared.splits},
        max_dead_letter_ratio=job.dead_letters.max_ratio,
        output_schema=prepared.output_schema,
        report={
            "job": job.name,
            "runner": "DirectRunner" if runner in _IN_PROCESS else runner,
            "started_at": datetime.now(UTC).isoformat(),
            "model": {
                "name": info.name,
                "version": info.version,
                "sha256": info.sha256,
                "format": info.format,
                "uri": info.uri,
                "notes": list(info.notes),
            },
        },
    )


def _as_yaml(job: Job) -> str:
    return yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False)
