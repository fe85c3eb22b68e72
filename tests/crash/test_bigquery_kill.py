"""kill -9 of runs that write to tables: every row is there once, or a dead letter."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bq_emulator import BigQueryEmulator
from feed import Account
from live import Scene
from running import Ended
from stream_process import Command, Starter, Stream
from sudden import SMALL, Moment

Wreck = Callable[..., Ended]
Score = Callable[..., Ended]

REMOVED, COMPLETED = "removed what run", "completed run"
FINISHED = "had finished when it was interrupted"

FINAL = "scoreline.transforms.final_tables"
MOMENTS = [
    # While rows are read and appended.
    (Moment("scoreline.transforms.parquet_files.identify", 3), REMOVED, ()),
    # When all streams are sealed, and nothing says so.
    (Moment("scoreline.transforms.commit.create_json", part="commit.json"), REMOVED, ()),
    # After the intent; after the first of two commits, and after the note of it; after both.
    (Moment("scoreline.transforms.commit.make_tables_final"), COMPLETED, ()),
    (Moment(f"{FINAL}.commit_streams", when="after"), COMPLETED, ()),
    (Moment(f"{FINAL}.write_json", when="after"), COMPLETED, ()),
    (Moment("scoreline.transforms.commit.make_tables_final", when="after"), COMPLETED, ()),
    (Moment("scoreline.pipelines.heartbeat.Heartbeat.stop"), FINISHED, ()),
    # The same with rows that replace others: before that, after it, without the table they were in.
    (Moment(f"{FINAL}.replace"), COMPLETED, ("--write", "truncate")),
    (Moment(f"{FINAL}.replace", when="after"), COMPLETED, ("--write", "truncate")),
    (Moment(f"{FINAL}.delete_temporary", when="after"), COMPLETED, ("--write", "truncate")),
]

_LEASE_SECS = 12.0  # a little longer than that of the subscription


@pytest.fixture
def dataset(bq: BigQueryEmulator) -> str:
    return f"{bq.project}.{bq.dataset()}"


def words_of(model: Path, table: str, *flags: str) -> list[str]:
    words = ["score", "--model", str(model), "--allow-pickle", "--input", "in.parquet"]
    return [*words, "--output", f"bq://{table}", "--keep", "id", *flags]


@pytest.mark.parametrize(("moment", "said", "flags"), MOMENTS)
def test_a_killed_run_is_removed_or_completed(
    bq: BigQueryEmulator,
    dataset: str,
    wreck: Wreck,
    scoreline: Score,
    small_file: Path,
    classifier_file: Path,
    moment: Moment,
    said: str,
    flags: tuple[str, ...],
) -> None:
    table = f"{dataset}.scores"
    words = words_of(classifier_file, table, *flags)
    ended = wreck(signal.SIGKILL, moment, *words)
    assert ended.code == -signal.SIGKILL, ended.err
    if said == REMOVED:
        assert bq.rows(table).num_rows == bq.rows(f"{table}_dead_letters").num_rows == 0

    ended = scoreline(*words)

    assert ended.code == 0, ended.err
    assert said in ended.err
    assert sorted(bq.rows(table)["id"].to_pylist()) == list(range(1, SMALL))
    assert bq.rows(f"{table}_dead_letters")["position"].to_pylist() == ["0"]
    assert bq.tables(dataset.split(".")[1]) == ["scores", "scores_dead_letters"]


def test_two_runs_into_one_table_at_the_same_time(
    bq: BigQueryEmulator,
    dataset: str,
    starter: Starter,
    small_file: Path,
    classifier_file: Path,
) -> None:
    table, folder = f"{dataset}.scores", small_file.parent
    runs = []
    for name in ("one", "two"):
        words = words_of(classifier_file, table, "--report", name)
        runs.append(Stream(starter, Command(words, folder, bq.variables, folder / f"{name}.err")))
    for run in runs:
        assert run.wait(120) == 0, run.err()
    ids = bq.rows(table)["id"].to_pylist()
    assert sorted(ids) == sorted([*range(1, SMALL), *range(1, SMALL)])
    dead = bq.rows(f"{table}_dead_letters")
    assert len(set(dead["run_id"].to_pylist())) == dead.num_rows == 2


def test_a_second_run_from_the_same_folder_is_refused(
    bq: BigQueryEmulator,
    dataset: str,
    scoreline: Score,
    small_file: Path,
    classifier_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scoreline.pipelines import launch

    table = f"{dataset}.scores"
    words = words_of(classifier_file, table)
    inner: list[Ended] = []
    run_pipeline = launch._run_pipeline

    def start_another(*args: Any) -> None:
        if not inner:
            inner.append(Ended(0, "", ""))
            inner[0] = scoreline(*words)
        run_pipeline(*args)

    monkeypatch.setattr(launch, "_run_pipeline", start_another)
    ended = scoreline(*words)
    assert ended.code == 0, ended.err
    assert inner[0].code == 2
    assert f"is writing to bq://{table} now" in inner[0].err
    assert bq.rows(table).num_rows == SMALL - 1


def wait_until_done(scene: Scene, stream: Stream, published: dict[str, int]) -> None:
    """Waits until all is acknowledged, as far as the front has heard of it.

    What was on its way when the process was killed, it has not: a message comes back when its lease
    of ten seconds has ended, and one may be acknowledged that nobody has noted. So it is enough
    that for longer than a lease nothing has come.
    """
    leases, since, before = scene.front.leases, time.monotonic(), -1

    def is_done() -> bool:
        nonlocal since, before
        acknowledged = leases.acknowledged()
        if len(acknowledged) != before or leases.in_hand():
            since, before = time.monotonic(), len(acknowledged)
        return published.keys() <= acknowledged or time.monotonic() - since > _LEASE_SECS

    scene.wait(stream, is_done, "nothing in hand any more")


@pytest.mark.timeout(240)
def test_a_stream_into_a_table_is_killed_in_the_middle(
    bq: BigQueryEmulator, dataset: str, scene: Scene
) -> None:
    """The table is only looked at when nobody appends any more: the emulator would hang."""
    table = f"{dataset}.scores"
    words = scene.to_table(table, "--max-dead-letter-ratio", "1")
    feed = scene.feed(rate=300, bad_every=50)  # the emulator takes 20 ms for an append, or more
    stream = scene.start(words, **bq.variables)
    scene.wait_until_scoring(stream, 300)
    scene.wait_until_in_hand(stream)
    stream.kill()
    in_hand = len(scene.front.leases.in_hand())
    assert in_hand, "nothing was in hand when it was killed"
    scene.front.expire(scene.subscription)

    stream = scene.start(words, **bq.variables)
    scene.wait_until_scoring(stream)
    published = feed.stop()
    wait_until_done(scene, stream, published)
    stream.drain()

    account = Account(50)
    scored = bq.rows(table)
    account.add_scored(scored["row_id"].to_pylist(), scored["id"].to_pylist())
    account.add_dead_letters(bq.rows(f"{table}_dead_letters")["row_id"].to_pylist())
    account.check(published, max_duplicates=in_hand, title="a stream into a table, one kill")
