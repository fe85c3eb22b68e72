"""Starts a stream, watches over it, and says what it did when it was drained."""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from scoreline.transforms.commit import FINISHED, LIMIT_BROKEN, REPORT, SUCCESS
from scoreline.transforms.drain import request_drain, reset_drain
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.pubsub_feed import settle
from scoreline.transforms.storage import (
    join,
    remove_empty_folder,
    remove_folder,
    write_json,
    write_text,
)
from scoreline.transforms.telemetry import (
    DRAINED,
    TELEMETRY,
    HasSnapshot,
    Snapshot,
    StreamOutcome,
)
from scoreline.transforms.watch_workers import WatchWorkers
from scoreline.transforms.worker_files import ask_for_drain, forget_drain

from .build_stream import build_stream
from .display import Display
from .engine import Engine, WorkersTelemetry
from .errors import ExitCode, UsageError
from .failure import RunFailedError, after_a_stream, explain
from .fused import check_fused
from .job import Job, as_yaml
from .job_paths import with_absolute_paths
from .launch import beam_options, check_foreign, engine_flags, engine_for, model_report
from .metrics_endpoint import MetricsEndpoint
from .places import check_places, check_report, dead_letters_output, layouts_of
from .run_folder import Claim, Claims, new_run_id, recover
from .runner_memory import mend_runner_memory, shorten_bundle_ends
from .runner_preflight import check_runner
from .runner_profiles import DATAFLOW, ENGINES, RunnerProfile, ignored
from .schemes import check_schemes
from .status import StatusWriter, counts
from .stop import drain_on_signals, undo_on_signals
from .stream_preflight import PreparedStream, check_stream
from .tables import TableClaim

_SETTLE_SECS = 10.0  # what the last acknowledgements get when all else is done


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
    started = time.monotonic()
    profile = stream_profile(job, beam_flags)
    if profile.runner == DATAFLOW and watch.metrics_port is not None:
        raise UsageError("--metrics-port: a stream on Dataflow has its metrics on the job's page")
    for note in ignored(job, profile.runner):
        display.note(note)
    job = with_absolute_paths(job) if profile.runner in ENGINES else job
    run_id = new_run_id()
    options = beam_options([*beam_flags, *engine_flags(profile, run_id)])
    prepared = prepare_stream(job, profile, options)
    layouts = prepared.layouts
    outputs = [Claim(layout, run_id, [], is_shared=True) for layout in layouts]
    tables = TableClaim(prepared.targets, run_id, layouts[0].run_folder(run_id))
    claims = Claims([*outputs, tables])
    for note in _recovered(layouts, job):
        display.note(note)
    TELEMETRY.reset()
    TELEMETRY.model_version = prepared.model.info.version
    reset_drain()
    head = _report_head(prepared, run_id, profile)
    if profile.runner == DATAFLOW:
        from .submit import submit_stream  # Google's client is slow to import

        return submit_stream(prepared, run_id, claims, head, options, beam_flags, display)
    folder = layouts[0].run_folder(run_id)
    engine = None
    telemetry: HasSnapshot = TELEMETRY
    if not profile.is_in_process:
        load_secs = time.monotonic() - started
        info = prepared.model.info
        engine = engine_for(profile, options, folder, run_id, info, load_secs, display.note)
        telemetry = WorkersTelemetry(folder, prepared.model.info.version)
    with _metrics(watch, display, telemetry):
        stream = _Stream(prepared, run_id, claims, head, display, watch, profile, telemetry, engine)
        return stream.run(options)


def prepare_stream(job: Job, profile: RunnerProfile, options: PipelineOptions) -> PreparedStream:
    """Checks everything that can keep a stream from starting; nothing is pulled or written.

    Raises:
        UsageError, ContractError, ModelError: it cannot start.
    """
    check_schemes(job, options)
    check_report(job, profile)
    _check_layouts(layouts_of(job))
    return check_stream(job, profile.bundle_secs, is_in_process=profile.is_in_process)


def stream_profile(job: Job, beam_flags: Sequence[str]) -> RunnerProfile:
    """How a stream is run, by the flags of its runner.

    Raises:
        UsageError: the runner cannot run a stream, or a part of it is missing.
    """
    profile = check_runner(
        beam_flags, is_stream=True, max_latency_secs=job.max_latency_secs, job=job
    )
    if profile.is_in_process:
        _check_in_process(PipelineOptions(list(beam_flags)))
    elif profile.runner not in (*ENGINES, DATAFLOW):
        raise UsageError(
            f"--runner={profile.runner}: a stream runs on the DirectRunner (leave the flag out), "
            f"or on {', '.join((*ENGINES, DATAFLOW))}"
        )
    return profile


def _check_in_process(options: PipelineOptions) -> None:
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
def _metrics(watch: Watch, display: Display, telemetry: HasSnapshot) -> Iterator[None]:
    if watch.metrics_port is None:
        yield
        return
    endpoint = MetricsEndpoint(watch.metrics_port, telemetry=telemetry)
    display.note(f"metrics at {endpoint.start()}")
    try:
        yield
    finally:
        endpoint.stop()


@dataclass(frozen=True)
class _Stream:
    """One run of a stream; the engine is there where the workers are other processes."""

    prepared: PreparedStream
    run_id: str
    claims: Claims
    head: dict[str, Any]
    display: Display
    watch: Watch
    profile: RunnerProfile
    telemetry: HasSnapshot
    engine: Engine | None

    @property
    def folder(self) -> str:
        """The run folder."""
        return self.prepared.layouts[0].run_folder(self.run_id)

    def run(self, options: PipelineOptions) -> dict[str, Any]:
        """Runs it to its end."""
        undo_on_signals(self._stopped_at_once)
        drain_on_signals(self._drain)
        try:
            self.claims.take()
            write_text(join(self.folder, "job.yaml"), as_yaml(self.prepared.job))
        except Exception:  # another run has a part, or a disk or a store takes nothing
            self.claims.undo()
            raise
        every_secs = self.watch.status_secs
        status = StatusWriter(self.folder, every_secs, self.head, self.telemetry)
        try:
            with status, self.display.stream_status(every_secs, self.telemetry):
                self._run_pipeline(options)
                settled = settle(_SETTLE_SECS)
                TELEMETRY.set_state(DRAINED)
        except Exception as error:  # whatever a worker, a disk or a service raised
            settle(_SETTLE_SECS)
            raise self._failed(error) from error
        if not settled:
            self.display.note(
                "the last acknowledgements did not get through: those messages are redelivered"
            )
        return self._finish()

    def _run_pipeline(self, options: PipelineOptions) -> None:
        if self.engine is not None:
            self.engine.run(self._build)
        else:
            self._run_in_process(options)

    def _build(self, pipeline: beam.Pipeline, watch: WatchWorkers | None) -> None:
        readers = self.profile.num_readers
        build_stream(pipeline, self.prepared, self.run_id, num_readers=readers, watch=watch)

    def _run_in_process(self, options: PipelineOptions) -> None:
        mend_runner_memory()
        shorten_bundle_ends()
        gc.freeze()  # what was imported stays: the collector need not look at it again and again
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
        build_stream(pipeline, self.prepared, self.run_id)
        check_fused(pipeline)
        pipeline.run().wait_until_finish()

    def _drain(self) -> None:
        self.display.note("draining: no more is pulled; a second signal stops at once")
        if self.engine is None:
            request_drain()
        else:
            ask_for_drain(self.folder)

    def _stopped_at_once(self) -> str:
        self.display.stop()
        if self.engine is not None:
            self.engine.cancel()
        return "stopped at once; what was not acknowledged is redelivered."

    def _finish(self) -> dict[str, Any]:
        try:
            report = self._report()
            write_json(join(self.folder, REPORT), report)
            if report["exit_code"] == FINISHED:
                write_text(join(self.folder, SUCCESS), "")
            self._clean()
        except Exception as error:  # whatever a disk or a store raised
            self._clean_if_possible()
            raise RunFailedError(
                f"{explain(error, self.prepared.job.sinks[0].path)}\nThe stream was drained: what "
                f"it acknowledged is in its outputs. Only its report in {self.folder} is not "
                "complete."
            ) from error
        return report

    def _failed(self, error: Exception) -> RunFailedError:
        cause = explain(error, self.prepared.job.sinks[0].path)
        report = self._report()
        report |= {"exit_code": int(ExitCode.FAILED), "error": cause}
        try:
            write_json(join(self.folder, REPORT), report)
            self._clean()
        except Exception as broken:  # what broke the stream may keep us from writing, too
            self._clean_if_possible()
            cause = f"{cause}\nNor could its report be written: {broken}"
        return RunFailedError(f"{cause}\n{after_a_stream(cause)}")

    def _report(self) -> dict[str, Any]:
        if self.engine is None:
            now = TELEMETRY.snapshot()
            return _report(self.head, self.prepared, now, self.folder, _unaccounted(now))
        # A worker that was lost had counted more than it had said: nothing can be added up.
        now = WorkersTelemetry(self.folder, self.prepared.model.info.version).snapshot()
        elapsed_secs = self.telemetry.snapshot().elapsed_secs
        now = replace(now, elapsed_secs=elapsed_secs, rows=_with_all_read(now.rows))
        return _report(self.head, self.prepared, now, self.folder, [])

    def _clean_if_possible(self) -> None:
        """Lets go of the claims, at least, where a report could not be written."""
        with suppress(Exception):
            self._clean()

    def _clean(self) -> None:
        forget_drain(self.folder)
        for layout in self.prepared.layouts:
            remove_folder(layout.staging(self.run_id))
        self.claims.release()
        for layout in self.prepared.layouts:
            remove_empty_folder(layout.own_folder(self.run_id))


def _report_head(prepared: PreparedStream, run_id: str, profile: RunnerProfile) -> dict[str, Any]:
    """What the report says that is known before the run."""
    job = prepared.job
    return {
        "run_id": run_id,
        "job": job.hide(job.name),
        "runner": "DirectRunner" if profile.is_in_process else profile.runner,
        "mode": "streaming",
        "started_at": datetime.now(UTC).isoformat(),
        "limit": None,
        "input": f"pubsub://{job.messages_source.subscription}",
        "model": model_report(job, prepared.model.info),
    }


def _report(
    head: dict[str, Any],
    prepared: PreparedStream,
    now: Snapshot,
    folder: str,
    unaccounted: list[str],
) -> dict[str, Any]:
    """The report of a stream that has ended; its keys are those of a batch."""
    dead_letters = prepared.job.dead_letters
    rows = now.rows
    ratio = rows["dead_lettered"] / rows["read"] if rows["read"] else 0.0
    fine = ratio <= dead_letters.max_ratio and not unaccounted
    return {
        **head,
        "ended_at": datetime.fromtimestamp(time.time(), UTC).isoformat(),
        "duration_secs": round(now.elapsed_secs, 3),
        **counts(now),
        "dead_letter_ratio": ratio,
        "max_dead_letter_ratio": dead_letters.max_ratio,
        "unaccounted": unaccounted,
        "output": prepared.job.sinks[0].path,
        "outputs": [sink.path for sink in prepared.job.sinks],
        "dead_letters_output": dead_letters_output(prepared.job, prepared.layouts),
        "run_folder": folder,
        "exit_code": FINISHED if fine else LIMIT_BROKEN,
    }


def _with_all_read(rows: Mapping[StreamOutcome, int]) -> Mapping[StreamOutcome, int]:
    """Counts what became of rows as read, too.

    A message is read when it is acknowledged. A worker that was killed may have said what became of
    its messages, and not that: the share of dead letters would come out too high.

    >>> _with_all_read({"read": 3, "predicted": 5, "dead_lettered": 1, "deduplicated": 0})["read"]
    6
    """
    done = rows["predicted"] + rows["dead_lettered"] + rows["deduplicated"]
    return {**rows, "read": max(rows["read"], done)}


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
