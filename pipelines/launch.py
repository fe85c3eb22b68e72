"""Starts a job and waits for its report."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import yaml
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from scoreline.transforms import CommitPlan
from scoreline.transforms.commit import INTENT, REPORT
from scoreline.transforms.storage import exists, join, read_json, remove_folder, write_text

from .build import build
from .display import Display
from .errors import UsageError
from .job import Job
from .preflight import Prepared, check, layout_of
from .run_folder import Heartbeat, new_run_id, recover

# Beam's DirectRunner first tries to download another runner; the in-process one is what it ends at.
_IN_PROCESS = (None, "DirectRunner", "FnApiRunner")


def run(
    job: Job, beam_flags: Sequence[str], display: Display, *, overwrite: bool = False
) -> dict[str, Any]:
    """Runs a job to its end and gives its report.

    A run of the same job that was interrupted while it committed is finished instead.

    Raises:
        UsageError, ContractError, UnreadableFileError, ModelError: nothing was started.
        Exception: whatever made the run fail; nothing was made final.
    """
    layout = layout_of(job)
    recovery = recover(layout, job.fingerprint)
    for note in recovery.notes:
        display.note(note)
    if recovery.report is not None:
        return recovery.report
    existing = layout.existing()
    _check_output(layout.foreign(), existing, overwrite=overwrite, output=layout.output)
    prepared = check(job)
    _check_input_is_not_output(prepared, existing)
    options = PipelineOptions(list(beam_flags), save_main_session=False)
    plan = _plan(prepared, tuple(existing), options.view_as(StandardOptions).runner)
    with Heartbeat(layout, plan.run_id), _debris_removed(plan):
        write_text(join(plan.run_folder, "job.yaml"), _as_yaml(job))
        _run_pipeline(prepared, plan, options, display)
    return read_json(join(plan.run_folder, REPORT))


def _run_pipeline(
    prepared: Prepared, plan: CommitPlan, options: PipelineOptions, display: Display
) -> None:
    named = options.view_as(StandardOptions).runner
    runner = FnApiRunner() if named in _IN_PROCESS else named
    # What was imported stays: the collector need not look at it again and again.
    gc.freeze()
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline, prepared, plan)
    with display.progress(sum(split.num_rows for split in prepared.splits)):
        pipeline.run().wait_until_finish()


def _check_output(foreign: list[str], existing: list[str], *, overwrite: bool, output: str) -> None:
    if foreign:
        raise UsageError(
            f"{output} holds files that scoreline did not write, such as {foreign[0]}; readers "
            "would take them for predictions. Choose an empty or new --output."
        )
    if existing and not overwrite:
        raise UsageError(
            f"{output} holds the {len(existing)} files of an earlier run. Choose another --output, "
            "or replace them with --overwrite."
        )


def _check_input_is_not_output(prepared: Prepared, existing: list[str]) -> None:
    inputs = {range_.path for split in prepared.splits for range_ in split.ranges}
    both = sorted(inputs & set(existing))
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


@contextmanager
def _debris_removed(plan: CommitPlan) -> Iterator[None]:
    """Removes what a failed run staged, unless its intent says that it can be finished."""
    try:
        yield
    except BaseException:
        if not exists(join(plan.run_folder, INTENT)):
            remove_folder(plan.run_folder)
            remove_folder(plan.layout.own_folder(plan.run_id))
        raise
