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
from sudden import BIG, SMALL, WRECK, Popen, check_complete, wait_for_run

Start = Callable[..., Popen]
Score = Callable[..., Ended]

REMOVED = "removed what run"
COMPLETED = "completed run"
FINISHED = "had finished when it was interrupted"

MOMENTS = [
    # While the output is claimed.
    ("os.fsync", 1, "before", REMOVED),
    ("scoreline.pipelines.heartbeat.write_json", 1, "after", REMOVED),
    ("os.fsync", 2, "before", REMOVED),
    # While reading and writing.
    ("scoreline.transforms.parquet_files.identify", 3, "before", REMOVED),
    ("scoreline.transforms.part_writer.create", 1, "after", REMOVED),
    # Around the intent.
    ("os.fsync", 3, "before", REMOVED),
    ("scoreline.transforms.commit.write_json:commit.json", 1, "after", COMPLETED),
    # Between two renames, and after the last.
    ("scoreline.transforms.commit.move", 2, "before", COMPLETED),
    ("scoreline.transforms.commit.move", 2, "after", COMPLETED),
    ("scoreline.transforms.commit.remove_folder", 1, "after", COMPLETED),
    # Around the report and the mark of success.
    ("os.fsync", 4, "before", COMPLETED),
    ("scoreline.transforms.commit.write_text:_SUCCESS", 1, "before", COMPLETED),
    ("scoreline.transforms.commit.write_text:_SUCCESS", 1, "after", FINISHED),
    ("scoreline.pipelines.heartbeat.Heartbeat.stop", 1, "before", FINISHED),
]


def command(model: Path, *flags: str) -> list[str]:
    words = ["score", "--model", str(model), "--allow-pickle", "--input", "in.parquet"]
    return [*words, "--output", "out", *flags]


def kill(start: Start, moment: tuple[str, int, str], words: list[str]) -> None:
    where, count, when = moment
    process = start(WRECK, "kill", where, str(count), when, "--", *words)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err


@pytest.mark.parametrize(("where", "count", "when", "said"), MOMENTS)
def test_a_killed_run_is_removed_or_completed(
    start: Start,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
    classifier_file: Path,
    where: str,
    count: int,
    when: str,
    said: str,
) -> None:
    kill(start, (where, count, when), command(classifier_file))
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
    start: Start,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
    classifier_file: Path,
) -> None:
    move = "scoreline.transforms.commit.move"
    kill(start, (move, 1, "before"), command(classifier_file))
    kill(start, (move, 1, "after"), command(classifier_file))
    kill(start, ("os.fsync", 1, "before"), command(classifier_file))
    assert COMPLETED in score().err
    check_complete(Path("out"), SMALL, classifier, dead=1)


@pytest.mark.parametrize(
    ("where", "count", "is_old"),
    [
        ("scoreline.transforms.parquet_files.identify", 3, True),
        ("scoreline.transforms.commit.write_json:commit.json", 1, True),
        ("scoreline.transforms.commit.remove", 1, True),
        ("scoreline.transforms.commit.move", 1, False),
        ("scoreline.transforms.commit.move", 2, False),
    ],
)
def test_overwriting_is_all_or_nothing(
    start: Start,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
    classifier_file: Path,
    where: str,
    count: int,
    is_old: bool,
) -> None:
    old = numbers(10, seed=9)
    write(Path("old.parquet"), old)
    assert score(input="old.parquet").code == 0
    # The old run had a part more than the new one will have.
    Path("out/part-00001.parquet").write_bytes(Path("out/part-00000.parquet").read_bytes())

    kill(start, (where, count, "before"), command(classifier_file, "--overwrite"))
    if is_old:
        assert pq.read_table("out").num_rows == 20

    ended = score("--overwrite")

    assert ended.code == 0, ended.err
    assert (REMOVED in ended.err) or (COMPLETED in ended.err)
    check_complete(Path("out"), SMALL, classifier, dead=1)


def test_with_reports_and_dead_letters_elsewhere(
    start: Start,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
    classifier_file: Path,
) -> None:
    flags = ["--report", "runs", "--dead-letters", "dead.parquet"]
    for where, said in (
        ("scoreline.transforms.parquet_files.identify", REMOVED),
        ("scoreline.transforms.commit.move", COMPLETED),
    ):
        kill(start, (where, 2, "before"), command(classifier_file, *flags))
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
    start: Start,
    score: Score,
    small_file: Path,
    classifier: LogisticRegression,
    classifier_file: Path,
) -> None:
    move = "scoreline.transforms.commit.move"
    kill(start, (move, 2, "before"), command(classifier_file))
    ended = score("--keep", "a")
    assert ended.code == 2
    assert COMPLETED in ended.err
    assert "--output out exists" in ended.err
    check_complete(Path("out"), SMALL, classifier, dead=1)


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
