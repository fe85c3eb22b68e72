import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from scoreline.transforms.telemetry import OUTCOMES, TELEMETRY, Telemetry


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def letters(code: str, rows: int) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "stage": ["decode"] * rows,
            "error_code": [code] * rows,
            "row_id": [f"projects/p/subscriptions/s#{row}" for row in range(rows)],
            "error_message": ["no JSON"] * rows,
        }
    )


def test_at_first_there_is_nothing(telemetry):
    snapshot = telemetry.snapshot()
    assert dict(snapshot.rows) == dict.fromkeys(OUTCOMES, 0)
    assert not snapshot.sink_rows
    assert not snapshot.codes
    assert snapshot.latency.num_values == 0
    assert (snapshot.messages_in_hand, snapshot.bytes_in_hand) == (0, 0)
    assert snapshot.oldest_age_secs is None
    assert (snapshot.state, snapshot.reason, snapshot.model_version) == ("starting", "", "")
    assert telemetry.quantile(0.5) is None


def test_rows_are_counted_by_outcome_and_by_sink(telemetry):
    telemetry.count("read", 5)
    telemetry.count("read", 2)
    telemetry.count("deduplicated", 1)
    telemetry.count_sink("files", 3)
    telemetry.count_sink("topic", 4)
    telemetry.count_sink("files", 3)
    snapshot = telemetry.snapshot()
    assert snapshot.rows == {"read": 7, "predicted": 0, "dead_lettered": 0, "deduplicated": 1}
    assert snapshot.sink_rows == {"files": 6, "topic": 4}


def test_dead_letters_are_told_apart(telemetry):
    telemetry.note_dead_letters(letters("malformed", 2))
    telemetry.note_dead_letters(letters("empty_message", 1))
    telemetry.note_dead_letters(letters("malformed", 1))
    snapshot = telemetry.snapshot()
    assert snapshot.codes == {"decode/malformed": 3, "decode/empty_message": 1}
    assert snapshot.examples["decode/malformed"] == "projects/p/subscriptions/s#0: no JSON"
    assert snapshot.rows["dead_lettered"] == 0


def test_latency_over_all_and_since_a_snapshot(telemetry):
    telemetry.observe_latency(np.full(100, 0.1))
    before = telemetry.snapshot()
    telemetry.observe_latency(np.array([0.5, np.nan]))
    assert telemetry.quantile(0.5) == pytest.approx(0.1, rel=0.06)
    assert telemetry.quantile(1) == 0.5
    assert telemetry.quantile(0.5, since=before) == pytest.approx(0.5, rel=0.06)
    assert telemetry.snapshot().latency.num_values == 101


def test_a_snapshot_stays_as_it_was(telemetry):
    telemetry.count("read", 1)
    before = telemetry.snapshot()
    telemetry.count("read", 1)
    telemetry.count_sink("files", 1)
    telemetry.note_dead_letters(letters("malformed", 1))
    telemetry.observe_latency(np.ones(1))
    assert before.rows["read"] == 1
    assert not before.sink_rows
    assert not before.codes
    assert before.latency.num_values == 0
    with pytest.raises(TypeError):
        before.rows["read"] = 2  # type: ignore[index]


def test_a_change_of_state_is_told_once(telemetry):
    assert telemetry.set_state("pulling")
    assert not telemetry.set_state("pulling")
    assert telemetry.set_state("retrying", "503 unavailable")
    assert not telemetry.set_state("retrying", "deadline exceeded")
    snapshot = telemetry.snapshot()
    assert (snapshot.state, snapshot.reason) == ("retrying", "deadline exceeded")
    assert telemetry.set_state("pulling")
    assert telemetry.snapshot().reason == ""


def test_trouble_that_ends_during_a_drain_does_not_end_the_drain(telemetry):
    telemetry.set_state("draining")
    telemetry.set_state("retrying", "503 unavailable")
    assert telemetry.snapshot().state == "retrying"
    telemetry.set_state("pulling")
    assert telemetry.snapshot().state == "draining"
    telemetry.reset()
    telemetry.set_state("pulling")
    assert telemetry.snapshot().state == "pulling"


def test_a_signal_handler_may_come_in_while_the_same_thread_counts(telemetry):
    with telemetry._lock:
        telemetry.set_state("draining")
        assert telemetry.snapshot().state == "draining"


def test_the_age_of_the_oldest_message_grows_while_it_is_in_hand(telemetry):
    telemetry.in_hand(3, 300, time.time() - 5)
    snapshot = telemetry.snapshot()
    assert (snapshot.messages_in_hand, snapshot.bytes_in_hand) == (3, 300)
    assert snapshot.oldest_age_secs == pytest.approx(5, abs=1)
    telemetry.in_hand(1, 100, time.time() + 60)  # another machine's clock
    assert telemetry.snapshot().oldest_age_secs == 0
    telemetry.in_hand(0, 0, None)
    assert telemetry.snapshot().oldest_age_secs is None


def test_rates_are_since_the_start_or_since_a_snapshot(telemetry):
    telemetry.count("read", 10)
    time.sleep(0.01)
    before = telemetry.snapshot()
    assert before.rows_per_sec("read") == pytest.approx(10 / before.elapsed_secs)
    assert before.rows_per_sec("read", before) == 0
    telemetry.count("read", 5)
    time.sleep(0.01)
    now = telemetry.snapshot()
    secs = now.elapsed_secs - before.elapsed_secs
    assert now.rows_per_sec("read", before) == pytest.approx(5 / secs)


def test_the_model(telemetry):
    telemetry.model_version = "abc"
    assert telemetry.model_version == telemetry.snapshot().model_version == "abc"


def test_another_stream_starts_anew(telemetry):
    telemetry.count("read", 1)
    telemetry.set_state("draining")
    telemetry.observe_latency(np.ones(1))
    telemetry.model_version = "abc"
    telemetry.reset()
    snapshot = telemetry.snapshot()
    assert snapshot.rows["read"] == 0
    assert snapshot.state == "starting"
    assert snapshot.latency.num_values == 0
    assert snapshot.model_version == ""
    assert snapshot.elapsed_secs < 5


def test_no_row_is_lost_among_threads(telemetry):
    def work() -> None:
        for _ in range(200):
            telemetry.count("read", 2)
            telemetry.count_sink("files", 1)
            telemetry.observe_latency(np.full(3, 0.1))
            telemetry.note_dead_letters(letters("malformed", 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = telemetry.snapshot()
    assert snapshot.rows["read"] == 1600
    assert snapshot.sink_rows == {"files": 800}
    assert snapshot.latency.num_values == 2400
    assert snapshot.codes == {"decode/malformed": 800}


def test_a_process_has_one():
    assert isinstance(TELEMETRY, Telemetry)


def test_a_process_has_read_once_its_reader_does_something() -> None:
    telemetry = Telemetry()
    assert not telemetry.has_read
    telemetry.count("read", 5)
    assert not telemetry.has_read
    telemetry.set_state("pulling")
    assert telemetry.has_read
