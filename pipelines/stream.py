"""Starts a stream, watches over it, and says what it did when it was drained."""

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from scoreline.transforms.commit import FINISHED, LIMIT_BROKEN, REPORT, SUCCESS
from scoreline.transforms.drain import request_drain, reset_drain
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.pubsub_source import settle
from scoreline.transforms.storage import (
    join,
    remove_empty_folder,
    remove_folder,
    write_json,
    write_text,
)
from scoreline.transforms.telemetry import TELEMETRY, Snapshot

from .build_stream import build_stream
from .display import Display
from .errors import ExitCode, UsageError
from .failure import RunFailedError, explain
from .fused import check_fused
from .job import Job, PubSubDeadLetters, as_yaml
from .launch import IN_PROCESS, beam_options, check_foreign, model_report
from .metrics_endpoint import MetricsEndpoint
from .preflight import check_places, layouts_of
from .run_folder import Claim, Claims, new_run_id, recover
from .runner_memory import mend_runner_memory, shorten_bundle_ends
from .schemes import check_schemes
from .status import StatusWriter, counts
from .stop import drain_on_signals, undo_on_signals
from .stream_preflight import PreparedStream, check_stream

_SETTLE_SECS = 30.0  # what the last acknowledgements get when all else is done


@dataclass(frozen=True)
class Watch:
    """How a stream is watched.

    Attributes:
        status_secs: how often its status is written and shown.
        metrics_port: where its metrics are served; nowhere if None.
    """

    status_secs: float = 10.0
    metrics_port: int | None = None


def run_stream(
    job: Job, beam_flags: Sequence[str], display: Display, watch: Watch
) -> dict[str, Any]:
    """Runs a stream until it is drained, and gives its report.

    Raises:
        UsageError, ContractError, ModelError: nothing was started.
        RunFailedError: the stream broke; what was not acknowledged is redelivered.
    """
    options = beam_options(beam_flags)
    prepared = prepare_stream(job, options)
    layouts = prepared.layouts
    run_id = new_run_id()
    claims = Claims([Claim(layout, run_id, [], is_shared=True) for layout in layouts])
    for note in _recovered(layouts, job):
        display.note(note)
    TELEMETRY.reset()
    TELEMETRY.model_version = prepared.model.info.version
    reset_drain()
    head = _report_head(prepared, run_id)
    with _metrics(watch, display):
        return _Stream(prepared, run_id, claims, head, display, watch).run(options)


def prepare_stream(job: Job, options: PipelineOptions) -> PreparedStream:
    """Checks everything that can keep a stream from starting; nothing is pulled or written.

    Raises:
        UsageError, ContractError, ModelError: it cannot start.
    """
    _check_runner(options)
    check_schemes(job)
    _check_layouts(layouts_of(job))
    return check_stream(job)


def _check_runner(options: PipelineOptions) -> None:
    named = options.view_as(StandardOptions).runner
    if named not in IN_PROCESS:
        raise UsageError(
            f"--runner={named}: a stream runs on the DirectRunner so far; leave the flag out"
        )
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode not in (None, "in_memory") or direct.direct_num_workers > 1:
        raise UsageError(
            "a stream runs in one process and one thread of Beam's, so that messages are "
            "acknowledged after their effect: leave --direct_running_mode and "
            "--direct_num_workers out. For more throughput start the same command again beside "
            "this one: they share the subscription."
        )


def _check_layouts(layouts: Sequence[FileLayout]) -> None:
    for layout in layouts:
        check_places(layout)
        if layout.is_one_file or layout.dead_letter_path.endswith(".parquet"):
            path = layout.output if layout.is_one_file else layout.dead_letter_path
            raise UsageError(
                f"{path} names one file, which a stream could never complete: name a folder, in "
                "which it writes a file for each flush; its format is given with --output-format."
            )
        check_foreign(layout)


def _recovered(layouts: Sequence[FileLayout], job: Job) -> Iterator[str]:
    for layout in layouts:
        yield from dict.fromkeys(recover(layout, job.fingerprint, is_shared=True).notes)


@contextmanager
def _metrics(watch: Watch, display: Display) -> Iterator[None]:
    if watch.metrics_port is None:
        yield
        return
    endpoint = MetricsEndpoint(watch.metrics_port)
    display.note(f"metrics at {endpoint.start()}")
    try:
        yield
    finally:
        endpoint.stop()


@dataclass(frozen=True)
class _Stream:
    """One run of a stream."""

    prepared: PreparedStream
    run_id: str
    claims: Claims
    head: dict[str, Any]
    display: Display
    watch: Watch

    @property
    def folder(self) -> str:
        """The run folder."""
        return self.prepared.layouts[0].run_folder(self.run_id)

    def run(self, options: PipelineOptions) -> dict[str, Any]:
        """Runs it to its end."""
        undo_on_signals(self._stopped_at_once)
        drain_on_signals(self._drain)
        self.claims.take()
        write_text(join(self.folder, "job.yaml"), as_yaml(self.prepared.job))
        status = StatusWriter(self.folder, self.watch.status_secs, self.head)
        try:
            with status, self.display.stream_status(self.watch.status_secs):
                self._run_pipeline(options)
                settled = settle(_SETTLE_SECS)
                TELEMETRY.set_state("drained")
        except Exception as error:  # whatever a worker, a disk or a service raised
            settle(_SETTLE_SECS)
            raise self._failed(error) from error
        if not settled:
            self.display.note(
                "the last acknowledgements did not get through: those messages are redelivered"
            )
        return self._finish()

    def _run_pipeline(self, options: PipelineOptions) -> None:
        mend_runner_memory()
        shorten_bundle_ends()
        gc.freeze()  # what was imported stays: the collector need not look at it again and again
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
        build_stream(pipeline, self.prepared, self.run_id)
        check_fused(pipeline)
        pipeline.run().wait_until_finish()

    def _drain(self) -> None:
        self.display.note("draining: no more is pulled; a second signal stops at once")
        request_drain()

    def _stopped_at_once(self) -> str:
        self.display.stop()
        return "stopped at once; what was not acknowledged is redelivered."

    def _finish(self) -> dict[str, Any]:
        report = _report(self.head, self.prepared, TELEMETRY.snapshot(), self.folder)
        write_json(join(self.folder, REPORT), report)
        if report["exit_code"] == FINISHED:
            write_text(join(self.folder, SUCCESS), "")
        self._clean()
        return report

    def _failed(self, error: Exception) -> RunFailedError:
        cause = explain(error, self.prepared.job.sinks[0].path)
        report = _report(self.head, self.prepared, TELEMETRY.snapshot(), self.folder)
        report |= {"exit_code": int(ExitCode.FAILED), "error": cause}
        try:
            write_json(join(self.folder, REPORT), report)
            self._clean()
        except OSError as broken:  # what broke the stream may keep us from writing, too
            cause = f"{cause}\nNor could its report be written: {broken}"
        return RunFailedError(
            f"{cause}\nWhat was not acknowledged is redelivered: start the same command again."
        )

    def _clean(self) -> None:
        for layout in self.prepared.layouts:
            remove_folder(layout.staging(self.run_id))
        self.claims.release()
        for layout in self.prepared.layouts:
            remove_empty_folder(layout.own_folder(self.run_id))


def _report_head(prepared: PreparedStream, run_id: str) -> dict[str, Any]:
    """What the report says that is known before the run."""
    job = prepared.job
    return {
        "run_id": run_id,
        "job": job.hide(job.name),
        "runner": "DirectRunner",
        "mode": "streaming",
        "started_at": datetime.now(UTC).isoformat(),
        "limit": None,
        "input": f"pubsub://{job.messages_source.subscription}",
        "model": model_report(job, prepared.model.info),
    }


def _report(
    head: dict[str, Any], prepared: PreparedStream, now: Snapshot, folder: str
) -> dict[str, Any]:
    """The report of a stream that has ended; its keys are those of a batch."""
    dead_letters = prepared.job.dead_letters
    rows = now.rows
    ratio = rows["dead_lettered"] / rows["read"] if rows["read"] else 0.0
    unaccounted = _unaccounted(now)
    fine = ratio <= dead_letters.max_ratio and not unaccounted
    return {
        **head,
        "ended_at": datetime.fromtimestamp(time.time(), UTC).isoformat(),
        "duration_secs": round(now.elapsed_secs, 3),
        **counts(now),
        "max_dead_letter_ratio": dead_letters.max_ratio,
        "unaccounted": unaccounted,
        "output": prepared.job.sinks[0].path,
        "outputs": [sink.path for sink in prepared.job.sinks],
        "dead_letters_output": f"pubsub://{dead_letters.topic}"
        if isinstance(dead_letters, PubSubDeadLetters)
        else prepared.layouts[0].dead_letter_path,
        "run_folder": folder,
        "exit_code": FINISHED if fine else LIMIT_BROKEN,
    }


def _unaccounted(now: Snapshot) -> list[str]:
    """What does not add up: every message that was acknowledged has one outcome at every sink."""
    rows = now.rows
    done = rows["predicted"] + rows["dead_lettered"] + rows["deduplicated"]
    problems = []
    if rows["read"] != done:
        problems.append(
            f"{rows['read']} messages acknowledged, but {rows['predicted']} predicted, "
            f"{rows['dead_lettered']} dead-lettered and {rows['deduplicated']} deduplicated"
        )
    return problems
