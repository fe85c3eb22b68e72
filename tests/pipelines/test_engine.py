import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from fake_engine import FakeResult, FakeRunner
from fake_flink import FakeFlink

from scoreline.pipelines import engine as module
from scoreline.pipelines import flink_cluster
from scoreline.pipelines.engine import Engine, EngineError, WorkersTelemetry, job_name_of
from scoreline.pipelines.runner_profiles import RunnerProfile, Setting
from scoreline.transforms.telemetry import TELEMETRY, Telemetry
from scoreline.transforms.worker_files import write_worker


def nothing(*_: Any) -> None:
    """A pipeline without steps."""


def fail() -> None:
    raise RuntimeError("Pipeline job-1 failed in state FAILED: ValueError: no")


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeResult]:
    monkeypatch.setattr(module, "_LOOK_SECS", 0.01)
    monkeypatch.setattr(module, "_SNAPSHOT_SECS", 0.01)
    result = FakeResult(lambda: "DONE")
    monkeypatch.setattr(FakeRunner, "submit", staticmethod(lambda: result))
    yield result
    result.over.set()


def engine(
    folder: Path, note: Callable[[str], None] = lambda _said: None, **changes: Any
) -> Engine:
    settings = (Setting("environment_config", "localhost:50000", "the pool"),)
    profile = RunnerProfile("fake_engine.FakeRunner", settings, **changes)
    options = PipelineOptions([])
    return Engine(profile, options, str(folder), (), "skops", 0.0, "scoreline-r1", note)


def test_a_job_ends_well(result: FakeResult, tmp_path: Path) -> None:
    built: list[Any] = []

    def build(_pipeline: Any, watch: Any) -> None:
        built.append(watch)
        write_worker(str(tmp_path), TELEMETRY.snapshot())
        result.over.set()

    engine(tmp_path).run(build)
    versions = built[0]._watch._expected.versions
    assert set(versions) == {"python", "scoreline", "apache-beam", "scikit-learn", "skops"}
    assert not result.cancelled


def test_a_job_of_which_no_worker_starts_is_ended(
    result: FakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_SIGN_SECS", 0.1)
    with pytest.raises(EngineError) as caught:
        engine(tmp_path).run(nothing)
    said = str(caught.value)
    assert said.startswith("no worker has started within 0 s: none has written into")
    assert "Is a worker pool listening at localhost:50000 beside each TaskManager?" in said
    assert "Can the workers see that folder" in said
    assert result.cancelled


def test_a_drained_stream_is_ended_where_the_engine_goes_on(
    result: FakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_SECS", 0.1)
    result.ends = fail  # Beam calls a job that was cancelled a failure
    (one := Telemetry()).set_state("drained")
    write_worker(str(tmp_path), one.snapshot())
    engine(tmp_path).run(nothing)
    assert result.cancelled


def test_a_drained_stream_may_end_by_itself(
    result: FakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one := Telemetry()).set_state("drained")
    write_worker(str(tmp_path), one.snapshot())
    threading.Timer(0.2, result.over.set).start()
    engine(tmp_path).run(nothing)
    assert not result.cancelled


def test_a_worker_that_is_not_fit_ends_the_job(result: FakeResult, tmp_path: Path) -> None:
    result.ends = fail  # as a job does whose worker raises
    write_worker(str(tmp_path), TELEMETRY.snapshot(), "the worker on h has python 3.2")
    with pytest.raises(EngineError, match=r"^the worker on h has python 3\.2$"):
        engine(tmp_path).run(nothing)
    assert result.cancelled


def test_what_a_job_fails_of_is_passed_on(result: FakeResult, tmp_path: Path) -> None:
    result.ends = fail
    result.over.set()
    with pytest.raises(RuntimeError, match="ValueError: no"):
        engine(tmp_path).run(nothing)


def test_a_job_that_cannot_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise URLError("no network")

    monkeypatch.setattr(FakeRunner, "submit", staticmethod(refuse))
    with pytest.raises(EngineError, match="could not be sent to the engine: URLError") as caught:
        engine(tmp_path).run(nothing)
    assert "--flink_job_server_jar=FILE or --prism_location=FILE" in str(caught.value)

    def break_() -> None:
        raise RuntimeError("it is broken")

    monkeypatch.setattr(FakeRunner, "submit", staticmethod(break_))
    with pytest.raises(EngineError, match=r"RuntimeError: it is broken\.$"):
        engine(tmp_path).run(nothing)


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFlink]:
    monkeypatch.setattr(flink_cluster, "_POLL_SECS", 0.01)
    fake = FakeFlink().start()
    jobs = [{"name": "scoreline-r1", "jid": "j", "start-time": 1}]
    fake.answers["/v1/jobs/overview"] = {"jobs": jobs}
    yield fake
    fake.stop()


def on(flink: FakeFlink, tmp_path: Path) -> Engine:
    return engine(tmp_path, cluster_url=f"http://{flink.master}")


def test_a_cluster_is_asked_how_its_job_fares(
    result: FakeResult, flink: FakeFlink, tmp_path: Path
) -> None:
    flink.answers["/v1/jobs/j"] = {"state": "FINISHED"}
    on(flink, tmp_path).run(nothing)
    flink.answers["/v1/jobs/j"] = {"state": "CANCELED"}
    with pytest.raises(EngineError, match=r"ended on the cluster: canceled \(job j\)"):
        on(flink, tmp_path).run(nothing)
    flink.answers["/v1/jobs/j"] = {"state": "FAILED"}
    trace = "org.X: failed\n\tat a\nCaused by: ValueError: too bad\n\tat b"
    entries = {"exceptionHistory": {"entries": [{"stacktrace": trace}]}}
    flink.answers["/v1/jobs/j/exceptions"] = entries
    with pytest.raises(RuntimeError, match=r"^ValueError: too bad$"):
        on(flink, tmp_path).run(nothing)


class SilentFlink(dict):  # type: ignore[type-arg]
    """The answers of a cluster on which no worker of the first jobs takes up its work."""

    def __init__(self, silent: int):
        jobs = [
            {"name": f"scoreline-r1{end}", "jid": f"j{number}", "start-time": 1}
            for number, end in enumerate(["", "-again"], start=1)
        ]
        super().__init__({"/v1/jobs/overview": {"jobs": jobs}})
        for number in (1, 2):
            state = "RUNNING" if number <= silent else "FINISHED"
            self[f"/v1/jobs/j{number}"] = {"state": state}

    def get(self, path: str, _default: object = None) -> object:
        if path.endswith("?mode=cancel"):
            self[path.removesuffix("?mode=cancel")] = {"state": "CANCELED"}
            return {}
        return super().get(path)


def test_a_job_whose_workers_stay_silent_is_submitted_once_more(
    result: FakeResult, flink: FakeFlink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_SIGN_SECS", 0.1)
    notes: list[str] = []
    flink.answers = SilentFlink(silent=1)
    running = engine(tmp_path, notes.append, cluster_url=f"http://{flink.master}")
    running.run(nothing)
    (note,) = notes
    assert note == (
        "no worker has started within 0 s; the job was cancelled, and is submitted once more"
    )
    assert running.options.get_all_options()["job_name"] == "scoreline-r1-again"
    asked = [path for method, path in flink.asked if method == "PATCH"]
    assert set(asked) == {"/v1/jobs/j1?mode=cancel"}


def test_a_job_whose_workers_stay_silent_is_not_submitted_for_ever(
    result: FakeResult, flink: FakeFlink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_SIGN_SECS", 0.1)
    notes: list[str] = []
    flink.answers = SilentFlink(silent=2)
    with pytest.raises(EngineError, match="no worker has started within 0 s: none has written"):
        engine(tmp_path, notes.append, cluster_url=f"http://{flink.master}").run(nothing)
    assert len(notes) == 1


def test_a_taskmanager_without_a_pool_is_the_reason(
    result: FakeResult, flink: FakeFlink, tmp_path: Path
) -> None:
    flink.answers["/v1/jobs/j"] = {"state": "FAILED"}
    trace = (
        "org.X: failed\n\tat a\nCaused by: AnnotatedConnectException: finishConnect(..) failed: "
        "Connection refused: localhost/127.0.0.2:50000\nCaused by: java.net.ConnectException: "
        "finishConnect(..) failed: Connection refused\n\tat b"
    )
    entries = {"exceptionHistory": {"entries": [{"stacktrace": trace}]}}
    flink.answers["/v1/jobs/j/exceptions"] = entries
    with pytest.raises(EngineError, match="a TaskManager found no worker pool at localhost:50000"):
        on(flink, tmp_path).run(nothing)
    entries["exceptionHistory"]["entries"][0]["stacktrace"] = trace.replace("50000", "4000")
    with pytest.raises(RuntimeError, match="Connection refused"):
        on(flink, tmp_path).run(nothing)


def test_a_job_on_a_cluster_is_cancelled(
    result: FakeResult, flink: FakeFlink, tmp_path: Path
) -> None:
    flink.answers["/v1/jobs/j"] = {"state": "RUNNING"}
    flink.answers["/v1/jobs/j?mode=cancel"] = {}
    running = on(flink, tmp_path)
    caught: list[BaseException] = []

    def run() -> None:
        try:
            running.run(nothing)
        except EngineError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 10
    while ("GET", "/v1/jobs/j") not in flink.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    running.cancel()
    flink.answers["/v1/jobs/j"] = {"state": "CANCELED"}
    thread.join(10)
    assert ("PATCH", "/v1/jobs/j?mode=cancel") in flink.asked
    assert len(caught) == 1
    assert not result.cancelled


def test_a_drained_stream_is_ended_on_the_cluster(
    result: FakeResult, flink: FakeFlink, tmp_path: Path
) -> None:
    done = Telemetry()
    done.set_state("drained")
    write_worker(str(tmp_path), done.snapshot())
    flink.answers["/v1/jobs/j"] = {"state": "RUNNING"}

    class Cancelled(dict):  # type: ignore[type-arg]
        refusals = 2  # as a cluster does whose JobManager is being replaced

        def get(self, path: str, _default: object = None) -> object:
            if path.endswith("mode=cancel"):
                self.refusals -= 1
                if self.refusals >= 0:
                    return None
                self["/v1/jobs/j"] = {"state": "CANCELED"}
                return {}
            return super().get(path)

    flink.answers = Cancelled(flink.answers)
    on(flink, tmp_path).run(nothing)
    assert flink.asked.count(("PATCH", "/v1/jobs/j?mode=cancel")) >= 3


def test_cancelling_what_was_never_sent_does_nothing(tmp_path: Path) -> None:
    engine(tmp_path).cancel()


def test_the_run_is_the_sum_of_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = WorkersTelemetry(str(tmp_path), "v1")
    assert telemetry.snapshot().model_version == "v1"
    one = Telemetry()
    one.count("read", 5)
    one.model_version = "v2"
    write_worker(str(tmp_path), one.snapshot())
    assert telemetry.snapshot().rows["read"] == 0  # it was read a moment ago
    monkeypatch.setattr(module, "_SNAPSHOT_SECS", 0.0)
    assert telemetry.snapshot().rows["read"] == 5
    assert telemetry.snapshot().model_version == "v2"


def test_a_store_that_does_not_answer_leaves_what_was_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SNAPSHOT_SECS", 0.0)
    one = Telemetry()
    one.count("read", 5)
    write_worker(str(tmp_path), one.snapshot())
    telemetry = WorkersTelemetry(str(tmp_path))
    assert telemetry.snapshot().rows["read"] == 5

    def refuse(_folder: str) -> None:
        raise OSError("no answer")

    monkeypatch.setattr(module, "read_workers", refuse)
    assert telemetry.snapshot().rows["read"] == 5


def test_a_job_is_named_after_its_run() -> None:
    assert job_name_of("20261123T051043Z-755f41") == "scoreline-20261123t051043z-755f41"
