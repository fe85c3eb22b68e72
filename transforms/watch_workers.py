"""Has each worker process of a run say that it lives, how it is doing, and hear of a drain."""

import logging
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from .drain import request_drain
from .storage import exists
from .telemetry import TELEMETRY
from .worker_files import is_drain_asked_for, write_worker

_LOGGER = logging.getLogger(__name__)

_LOOK_SECS = 1.0  # how long a drain may go unheard
_WRITE_SECS = 5.0  # how old what a worker says of itself may be
_JOIN_SECS = 5.0  # a file system that does not answer must not keep a worker from ending

# Other names under which a library is distributed: without GPUs, or with them.
_VARIANTS = {"xgboost": ("xgboost-cpu",), "onnxruntime": ("onnxruntime-gpu",)}


class WorkerMismatchError(Exception):
    """A worker process is not what the launcher made the job for."""


@dataclass(frozen=True)
class Expected:
    """What the launcher has, and every worker must have, too.

    Attributes:
        run_folder: where workers write.
        files: that a worker must be able to see.
        versions: of distributions, and of `python`; only what differs in the first two numbers
            matters, but for scoreline itself.
        write_secs: how often a process says how it is doing; every five seconds if None.
        hears_drain: whether a drain is asked for in the run folder; Dataflow has one of its own.
    """

    run_folder: str
    files: tuple[str, ...]
    versions: Mapping[str, str]
    write_secs: float | None = None
    hears_drain: bool = True

    @staticmethod
    def versions_here(*distributions: str) -> Mapping[str, str]:
        """The versions in this process."""
        return {"python": platform.python_version()} | {
            name: _version_of(name) for name in ("scoreline", "apache-beam", *distributions)
        }

    def problem(self) -> str:
        """What keeps this process from working, in words; empty if nothing does."""
        host = platform.node()
        differing = [
            f"{name} {_version_of(name)} instead of {wanted}"
            for name, wanted in self.versions.items()
            if _first(name, _version_of(name)) != _first(name, wanted)
        ]
        if differing:
            return (
                f"the worker on {host} has {', '.join(differing)}: give the workers the launcher's "
                "versions (the worker image's Dockerfile pins them)"
            )
        unseen = [path for path in self.files if not exists(path)]
        if unseen:
            return (
                f"the worker on {host} cannot see {', '.join(unseen)}: name files that all workers "
                "can see, such as gs:// or s3://, or mount the folder there"
            )
        return ""


def _version_of(name: str) -> str:
    if name == "python":
        return platform.python_version()
    for distribution in (name, *_VARIANTS.get(name, ())):
        with suppress(PackageNotFoundError):
            return version(distribution)
    return "none"


def _first(name: str, text: str) -> tuple[str, ...]:
    return (text,) if name == "scoreline" else tuple(text.split(".")[:2])


class WatchWorkers(
    beam.PTransform[beam.PCollection[pa.RecordBatch], beam.PCollection[pa.RecordBatch]]
):
    """Passes batches on as they are; starts a watch in each process that they pass through.

    Args:
        expected: of the workers.
    """

    def __init__(self, expected: Expected):
        super().__init__()
        self._watch = _WatchFn(expected)

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """One ParDo, fused with what makes the batches."""
        return batches | "Watch" >> beam.ParDo(self._watch).with_output_types(pa.RecordBatch)


class _WatchFn(beam.DoFn):
    def __init__(self, expected: Expected):
        self._expected = expected

    def setup(self) -> None:
        _Watch.join(self._expected)

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield batch

    def finish_bundle(self) -> None:
        if TELEMETRY.is_draining:  # the last chance to say what was done
            _Watch.write(self._expected.run_folder)

    def teardown(self) -> None:
        _Watch.leave(self._expected.run_folder)


class _Watch:
    """The watch of one run in this process, however many threads work for it."""

    _lock = threading.Lock()
    _running: ClassVar[dict[str, "_Watch"]] = {}

    def __init__(self, expected: Expected):
        self._expected = expected
        self._run_folder = expected.run_folder
        self._users = 0
        self._stopped = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._go_on, name="scoreline-watch", daemon=True)

    @classmethod
    def join(cls, expected: Expected) -> None:
        """Starts the watch, if no other thread did.

        Raises:
            WorkerMismatchError: this process cannot work for the run.
        """
        with cls._lock:
            watch = cls._running.get(expected.run_folder)
            if watch is None:
                problem = expected.problem()
                write_worker(expected.run_folder, TELEMETRY.snapshot(), problem)
                if problem:
                    raise WorkerMismatchError(problem)
                watch = cls._running[expected.run_folder] = cls(expected)
                watch._thread.start()
            watch._users += 1

    @classmethod
    def leave(cls, run_folder: str) -> None:
        """Ends the watch with its last user."""
        with cls._lock:
            watch = cls._running.get(run_folder)
            if watch is None:
                return
            watch._users -= 1
            if watch._users:
                return
            del cls._running[run_folder]
        watch._stopped.set()
        watch._thread.join(_JOIN_SECS)
        if (
            TELEMETRY.has_read
        ):  # in a batch there is nothing to say, and the process may be ended now
            watch._write()

    @classmethod
    def write(cls, run_folder: str) -> None:
        """Says at once how the process is doing."""
        with cls._lock:
            watch = cls._running.get(run_folder)
        if watch is not None:
            watch._write()

    def _go_on(self) -> None:
        rounds = 0
        while not self._stopped.wait(_LOOK_SECS):
            rounds += 1
            with suppress(Exception):  # whatever a file system raises; it is asked again
                if self._expected.hears_drain and is_drain_asked_for(self._run_folder):
                    request_drain()
            if rounds * _LOOK_SECS >= (self._expected.write_secs or _WRITE_SECS):
                rounds = 0
                self._write()

    def _write(self) -> None:
        """Says how the process is doing. That this fails is no reason to fail the run."""
        try:
            write_worker(self._run_folder, TELEMETRY.snapshot())
        except Exception as error:  # whatever a file system raises
            if not self._is_failing:
                _LOGGER.warning("cannot write into %s: %s", self._run_folder, error)
            self._is_failing = True
        else:
            self._is_failing = False
