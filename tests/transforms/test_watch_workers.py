import platform
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from fake_pubsub import eventually, threads

from scoreline.transforms import watch_workers as module
from scoreline.transforms.drain import is_draining, reset_drain
from scoreline.transforms.telemetry import TELEMETRY
from scoreline.transforms.watch_workers import (
    Expected,
    WatchWorkers,
    WorkerMismatchError,
    _Watch,
    _WatchFn,
)
from scoreline.transforms.worker_files import ask_for_drain, read_workers


@pytest.fixture
def expected(tmp_path: Path) -> Expected:
    return Expected(str(tmp_path), (), Expected.versions_here("pyarrow"))


def test_batches_pass_and_each_process_says_that_it_lives(expected: Expected) -> None:
    rows = [pa.record_batch({"x": [1]}), pa.record_batch({"x": [2, 3]})]
    found: list[int] = []
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        batches = pipeline | beam.Create(rows, reshuffle=False).with_output_types(pa.RecordBatch)
        watched = batches | WatchWorkers(expected)
        assert watched.element_type is pa.RecordBatch
        watched | beam.Map(lambda batch: found.append(batch.num_rows))
    (worker,) = read_workers(expected.run_folder)
    assert (worker.is_alive, worker.problem) == (True, "")
    assert eventually(lambda: not threads("scoreline-watch"))


def test_another_version_is_told_and_written(tmp_path: Path) -> None:
    expected = Expected(str(tmp_path), (), {"python": "3.2.1", "scoreline": "0.0.0"})
    here = platform.python_version()
    with pytest.raises(WorkerMismatchError, match=rf"has python {here} instead of 3\.2\.1, score"):
        _WatchFn(expected).setup()
    (worker,) = read_workers(str(tmp_path))
    assert "instead of 0.0.0: give the workers the launcher's versions" in worker.problem


def test_only_the_first_two_numbers_of_a_library_matter(tmp_path: Path) -> None:
    minor = ".".join(platform.python_version().split(".")[:2])
    assert Expected(str(tmp_path), (), {"python": f"{minor}.99"}).problem() == ""
    assert "nonsense none instead of 1.0" in Expected("", (), {"nonsense": "1.0"}).problem()


def test_a_file_that_a_worker_cannot_see_is_told(tmp_path: Path) -> None:
    missing = str(tmp_path / "m.joblib")
    problem = Expected(str(tmp_path), (str(tmp_path), missing), {}).problem()
    assert f"cannot see {missing}: name files that all workers can see" in problem


def test_threads_share_a_watch_until_the_last_has_gone(expected: Expected) -> None:
    one, other = _WatchFn(expected), _WatchFn(expected)
    one.setup()
    other.setup()
    assert len(threads("scoreline-watch")) == 1
    one.teardown()
    assert len(threads("scoreline-watch")) == 1
    other.teardown()
    other.teardown()  # twice is as good as once
    assert not threads("scoreline-watch")


def test_a_drain_is_heard_and_what_was_done_is_said(
    expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECS", 0.01)
    monkeypatch.setattr(module, "_WRITE_SECS", 60.0)
    TELEMETRY.reset()
    reset_drain()
    watch = _WatchFn(expected)
    watch.setup()
    try:
        ask_for_drain(expected.run_folder)
        assert eventually(is_draining)
        TELEMETRY.count("read", 7)
        watch.finish_bundle()
        assert read_workers(expected.run_folder)[0].snapshot.rows["read"] == 0
        TELEMETRY.set_state("draining")
        watch.finish_bundle()
        assert read_workers(expected.run_folder)[0].snapshot.rows["read"] == 7
    finally:
        watch.teardown()
        reset_drain()
        TELEMETRY.reset()


def test_where_a_service_drains_nobody_looks_for_it(
    expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECS", 0.01)
    reset_drain()
    TELEMETRY.reset()
    watch = _WatchFn(replace(expected, hears_drain=False, write_secs=0.01))
    watch.setup()
    try:
        ask_for_drain(expected.run_folder)
        first = read_workers(expected.run_folder)[0].process["at"]
        assert eventually(lambda: read_workers(expected.run_folder)[0].process["at"] > first)
        assert not is_draining()
    finally:
        watch.teardown()
        reset_drain()


def test_a_file_system_that_fails_does_not_fail_the_run(
    expected: Expected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = _WatchFn(expected)
    watch.setup()

    def fail(*_args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "write_worker", fail)
    _Watch.write(expected.run_folder)
    _Watch.write(expected.run_folder)
    watch.teardown()
    assert caplog.text.count("No space left on device") == 1


def test_a_library_is_found_under_each_name_that_it_is_distributed_by() -> None:
    xgboost = pytest.importorskip("xgboost")  # xgboost-cpu where there is such a wheel
    assert Expected.versions_here("xgboost")["xgboost"] == xgboost.__version__
