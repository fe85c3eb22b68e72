"""Streams through the command line, on the emulator: what comes out, what is left, how they end."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs import write_job
from places import Places, rows_in
from running import Ended, numbers, write

from scoreline.pipelines import stream as stream_module

Scoreline = Callable[..., Ended]
Score = Callable[..., Ended]

STOP = ("--stop-when-idle-secs", "0.3", "--flush-secs", "0.2")
ID = ("--keep", "id", "--types", "id=int64")


@pytest.fixture
def stream(score: Score, places: Places) -> Score:
    """Scores what is published, into `out` by default, until nothing comes any more."""

    def run(*flags: str, output: str = "out") -> Ended:
        return score(*STOP, *ID, *flags, input=places.uri, output=output)

    return run


def reports(root: str = "out/_run") -> list[dict[str, Any]]:
    """The reports of all runs, in the order of their ends."""
    paths = sorted(Path(root).glob("*/report.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in paths]


def own(classifier: Any, table: pa.Table) -> list[str]:
    predicted: list[str] = classifier.predict(table.select(["a", "b", "c"]).to_pandas()).tolist()
    return predicted


def test_to_files(stream: Score, places: Places, workdir: Path, classifier: Any) -> None:
    table = numbers(250)
    ids = places.publish_rows(table)
    ended = stream()
    assert ended.code == 0, ended.err
    rows = rows_in("out")
    assert [row["prediction"] for row in rows] == own(classifier, table)
    assert list(rows[0]) == ["id", "prediction", "model_version", "row_id"]
    assert {row["row_id"] for row in rows} == {f"{places.subscription}#{id_}" for id_ in ids}
    names = {path.name for path in workdir.glob("out/*")}
    (folder,) = Path("out/_run").iterdir()
    assert all(
        re.fullmatch(rf"part-{folder.name}-[0-9a-f]{{8}}-\d{{6}}\.parquet", name)
        for name in names - {"_run"}
    )
    assert {path.name for path in folder.iterdir()} == {
        *("job.yaml", "report.json", "_SUCCESS"),
        f"status-{socket.gethostname()}-{os.getpid()}.json",
    }
    assert "read          250 rows" in ended.err
    assert "latency" in ended.err
    assert places.left() == []


def test_to_a_topic(stream: Score, places: Places, classifier: Any) -> None:
    table = numbers(120)
    places.publish_rows(table)
    places.publish([b'{"id": 120, "a": null, "b": 1, "c": 1}', b"no"])
    flags = ("--dead-letters", f"pubsub://{places.dead_topic}", "--report", "runs")
    ended = stream(*flags, output=f"pubsub://{places.scores_topic}")
    assert ended.code == 0, ended.err
    messages = places.predictions()
    rows = {row["id"]: row for row in (json.loads(message.data) for message in messages)}
    assert [rows[number]["prediction"] for number in range(120)] == own(classifier, table)
    assert len(messages) == 120
    one = messages[0]
    row = json.loads(one.data)
    assert dict(one.attributes) == {
        "id": str(row["id"]),
        "row_id": row["row_id"],
        "model_version": row["model_version"],
    }
    dead = {message.attributes["error_code"]: message for message in places.dead_letters()}
    assert set(dead) == {"null_value", "malformed_json"}
    assert dead["null_value"].data == b'{"id": 120, "a": null, "b": 1, "c": 1}'
    assert dead["malformed_json"].data == b"no"
    (report,) = reports("runs")
    assert report["rows"]["dead_lettered"] == 2
    assert report["dead_letters_output"] == f"pubsub://{places.dead_topic}"
    assert report["sink_rows"] == {places.scores_topic: 120}


def test_to_several_sinks(
    scoreline: Scoreline, places: Places, classifier_file: Path, workdir: Path, classifier: Any
) -> None:
    table = numbers(80)
    places.publish_rows(table)
    places.publish([b" "])
    sinks = [
        {"path": "out", "flush_secs": 0.2},
        {"path": "csv", "format": "csv", "keep": ["id"]},
        {"type": "pubsub", "topic": places.scores_topic, "keep": ["id"]},
    ]
    ended = scoreline("run", places.write_job(classifier_file, sinks=sinks), "--output-json")
    assert ended.code == 0, ended.err
    predicted = own(classifier, table)
    assert [row["prediction"] for row in rows_in("out")] == predicted
    assert {"a", "b", "c", "id"} < set(rows_in("out")[0])
    lines = [line for file in Path("csv").glob("part-*.csv") for line in file.open()]
    assert len([line for line in lines if not line.startswith('"id"')]) == 80
    assert len(places.predictions()) == 80
    (dead,) = pq.read_table("out/_dead_letters").to_pylist()
    assert dead["error_code"] == "empty_message"
    report = json.loads(ended.out)
    assert report["outputs"] == ["out", "csv", f"pubsub://{places.scores_topic}"]
    assert set(report["sink_rows"].values()) == {80}
    assert report["rows"]["predicted"] == 80, "rows count once, however many sinks there are"
    assert not Path("csv/_run").exists()


@pytest.mark.parametrize("topic_first", [False, True])
def test_a_prediction_that_is_too_large_for_a_message_has_one_outcome(
    scoreline: Scoreline,
    places: Places,
    classifier_file: Path,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    topic_first: bool,
) -> None:
    monkeypatch.setattr("scoreline.transforms.write_pubsub._MAX_BYTES", 2_000)
    row = {"a": 1.0, "b": 2.0, "c": 3.0}
    texts = ["x" * 3_000, *["y"] * 30]
    places.publish([json.dumps(row | {"note": text}).encode() for text in texts])
    sinks: list[dict[str, Any]] = [
        {"path": "out", "flush_secs": 0.2, "keep": ["note"]},
        {"type": "pubsub", "topic": places.scores_topic},
    ]
    job = places.write_job(classifier_file, sinks=sinks[::-1] if topic_first else sinks)
    ended = scoreline("run", job)
    assert ended.code == 0, ended.err
    (report,) = reports()
    assert report["rows"]["dead_lettered"] == int(topic_first)
    assert report["rows"]["predicted"] == 31 - int(topic_first)
    assert report["dead_letters"] == {"write/message_too_large": 1}
    assert len(rows_in("out")) == 31
    assert len(places.predictions()) == 30
    (dead,) = pq.read_table("out/_dead_letters").to_pylist()
    assert json.loads(dead["payload"])["note"] == texts[0]


def test_a_report_has_the_keys_of_a_batch_jobs(stream: Score, score: Score, places: Places) -> None:
    write(Path("in.parquet"), numbers(5))
    assert score(output="batch").code == 0
    places.publish_rows(numbers(5))
    assert stream().code == 0
    (batch,), (live,) = reports("batch/_run"), reports()
    missing = set(batch) - set(live)
    assert missing == set(), "who reads the report of one reads that of the other"
    for part in ("rows", "model"):
        assert set(batch[part]) == set(live[part])


def test_more_dead_letters_than_the_limit(stream: Score, places: Places) -> None:
    places.publish_rows(numbers(5))
    places.publish([b"x"] * 2)
    ended = stream()
    assert ended.code == 3
    assert "more dead letters than the limit" in ended.err
    assert "--max-dead-letter-ratio 0.29" in ended.err
    assert "--overwrite" not in ended.err
    assert not list(Path("out/_run").glob("*/_SUCCESS"))
    assert len(rows_in("out")) == 5


def test_nothing_came(stream: Score, places: Places) -> None:
    ended = stream("--output-json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["rows"] == dict.fromkeys(report["rows"], 0)
    assert [path.name for path in Path("out").iterdir()] == ["_run"]


def test_the_same_command_again_adds_to_the_folder(
    scoreline: Scoreline, places: Places, classifier_file: Path, workdir: Path
) -> None:
    job = places.write_job(classifier_file, source={"pull_threads": 1})
    # The emulator gives messages to a pull that was just cancelled: they come when the lease ends.
    for start, idle_secs in ((0, "0.3"), (10, "11")):
        places.publish_rows(numbers(20).slice(start, 10))
        ended = scoreline("run", job, "--set", f"source.stop_when_idle_secs={idle_secs}")
        assert ended.code == 0, ended.err
    assert [row["id"] for row in rows_in("out")] == list(range(20))
    assert len(reports()) == 2


def test_a_batch_job_does_not_write_into_a_streams_folder(
    stream: Score, score: Score, places: Places
) -> None:
    places.publish_rows(numbers(5))
    stream()
    write(Path("in.parquet"), numbers(3))
    ended = score()
    assert ended.code == 2
    assert "--output out exists" in ended.err
    assert len(rows_in("out")) == 5


def test_a_stream_adds_to_what_a_batch_job_has_written(
    stream: Score, score: Score, places: Places
) -> None:
    write(Path("in.parquet"), numbers(3))
    assert score("--keep", "id").code == 0
    places.publish_rows(numbers(5).slice(3))
    ended = stream()
    assert ended.code == 0, ended.err
    assert [row["id"] for row in rows_in("out")] == list(range(5))


def test_a_folder_with_files_of_others_is_refused(stream: Score, places: Places) -> None:
    write(Path("out/mine.parquet"), numbers(3))
    ended = stream()
    assert ended.code == 2
    assert "out holds files that scoreline did not write, such as out/mine.parquet" in ended.err


@pytest.mark.parametrize("output", ["out.parquet", "out.csv.gz"])
def test_one_file_is_refused(stream: Score, places: Places, output: str) -> None:
    ended = stream(output=output)
    assert ended.code == 2
    assert f"{output} names one file, which a stream could never complete" in ended.err
    ended = stream("--dead-letters", "dead.parquet")
    assert ended.code == 2
    assert "dead.parquet names one file" in ended.err


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--runner=SparkRunner", "--runner=SparkRunner: a stream runs on the DirectRunner"),
        ("--direct_num_workers=2", "a stream runs in one process and one thread"),
        ("--direct_running_mode=multi_processing", "a stream runs in one process and one thread"),
        ("--overwrite", "--overwrite: a stream adds to what is there"),
    ],
)
def test_flags_that_a_stream_cannot_take(
    stream: Score, places: Places, flag: str, said: str
) -> None:
    ended = stream(flag)
    assert ended.code == 2
    assert said in ended.err
    assert not Path("out").exists()


def test_a_port_that_is_taken(stream: Score, places: Places) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = stream(f"--metrics-port={taken.getsockname()[1]}")
    assert ended.code == 2
    assert "cannot listen at 127.0.0.1" in ended.err


def test_a_sink_that_breaks_fails_the_run(
    stream: Score, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the cable is out")

    monkeypatch.setattr("scoreline.transforms.stream_files._write", fail)
    places.publish_rows(numbers(5))
    ended = stream()
    assert ended.code == 1
    assert "the cable is out" in ended.err
    assert "start the same command again" in ended.err
    (report,) = reports()
    assert (report["exit_code"], report["rows"]["predicted"]) == (1, 0)
    assert "the cable is out" in report["error"]
    assert not list(Path("out").glob("_run/*/heartbeat.json"))
    monkeypatch.undo()


class FullDisk:
    """Takes no file of this name from now on."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch):
        self._name, self._real = name, {}
        for function in ("write_json", "write_text"):
            self._real[function] = getattr(stream_module, function)
            monkeypatch.setattr(stream_module, function, partial(self._write, function))

    def _write(self, function: str, path: str, content: Any) -> None:
        if path.endswith(self._name):
            raise OSError(errno.ENOSPC, "No space left on device")
        self._real[function](path, content)


def test_a_report_that_cannot_be_written_does_not_deny_the_run(
    stream: Score, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.publish_rows(numbers(7))
    FullDisk("report.json", monkeypatch)
    ended = stream()
    assert ended.code == 1
    assert len(rows_in("out")) == 7
    assert "Nothing was started" not in ended.err
    assert "No space left on device" in ended.err
    assert "The stream was drained: what it acknowledged is in its outputs. Only its" in ended.err
    assert not list(Path("out").rglob("heartbeat.json")), "nobody is writing there any more"
    assert not list(Path("out").rglob("staged"))


def test_a_disk_that_is_full_at_the_start_is_left_as_it_was(
    stream: Score, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk("job.yaml", monkeypatch)
    ended = stream()
    assert ended.code == 1
    assert "Nothing was started" in ended.err
    assert not Path("out").exists()


@pytest.mark.parametrize(("error", "is_of_a_row"), [(MemoryError, True), (RuntimeError, False)])
def test_a_message_that_ends_the_stream_again_and_again(
    stream: Score,
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    is_of_a_row: bool,
) -> None:
    def fail(*args: Any) -> None:
        raise error("the row is too large")

    monkeypatch.setattr("scoreline.transforms.stream_files._write", fail)
    places.publish_rows(numbers(1))
    ended = stream()
    assert ended.code == 1
    assert "start the same command again." in ended.err
    assert ("'A message that ends the stream', says how to find it" in ended.err) is is_of_a_row


TYPED = ("--allow-code", "--types", "id=int64,a=double,b=double,c=double")


def test_a_function_that_drops_one_row_of_a_stream(score: Score, places: Places) -> None:
    """The message does not end the stream: it is a dead letter, and the others are predicted."""
    places.publish_rows(numbers(20))
    ended = score(*STOP, *TYPED, "--preprocess", "odd_models:lose_id_7", input=places.uri)
    assert ended.code == 0, ended.err
    assert "predict/row_count" in ended.err
    assert sorted(row["id"] for row in rows_in("out")) == [row for row in range(20) if row != 7]
    (letter,) = pq.read_table("out/_dead_letters").to_pylist()
    assert letter["error_code"] == "row_count"
    assert json.loads(letter["payload"])["id"] == 7


def test_a_function_that_loses_rows_of_any_batch_of_a_stream(score: Score, places: Places) -> None:
    places.publish_rows(numbers(5))
    ended = score(*STOP, *TYPED, "--preprocess", "odd_models:lose_a_row", input=places.uri)
    assert ended.code == 1
    assert "RowCountError: odd_models:lose_a_row must return" in ended.err
    assert "what becomes of a row must not depend on the others" in ended.err
    assert "one of the messages in hand is to blame" not in ended.err


def test_debris_of_a_killed_stream_is_removed_and_reported(
    stream: Score, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = "20260101T000000Z-abcdef"
    folder = Path("out/_run") / run_id
    write(folder / "staged" / f"part-{run_id}-12345678-000001.parquet", numbers(3))
    heartbeat = {
        "run_id": run_id,
        "run_folder": str(folder.absolute()),
        "is_shared": True,
        "host": "gone",
        "system": "another",
        "pid": 1,
        "pid_started": "1",
        "at": 0,
    }
    (folder / "heartbeat.json").write_text(json.dumps(heartbeat))
    places.publish_rows(numbers(4))
    ended = stream()
    assert ended.code == 0, ended.err
    assert (
        f"run {run_id} was killed: 1 unfinished file of it removed; what it had not acknowledged "
        "is redelivered"
    ) in ended.err
    assert not list(Path("out").rglob("staged"))
    assert json.loads((folder / "report.json").read_text())["interrupted"] is True
    assert len(rows_in("out")) == 4


def test_trouble_is_told(stream: Score, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """What our own modules log comes to stderr, though Beam's log is silent."""
    from scoreline.transforms import stream_files

    write_file, failures = stream_files._write, iter([OSError("no space")])

    def fail_once(*args: Any) -> None:
        for error in failures:
            raise error
        write_file(*args)

    monkeypatch.setattr(stream_files, "_write", fail_once)
    places.publish_rows(numbers(5))
    ended = stream()
    assert ended.code == 0, ended.err
    assert "writing to out does not answer, retrying: no space" in ended.err
    assert "writing to out answers again after" in ended.err
    assert len(rows_in("out")) == 5


def test_duplicates_are_dropped_and_counted(stream: Score, places: Places) -> None:
    places.publish_rows(pa.concat_tables([numbers(10), numbers(4)]))
    ended = stream("--deduplicate-by", "id")
    assert ended.code == 0, ended.err
    assert len(rows_in("out")) == 10
    assert reports()[0]["rows"]["deduplicated"] == 4
    assert "deduplicated  4" in ended.err


@pytest.mark.parametrize("max_in_hand", [20_000, 2])  # in one bundle, in several
def test_a_corrected_row_is_no_duplicate_of_its_dead_letter(
    scoreline: Scoreline, places: Places, classifier_file: Path, workdir: Path, max_in_hand: int
) -> None:
    bad = [f'{{"id": {id_}, "a": null, "b": 1, "c": 1}}'.encode() for id_ in (17, 18)]
    good = [each.replace(b"null", b"2") for each in bad]
    places.publish([*bad, *good, *good])
    source = {"deduplicate_by": "id", "pull_threads": 1, "max_messages_in_hand": max_in_hand}
    ended = scoreline("run", places.write_job(classifier_file, source=source))
    assert ended.code == 3, ended.err  # so many dead letters
    assert sorted(row["id"] for row in rows_in("out")) == [17, 18]
    (report,) = reports()
    counts = report["rows"]
    assert (counts["dead_lettered"], counts["deduplicated"], counts["read"]) == (2, 2, 6)


def test_a_row_that_a_topic_refused_is_no_duplicate_when_it_is_corrected(
    scoreline: Scoreline,
    places: Places,
    classifier_file: Path,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scoreline.transforms.write_pubsub._MAX_BYTES", 2_000)
    row = {"a": 1.0, "b": 2.0, "c": 3.0}
    rows = [row | {"id": id_, "note": note} for note in ("x" * 3_000, "y") for id_ in (17, 18)]
    places.publish([json.dumps(row).encode() for row in rows])
    source = {"deduplicate_by": "id", "pull_threads": 1, "max_messages_in_hand": 2}
    sinks = [
        {"type": "pubsub", "topic": places.scores_topic, "keep": ["id", "note"]},
        {"path": "out", "flush_secs": 0.2},
    ]
    job = places.write_job(classifier_file, source=source, sinks=sinks)
    ended = scoreline("run", job)
    assert ended.code == 3, ended.err  # so many dead letters
    assert sorted(json.loads(each.data)["id"] for each in places.predictions()) == [17, 18]
    assert pq.read_table("out/_dead_letters").num_rows == 2


class Process:
    """A stream in a process of its own."""

    def __init__(self, words: Sequence[str], err: Path):
        self._err = err
        with err.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scoreline", *words], stderr=file
            )

    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.err()
            assert time.monotonic() < deadline, f"{what}: {self.err()}"
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def start(workdir: Path, places: Places, classifier_file: Path) -> Any:
    """Starts streams into `out`; those that still run are ended."""
    started: list[Process] = []

    def start_one(*flags: str) -> Process:
        words = ["score", "--model", str(classifier_file), "--allow-pickle", "--output", "out"]
        words += ["--input", places.uri, "--flush-secs", "0.2", *flags]
        started.append(Process(words, workdir / f"{len(started)}.err"))
        return started[-1]

    yield start_one
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(start: Any, places: Places, number: signal.Signals) -> None:
    stream = start(*ID, "--status-secs", "0.2")
    places.publish_rows(numbers(50))
    stream.wait_for(lambda: len(rows_in("out")) == 50, "predictions")
    (status,) = Path("out/_run").glob("*/status-*.json")
    stream.wait_for(lambda: json.loads(status.read_text())["rows"]["read"] == 50, "a status")
    found = json.loads(status.read_text())
    assert found["state"] == "pulling"
    assert found["pid"] == stream.process.pid
    assert found["exit_code"] is None
    started = time.monotonic()
    assert stream.end(number) == 0, stream.err()
    assert time.monotonic() - started < 20
    assert "draining: no more is pulled; a second signal stops at once" in stream.err()
    assert "messages/s, p50" in stream.err()
    assert json.loads(status.read_text())["state"] == "drained"
    assert reports()[0]["rows"]["predicted"] == 50
    assert list(Path("out/_run").glob("*/_SUCCESS"))


def test_a_second_signal_stops_at_once(
    start: Any, places: Places, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "slow.py").write_text(
        "import time\n"
        "def slow(batch):\n"
        "    if batch.num_rows > 1:  # no made-up row of a check\n"
        "        open('in_hand', 'w').close()\n"
        "        time.sleep(60)\n"
        "    return batch\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(workdir))
    types = "id=int64,a=double,b=double,c=double"
    stream = start("--allow-code", "--preprocess", "slow:slow", "--types", types)
    places.publish_rows(numbers(5))
    stream.wait_for((workdir / "in_hand").exists, "a batch in hand")
    stream.process.send_signal(signal.SIGTERM)
    stream.wait_for(lambda: "draining" in stream.err(), "draining")
    started = time.monotonic()
    assert stream.end(signal.SIGTERM) == 130
    assert time.monotonic() - started < 10
    assert "stopped at once; what was not acknowledged is redelivered." in stream.err()
    assert rows_in("out") == []


def test_two_streams_write_into_one_folder_and_no_batch_job_does(
    start: Any, score: Score, places: Places
) -> None:
    streams = [start(*ID), start(*ID)]
    for each in streams:
        each.wait_for(lambda: len(list(Path("out/_run").glob("*/job.yaml"))) == 2, "two runs")
    places.publish_rows(numbers(2_000))
    streams[0].wait_for(lambda: len(rows_in("out")) == 2_000, "predictions")
    write(Path("in.parquet"), numbers(3))
    refused = score("--overwrite")
    assert refused.code == 2
    assert "is writing to out now (process" in refused.err
    for each in streams:
        assert each.end(signal.SIGTERM) == 0, each.err()
    assert [row["id"] for row in rows_in("out")] == list(range(2_000))
    assert sum(report["rows"]["predicted"] for report in reports()) == 2_000


def test_a_stream_waits_for_no_batch_job_that_writes_now(
    stream: Score, places: Places, classifier_file: Path
) -> None:
    """It is refused: the job's commit could remove what the stream has written."""
    from scoreline.pipelines.run_folder import Claim, new_run_id
    from scoreline.transforms.layout import FileLayout

    claim = Claim(FileLayout("out"), new_run_id(), [])
    claim.take()
    ended = stream()
    claim.release()
    assert ended.code == 2
    assert "is writing to out now" in ended.err


def test_a_batch_job_cannot_be_watched_as_a_stream(
    scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    write(workdir / "in.parquet", numbers(5))
    for flag, value in (("--metrics-port", "0"), ("--status-secs", "1")):
        ended = scoreline("run", write_job(classifier_file), flag, value)
        assert ended.code == 2
        assert f"{flag}: the job reads stored data; {flag} is for a stream" in ended.err


def test_what_does_not_add_up_is_told(
    stream: Score, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = stream_module._unaccounted
    monkeypatch.setattr(stream_module, "_unaccounted", lambda now: [*counted(now), "1 is not 2"])
    places.publish_rows(numbers(5))
    ended = stream()
    assert ended.code == 3
    assert "rows are not accounted for: 1 is not 2." in ended.err
