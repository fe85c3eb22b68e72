import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scoreline.pipelines import status as module
from scoreline.pipelines.status import StatusWriter, counts, status, status_line
from scoreline.transforms.telemetry import Telemetry

HEAD = {"run_id": "r1", "job": "fraud", "model": {"name": "m", "version": "old", "notes": []}}


def letters(code: str, rows: int) -> pa.RecordBatch:
    columns = ("stage", "error_code", "row_id", "error_message")
    return pa.record_batch(
        [["decode"] * rows, [code] * rows, ["s#1"] * rows, ["x"] * rows], columns
    )


@pytest.fixture
def telemetry() -> Telemetry:
    """Of a process that pulls."""
    telemetry = Telemetry()
    telemetry.set_state("pulling")
    return telemetry


def score(telemetry: Telemetry, rows: int, secs: float) -> None:
    telemetry.count("read", rows + 1)
    telemetry.count("predicted", rows)
    telemetry.count("dead_lettered", 1)
    telemetry.note_dead_letters(letters("malformed", 1))
    telemetry.observe_latency(np.full(rows, secs))
    telemetry.model_version = "abc"


def status_of(folder: Path) -> dict[str, Any]:
    path = folder / f"status-{socket.gethostname()}-{os.getpid()}.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert is_so()


def test_the_line_is_about_the_time_since_the_last(telemetry: Telemetry) -> None:
    score(telemetry, 100, 60.0)
    before = telemetry.snapshot()
    score(telemetry, 1999, 0.072)
    telemetry.in_hand(5, 500, time.time() - 0.25)
    time.sleep(0.01)
    line = status_line(telemetry.snapshot(), before)
    found = re.fullmatch(
        r"([\d,]+) messages/s, p50 (\d+) ms, p99 (\d+) ms, oldest in hand (\d+) ms, "
        r"dead letters 2, model abc",
        line,
    )
    assert found, line
    assert int(found[1].replace(",", "")) > 1000
    assert 68 <= int(found[2]) <= int(found[3]) <= 77
    assert 250 <= int(found[4]) < 1000


def test_an_idle_stream_says_so(telemetry: Telemetry) -> None:
    before = telemetry.snapshot()
    assert status_line(telemetry.snapshot(), before) == (
        "0 messages/s, p50 -, p99 -, oldest in hand -, dead letters 0, model -"
    )


@pytest.mark.parametrize(
    ("state", "reason", "start"),
    [
        ("draining", "", "draining: 0 messages/s"),
        ("retrying", "503 unavailable:\n try later", "retrying (503 unavailable: try later): 0 m"),
    ],
)
def test_what_is_not_usual_stands_first(
    telemetry: Telemetry, state: str, reason: str, start: str
) -> None:
    telemetry.set_state(state, reason)
    now = telemetry.snapshot()
    assert status_line(now, now).startswith(start)


def test_the_status_has_the_keys_of_the_report(telemetry: Telemetry) -> None:
    score(telemetry, 4, 0.1)
    before = telemetry.snapshot()
    score(telemetry, 2, 0.5)
    telemetry.count("deduplicated", 3)
    telemetry.count_sink("files", 6)
    telemetry.in_hand(7, 700, time.time() - 2)
    telemetry.set_state("retrying", "503")
    found = status(telemetry.snapshot(), before, HEAD)
    assert found["run_id"] == "r1"
    assert found["model"] == {"name": "m", "version": "abc", "notes": []}
    assert abs(datetime.fromisoformat(found["at"]).timestamp() - time.time()) < 5
    assert (found["state"], found["reason"]) == ("retrying", "503")
    assert found["rows"] == {
        "read": 8,
        "predicted": 6,
        "dead_lettered": 2,
        "filtered": 0,
        "deduplicated": 3,
    }
    assert found["dead_letters"] == {"decode/malformed": 2}
    assert found["dead_letter_examples"] == {"decode/malformed": "s#1: x"}
    assert found["sink_rows"] == {"files": 6}
    assert found["latency"]["messages"] == 6
    assert found["latency"]["max_secs"] == 0.5
    assert found["recent"]["latency"]["messages"] == 2
    assert found["recent"]["latency"]["p50_secs"] == pytest.approx(0.5, rel=0.06)
    assert found["in_hand"] == {"messages": 7, "bytes": 700}
    assert found["oldest_age_secs"] == pytest.approx(2, abs=1)
    assert found["unaccounted"] is None
    assert found["exit_code"] is None
    assert json.loads(json.dumps(found)) == found


def test_the_most_frequent_dead_letter_is_first(telemetry: Telemetry) -> None:
    telemetry.note_dead_letters(letters("rare", 1))
    telemetry.note_dead_letters(letters("frequent", 2))
    assert list(counts(telemetry.snapshot())["dead_letters"]) == ["decode/frequent", "decode/rare"]


def test_before_a_model_has_scored_its_version_is_the_one_that_was_loaded(
    telemetry: Telemetry,
) -> None:
    now = telemetry.snapshot()
    assert status(now, now, HEAD)["model"]["version"] == "old"


def test_the_file_is_replaced_again_and_again(tmp_path: Path, telemetry: Telemetry) -> None:
    with StatusWriter(str(tmp_path / "run"), 0.01, HEAD, telemetry):
        assert status_of(tmp_path / "run")["rows"]["read"] == 0
        score(telemetry, 4, 0.1)
        wait_until(lambda: status_of(tmp_path / "run")["rows"]["read"] == 5)
        telemetry.set_state("drained")
    assert status_of(tmp_path / "run")["state"] == "drained"
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_the_last_status_is_written_however_long_the_interval(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    writer = StatusWriter(str(tmp_path), 3600, HEAD, telemetry)
    writer.start()
    score(telemetry, 4, 0.1)
    writer.stop()
    found = status_of(tmp_path)
    assert found["rows"]["predicted"] == 4
    assert found["recent"]["latency"]["messages"] == 4


def test_a_full_disk_does_not_stop_it(
    tmp_path: Path,
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried = []
    write_json = module.write_json

    def fail(path: str, value: dict[str, Any]) -> None:
        tried.append(path)
        if len(tried) < 4:
            raise OSError("No space left on device")
        write_json(path, value)

    monkeypatch.setattr(module, "write_json", fail)
    with caplog.at_level(logging.WARNING), StatusWriter(str(tmp_path), 0.01, HEAD, telemetry):
        wait_until(lambda: len(tried) > 6)
    assert status_of(tmp_path)["run_id"] == "r1"
    first, second = caplog.messages  # one for each change, not one for each attempt
    assert re.fullmatch(r"cannot write .*status-.*json, trying again: No space left.*", first)
    assert second.endswith("is written again")


def test_a_file_system_that_hangs_does_not_keep_the_stream_from_ending(
    tmp_path: Path, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_JOIN_SECS", 0.01)
    writer = StatusWriter(str(tmp_path), 0.01, HEAD, telemetry)
    tried = []

    def hang(path: str, value: dict[str, Any]) -> None:
        tried.append(path)
        time.sleep(0.5 if len(tried) > 1 else 0)

    monkeypatch.setattr(module, "write_json", hang)
    writer.start()
    wait_until(lambda: len(tried) == 2)
    started = time.monotonic()
    writer.stop()
    assert time.monotonic() - started < 0.4
    assert len(tried) == 2


@pytest.mark.parametrize("every_secs", [0, -1])
def test_an_interval_takes_time(tmp_path: Path, every_secs: float) -> None:
    with pytest.raises(ValueError, match=f"every few seconds, not every {every_secs}"):
        StatusWriter(str(tmp_path), every_secs)
