"""kill -9 at chosen and at random moments: the same command again ends complete."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running import Ended, files_below, numbers, write
from sklearn.linear_model import LogisticRegression
from sudden import BIG, SMALL, Moment, Popen, check_complete, command, wait_for_run

Kill = Callable[..., None]
Start = Callable[..., Popen]
Score = Callable[..., Ended]

REMOVED = "removed what run"
COMPLETED = "completed run"
FINISHED = "had finished when it was interrupted"

IDENTIFY = "scoreline.transforms.parquet_files.identify"
CREATE_JSON = "scoreline.transforms.commit.create_json"
WRITE_TEXT = "scoreline.transforms.commit.write_text"
MOVE = "scoreline.transforms.commit.move"

MOMENTS = [
    # While the output is claimed.
    (Moment("os.fsync", 1), REMOVED),
    (Moment("scoreline.pipelines.heartbeat.write_json", when="after"), REMOVED),
    (Moment("os.fsync", 2), REMOVED),
    # While reading and writing.
    (Moment(IDENTIFY, 3), REMOVED),
    (Moment("scoreline.transforms.part_writer.create", when="after"), REMOVED),
    # Around the intent.
    (Moment("os.fsync", 3), REMOVED),
    (Moment(CREATE_JSON, when="after", part="commit.json"), COMPLETED),
    # Between two renames, and after the last.
    (Moment(MOVE, 2), COMPLETED),
    (Moment(MOVE, 2, "after"), COMPLETED),
    (Moment("scoreline.transforms.commit.remove_folder", when="after"), COMPLETED),
    # Around the report and the mark of success.
    (Moment("os.fsync", 4), COMPLETED),
    (Moment(WRITE_TEXT, part="_SUCCESS"), COMPLETED),
    (Moment(WRITE_TEXT, when="after", part="_SUCCESS"), FINISHED),
    (Moment("scoreline.pipelines.heartbeat.Heartbeat.stop"), FINISHED),
]


@pytest.fixture
def kill(wreck: Callable[..., Ended], classifier_file: Path) -> Callable[..., None]:
    """Runs the command with these flags until it is killed at a moment."""

    def run(moment: Moment, *flags: str) -> None:
        ended = wreck(signal.SIGKILL, moment, *command(classifier_file, *flags))
        assert ended.code == -signal.SIGKILL, ended.err

    return run


@pytest.mark.parametrize(("moment", "said"), MOMENTS)
def test_a_killed_run_is_removed_or_completed(
    kill: Kill,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
    moment: Moment,
    said: str,
) -> None:
    kill(moment)
    if said == REMOVED:
        assert not list(Path("out").glob("part-*"))
        assert not Path("out/_dead_letters").exists()

    ended = score()

    assert ended.code == 0, ended.err
    assert said in ended.err
    assert "predicted" in ended.err
    check_complete(Path("out"), SMALL, classifier, dead=1)
    assert pq.read_table("out/_dead_letters")["position"].to_pylist() == ["0"]


def test_the_run_that_completes_another_may_be_killed_too(
    kill: Kill,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
) -> None:
    kill(Moment(MOVE))
    kill(Moment(MOVE, when="after"))
    kill(Moment("os.fsync"))
    assert COMPLETED in score().err
    check_complete(Path("out"), SMALL, classifier, dead=1)


@pytest.mark.parametrize(
    ("moment", "is_old"),
    [
        (Moment(IDENTIFY, 3), True),
        (Moment(CREATE_JSON, part="commit.json"), True),
        (Moment("scoreline.transforms.commit.remove"), True),
        (Moment(MOVE), False),
        (Moment(MOVE, 2), False),
    ],
)
def test_overwriting_is_all_or_nothing(
    kill: Kill,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
    moment: Moment,
    is_old: bool,
) -> None:
    old = numbers(10, seed=9)
    write(Path("old.parquet"), old)
    assert score(input="old.parquet").code == 0
    # The old run had a part more than the new one will have.
    Path("out/part-00001.parquet").write_bytes(Path("out/part-00000.parquet").read_bytes())

    kill(moment, "--overwrite")
    if is_old:
        assert pq.read_table("out").num_rows == 20

    ended = score("--overwrite")

    assert ended.code == 0, ended.err
    assert (REMOVED in ended.err) or (COMPLETED in ended.err)
    check_complete(Path("out"), SMALL, classifier, dead=1)


def test_with_reports_and_dead_letters_elsewhere(
    kill: Kill,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
) -> None:
    flags = ["--report", "runs", "--dead-letters", "dead.parquet"]
    for where, said in ((IDENTIFY, REMOVED), (MOVE, COMPLETED)):
        kill(Moment(where, 2), *flags)
        ended = score(*flags)
        assert ended.code == 0, ended.err
        assert said in ended.err
        assert files_below(Path("out")) == ["part-00000.parquet"]
        assert [path.name for path in sorted(Path("runs").glob("*/*"))] == [
            *("_SUCCESS", "commit.json", "job.yaml", "report.json")
        ]
        assert pq.read_table("out").num_rows == SMALL - 1
        assert pq.read_table("dead.parquet").num_rows == 1
        for path in (*Path("out").rglob("*.*"), *Path("runs").rglob("*"), Path("dead.parquet")):
            if path.is_file():
                path.unlink()


def test_another_command_completes_the_run_but_does_not_take_its_place(
    kill: Kill,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
) -> None:
    kill(Moment(MOVE, 2))
    ended = score("--keep", "a")
    assert ended.code == 2
    assert COMPLETED in ended.err
    assert "--output out exists" in ended.err
    check_complete(Path("out"), SMALL, classifier, dead=1)


@pytest.mark.timeout(600)  # twenty runs of a million rows
def test_ten_kills_in_a_row_at_random_moments(
    start: Start,
    score: Score,
    workdir: Path,
    big_file: Path,
    classifier: LogisticRegression,
    classifier_file: Path,
) -> None:
    Path("in.parquet").symlink_to(big_file)
    moments = random.Random(20240229)
    killed = 0
    for _ in range(10):
        process = start("-m", "scoreline", *command(classifier_file, "--overwrite"))
        wait_for_run(process, Path("out"))
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        ended = score("--overwrite")
        assert ended.code == 0, ended.err
        assert sum(1 for _ in Path("out").glob("part-*")) == 1
    assert killed >= 5
    check_complete(Path("out"), BIG, classifier)
