import time
from dataclasses import replace
from pathlib import Path

import pytest

from scoreline.transforms.storage import read_json, write_json
from scoreline.transforms.telemetry import Telemetry
from scoreline.transforms.worker_files import (
    are_drained,
    ask_for_drain,
    forget_drain,
    is_any_alive,
    is_drain_asked_for,
    merged,
    read_workers,
    write_worker,
)


@pytest.fixture
def telemetry() -> Telemetry:
    telemetry = Telemetry()
    telemetry.count("read", 10)
    telemetry.count("predicted", 9)
    telemetry.count("dead_lettered", 1)
    telemetry.count_sink("out", 9)
    telemetry.observe_latency([0.1, 0.2, float("nan")])
    telemetry.in_hand(3, 300, time.time() - 5)
    telemetry.set_state("pulling")
    telemetry.model_version = "abc"
    return telemetry


def test_what_is_written_is_read(tmp_path: Path, telemetry: Telemetry) -> None:
    written = telemetry.snapshot()
    write_worker(str(tmp_path), written)
    (found,) = read_workers(str(tmp_path))
    assert found.is_alive
    assert found.problem == ""
    snapshot = found.snapshot
    assert snapshot.rows == written.rows
    assert snapshot.sink_rows == {"out": 9}
    assert snapshot.latency.counts.tolist() == written.latency.counts.tolist()
    assert snapshot.latency.quantile(1.0) == written.latency.quantile(1.0)
    assert snapshot.model_version == "abc"


def test_nothing_was_written(tmp_path: Path) -> None:
    assert read_workers(str(tmp_path)) == []
    assert not is_any_alive(str(tmp_path))
    nobody = merged([], 2.0, 7.0)
    assert (nobody.state, nobody.rows["read"], nobody.at) == ("starting", 0, 7.0)
    assert nobody.latency.quantile(0.5) is None


def test_a_file_is_replaced_and_half_of_one_is_left_out(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    write_worker(str(tmp_path), telemetry.snapshot())
    telemetry.count("read", 5)
    write_worker(str(tmp_path), telemetry.snapshot(), "wrong version")
    (tmp_path / "workers/other-1-2.json").write_text('{"process": {')
    (found,) = read_workers(str(tmp_path))
    assert found.snapshot.rows["read"] == 15
    assert found.problem == "wrong version"


def test_counts_of_dead_workers_stay_and_what_they_had_in_hand_does_not(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    folder = str(tmp_path)
    write_worker(folder, telemetry.snapshot())
    (path,) = (tmp_path / "workers").iterdir()
    dead = read_json(str(path))
    dead["process"] |= {"pid_started": "0"}
    dead["snapshot"] |= {"state": "retrying", "codes": {"decode/invalid_json": 1}}
    write_json(str(tmp_path / "workers/dead.json"), dead)
    assert [worker.is_alive for worker in read_workers(folder)] == [False, True]
    both = merged(read_workers(folder), 4.0, time.time())
    assert both.rows == {"read": 20, "predicted": 18, "dead_lettered": 2, "deduplicated": 0}
    assert both.sink_rows == {"out": 18}
    assert both.codes == {"decode/invalid_json": 1}
    assert both.latency.num_values == 4
    assert (both.messages_in_hand, both.bytes_in_hand, both.state) == (3, 300, "pulling")
    assert both.oldest_age_secs == pytest.approx(5, abs=1)


def test_the_state_that_says_most_is_the_state_of_all(tmp_path: Path, telemetry: Telemetry) -> None:
    write_worker(str(tmp_path), telemetry.snapshot())
    (one,) = read_workers(str(tmp_path))
    other = replace(one, snapshot=replace(one.snapshot, state="retrying", reason="no answer"))
    found = merged([one, other, one], 1.0, 1.0)
    assert (found.state, found.reason) == ("retrying", "no answer")


def test_all_are_drained_when_each_that_lives_is(tmp_path: Path, telemetry: Telemetry) -> None:
    assert not are_drained([])
    write_worker(str(tmp_path), telemetry.snapshot())
    (one,) = read_workers(str(tmp_path))
    assert not are_drained([one])
    telemetry.set_state("drained")
    done = replace(one, snapshot=telemetry.snapshot())
    assert are_drained([done])
    assert not are_drained([done, one])
    dead = replace(one, process=one.process | {"pid_started": "0"})
    assert are_drained([done, dead])
    idle = replace(one, snapshot=Telemetry().snapshot())
    assert are_drained([done, idle])
    assert not are_drained([idle])


def test_a_drain_is_a_file(tmp_path: Path) -> None:
    assert not is_drain_asked_for(str(tmp_path))
    ask_for_drain(str(tmp_path))
    assert is_drain_asked_for(str(tmp_path))
    forget_drain(str(tmp_path))
    forget_drain(str(tmp_path))
    assert not is_drain_asked_for(str(tmp_path))
