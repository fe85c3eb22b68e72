"""Runs a pipeline on an engine whose workers are other processes, and watches over it.

Beam waits without a word where no worker can be reached. So each worker of ours writes into the run
folder when it starts, and a job of which no worker does is ended. On a Flink cluster it is
submitted once more: now and then a worker connects there and never takes up its work.
"""

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.error import URLError

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from scoreline.transforms.telemetry import Snapshot
from scoreline.transforms.watch_workers import Expected, WatchWorkers
from scoreline.transforms.worker_files import WorkerFile, are_drained, merged, read_workers

from .failure import last_java_cause
from .flink_cluster import FlinkCluster, FlinkError
from .runner_profiles import RunnerProfile

_FIRST_SIGN_SECS = 30.0
_LOADS = 3.0  # how often as long as here a model may take to load on a worker that is busy
_LOOK_SECS = 0.5
_GRACE_SECS = 5.0  # for an engine that ends a drained stream by itself, as Prism does
_SNAPSHOT_SECS = 2.0

# What decides how a model of each format predicts: it has to be the same on the workers.
LIBRARIES = {
    "pickle": ("scikit-learn",),
    "skops": ("scikit-learn", "skops"),
    "onnx": ("onnxruntime",),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
}


class EngineError(Exception):
    """An engine did not do its work; the message says which part, and what to do."""


class _SilentError(EngineError):
    """No worker has given a sign of life."""


class Build(Protocol):
    """Builds a pipeline whose batches pass through a watch."""

    def __call__(self, pipeline: beam.Pipeline, watch: WatchWorkers | None) -> Any:
        """Adds all steps to an empty pipeline."""


@dataclass
class Engine:
    """One run of a pipeline on an engine.

    Attributes:
        profile: of the runner.
        options: with the profile's flags among them.
        run_folder: where the workers write; they must see it.
        files: that the workers must see.
        format: of the model: which library has to be the same there.
        load_secs: how long the model took to load here.
        job_name: unlike any other.
        note: tells the user something.
    """

    profile: RunnerProfile
    options: PipelineOptions
    run_folder: str
    files: tuple[str, ...]
    format: str
    load_secs: float
    job_name: str
    note: Callable[[str], None]
    _result: Any = None
    _trouble: EngineError | None = None
    _is_drained: bool = False
    _running_since: float | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _job_id: str | None = None

    @property
    def _cluster(self) -> FlinkCluster | None:
        """The cluster that the job runs on, where it can be asked."""
        url = self.profile.cluster_url
        return None if url is None else FlinkCluster(url)

    def run(self, build: Build) -> None:
        """Builds and runs a pipeline to its end.

        Raises:
            EngineError: the engine, or one of its workers, is not fit for it.
            Exception: whatever Beam raises when a job fails.
        """
        try:
            self._run_once(build)
        except _SilentError as error:
            # Only a cluster says when a job has ended: two must not run beside each other.
            if self._cluster is None:
                raise
            said, _, _ = str(error).partition(":")
            self.note(f"{said}; the job was cancelled, and is submitted once more")
            self._begin_anew()
            self._run_once(build)

    def _run_once(self, build: Build) -> None:
        pipeline = beam.Pipeline(runner=self.profile.runner, options=self.options)
        expected = Expected(
            self.run_folder, self.files, Expected.versions_here(*LIBRARIES.get(self.format, ()))
        )
        build(pipeline, WatchWorkers(expected))
        self._result = self._submit(pipeline)
        watching = threading.Thread(target=self._watch, name="scoreline-engine", daemon=True)
        watching.start()
        try:
            self._wait()
        except Exception as error:
            if self._trouble:
                raise self._trouble from error
            if not self._is_drained:
                raise
        finally:
            self._ended.set()
            watching.join(_GRACE_SECS)
        if self._trouble:
            raise self._trouble

    def _begin_anew(self) -> None:
        self.job_name = f"{self.job_name}-again"
        self.options.view_as(GoogleCloudOptions).job_name = self.job_name
        self._result = self._trouble = self._running_since = self._job_id = None
        self._ended = threading.Event()

    def _submit(self, pipeline: beam.Pipeline) -> Any:
        try:
            return pipeline.run()
        except Exception as error:  # whatever Beam raises before there is a job
            hint = ""
            if isinstance(error, URLError):
                hint = (
                    " Beam could not fetch a part of the engine: give it with "
                    "--flink_job_server_jar=FILE or --prism_location=FILE (docs/flink.md)."
                )
            raise EngineError(
                f"the job could not be sent to the engine: {type(error).__name__}: {error}.{hint}"
            ) from error

    def cancel(self) -> None:
        """Ends the job at once; what its workers were doing is lost or redelivered."""
        with suppress(Exception):  # whatever a cluster that is asked to end a job raises
            if self._cluster is not None and self._job_id is not None:
                self._cluster.cancel(self._job_id)
            elif self._result is not None:
                self._result.cancel()

    def _wait(self) -> None:
        if self._cluster is None:
            self._result.wait_until_finish()
            return
        self._job_id = self._cluster.job_named(self.job_name)
        state = self._cluster.wait(self._job_id)
        if state == "FAILED":
            trace = self._cluster.cause(self._job_id)
            self._check_pool(trace)
            raise RuntimeError(last_java_cause(trace))
        if state != "FINISHED" and not self._is_drained:
            raise EngineError(
                f"the job was ended on the cluster: {state.lower()} (job {self._job_id})"
            )

    def _check_pool(self, trace: str) -> None:
        """Raises EngineError if a job failed because a TaskManager found no worker pool."""
        pool = self.profile.value("environment_config") or ""
        port = pool.rpartition(":")[2]
        if port and re.search(rf"Connection refused: \S+:{port}\b", trace):
            raise EngineError(
                f"a TaskManager found no worker pool at {pool} (--environment_config): connection "
                "refused. Start one beside each TaskManager: python -m "
                f"apache_beam.runners.worker.worker_pool_main --service_port={port}"
            )

    def _watch(self) -> None:
        """Ends the job if no worker gives a sign of life, one is not fit, or all are done."""
        limit = _FIRST_SIGN_SECS + _LOADS * self.load_secs
        workers: list[WorkerFile] = []
        # On an object store each look is a request for each worker.
        while not self._ended.wait(_SNAPSHOT_SECS if workers else _LOOK_SECS):
            if self._running_since is None and self._is_running():
                self._running_since = time.monotonic()
            workers = _workers(self.run_folder)
            problems = [worker.problem for worker in workers if worker.problem]
            if problems and not self._trouble:
                self._trouble = EngineError(problems[0])
            elif not workers and not self._trouble and self._running_secs() > limit:
                self._trouble = _SilentError(self._silence())
            # Flink keeps a job that has checkpoints for ever, whether its source has ended or not.
            if not self._is_drained and are_drained(workers):
                self._is_drained = self._cluster is not None or not self._ended.wait(_GRACE_SECS)
            if self._trouble or self._is_drained:
                self.cancel()  # until it ends: a cluster may not answer, or not know the job yet

    def _is_running(self) -> bool:
        """Whether the engine has begun: a job may wait for a slot."""
        if self._cluster is None:
            return True
        with suppress(FlinkError):
            return self._job_id is not None and self._cluster.state(self._job_id) == "RUNNING"
        return False

    def _running_secs(self) -> float:
        return 0.0 if self._running_since is None else time.monotonic() - self._running_since

    def _silence(self) -> str:
        pool = self.profile.value("environment_config")
        of_pool = f" Is a worker pool listening at {pool} beside each TaskManager?" if pool else ""
        return (
            f"no worker has started within {self._running_secs():.0f} s: none has "
            f"written into {self.run_folder}.{of_pool} Can the workers see that folder (a local "
            "path is seen on this machine only), and is scoreline installed there? The engine's "
            "own log says more."
        )


def _workers(run_folder: str) -> list[WorkerFile]:
    try:
        return read_workers(run_folder)
    except Exception:  # whatever a file system raises: the next look may have them
        return []


class WorkersTelemetry:
    """What the workers of a run say of themselves, for the status of the whole run.

    Args:
        run_folder: of the run.
        model_version: until a worker says it.
    """

    def __init__(self, run_folder: str, model_version: str = ""):
        self._run_folder = run_folder
        self._started = time.monotonic()
        self._model_version = model_version
        self._lock = threading.Lock()
        self._workers: list[WorkerFile] = []
        self._read_at = -_SNAPSHOT_SECS

    def snapshot(self) -> Snapshot:
        """All of it at one moment; the files are read anew every two seconds at most."""
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= _SNAPSHOT_SECS:
                self._workers, self._read_at = _workers(self._run_folder) or self._workers, now
            found = merged(self._workers, now - self._started, time.time())
        if found.model_version or not self._model_version:
            return found
        return replace(found, model_version=self._model_version)


def job_name_of(run_id: str) -> str:
    """Names the job after its run, so that it can be found on the cluster."""
    return f"scoreline-{run_id.lower()}"
