"""What a commit does with tables, on a fake of BigQuery that remembers."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from scoreline.transforms import CommitPlan, FileLayout, Receipt, final_tables
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.write_streams import StreamsLostError
from scoreline.transforms.commit import INTENT, REPORT, commit, is_closed, roll_forward
from scoreline.transforms.layout import FilelessLayout
from scoreline.transforms.storage import exists, join, read_json
from scoreline.transforms.table_place import TablePlace

SCORES, DEAD = TableName("p", "ml", "scores"), TableName("p", "ml", "scores_dead_letters")
STAGING = TableName("p", "ml", "scoreline_tmp_r_0")
SCHEMA = pa.schema([("x", pa.int64())])


class Killed(BaseException):
    pass


@dataclass
class FakeBigQuery:
    """Streams and tables by their names; it dies before or after its n-th call."""

    streams: dict[str, list[int]]
    visible: dict[str, list[int]] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)
    committed: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    dies_at: float = float("inf")
    dies_after: bool = False

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (
            *("seal_streams", "commit_streams"),
            *("replace", "was_replaced", "delete_temporary"),
        ):
            monkeypatch.setattr(final_tables, name, self._watched(getattr(self, name)))

    def _watched(self, function: Any) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append(function.__name__)
            is_time = len(self.calls) == self.dies_at
            if is_time and not self.dies_after:
                raise Killed
            result = function(*args)
            if is_time:
                raise Killed
            return result

        return call

    def seal_streams(self, rows: Mapping[str, int]) -> None:
        for name, count in rows.items():
            if len(self.streams[name]) != count:
                raise BigQueryError(f"{name} has other rows")
            self.sealed.add(name)

    def commit_streams(self, table: TableName, names: Sequence[str]) -> None:
        assert set(names) <= self.sealed
        if str(table) not in self.visible:
            raise StreamsLostError(f"{table} is gone")
        for name in set(names) - self.committed:
            self.visible[str(table)] += self.streams[name]
        self.committed |= set(names)

    def was_replaced(self, table: TableName, job_id: str) -> bool:
        return job_id in self.jobs

    def replace(self, target: TableName, staging: TableName, job_id: str) -> None:
        if job_id not in self.jobs:
            self.visible[str(target)] = list(self.visible[str(staging)])
            self.jobs.add(job_id)

    def delete_temporary(self, table: TableName, run_id: str) -> None:
        assert table.table.startswith(f"scoreline_tmp_{run_id}_")
        self.visible.pop(str(table), None)


RECEIPTS = [
    Receipt("read", 0, 4),
    Receipt("read", 1, 3),
    Receipt("predicted", 0, 3, "s/a"),
    Receipt("predicted", 1, 1, "s/a"),  # one stream holds what a bundle wrote of two splits
    Receipt("predicted", 1, 1, "s/b"),
    Receipt("dead_lettered", 0, 1, "d/a", (("conform/null_value", 1, "f#0: null"),)),
    Receipt("dead_lettered", 1, 1, "d/b", (("write/refused", 1, "f#9: too large"),)),
]
STREAMS = {"s/a": [1, 2, 3, 4], "s/b": [5], "d/a": [0], "d/b": [9], "of a bundle that failed": [7]}


def plan_of(folder: Path, *, truncate: bool = False) -> CommitPlan:
    place = TablePlace(SCORES, STAGING if truncate else None)
    return CommitPlan(
        run_id="r",
        home=FilelessLayout(place.output, str(folder / "runs")),
        places=(place,),
        dead_letters=TablePlace(DEAD),
        fingerprint="f",
        removes=(),
        planned={},
        max_dead_letter_ratio=0.5,
        output_schemas=(SCHEMA,),
        report={"started_at": datetime.now(UTC).isoformat()},
    )


def service(*, truncate: bool = False) -> FakeBigQuery:
    visible = {str(SCORES): [-1], str(DEAD): []}
    return FakeBigQuery(STREAMS, visible | ({str(STAGING): []} if truncate else {}))


def check_complete(bq: FakeBigQuery, plan: CommitPlan, *, truncate: bool = False) -> None:
    old = [] if truncate else [-1]
    assert sorted(bq.visible.pop(str(SCORES))) == [*old, 1, 2, 3, 4, 5]
    assert sorted(bq.visible.pop(str(DEAD))) == [0, 9]
    assert not bq.visible, "the run's own table is still there"
    assert is_closed(plan.run_folder)


def test_all_streams_of_a_table_are_committed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path), service()
    bq.patch(monkeypatch)
    report = commit(plan, RECEIPTS)
    assert bq.calls == ["seal_streams", "seal_streams", "commit_streams", "commit_streams"]
    intent = read_json(join(plan.run_folder, INTENT))
    assert intent["streams"] == [
        {"table": "p.ml.scores", "names": ["s/a", "s/b"]},
        {"table": "p.ml.scores_dead_letters", "names": ["d/a", "d/b"]},
    ]
    assert (intent["replaces"], intent["moves"]) == ([], [])
    assert report["rows"] | {"filtered": 0, "deduplicated": 0} == {
        "read": 7,
        "predicted": 5,
        "dead_lettered": 2,
        "filtered": 0,
        "deduplicated": 0,
    }
    assert report["output"] == "bq://p.ml.scores"
    assert report["dead_letters_output"] == "bq://p.ml.scores_dead_letters"
    assert (report["exit_code"], report["unaccounted"]) == (0, [])
    check_complete(bq, plan)


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_at_any_call_is_finished_by_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truncate: bool, after: bool
) -> None:
    for number in itertools.count(1):
        plan, bq = plan_of(tmp_path / str(number), truncate=truncate), service(truncate=truncate)
        bq.dies_at, bq.dies_after = number, after
        with monkeypatch.context() as patch:
            bq.patch(patch)
            try:
                commit(plan, RECEIPTS)
            except Killed:
                has_intent = exists(join(plan.run_folder, INTENT))
                assert has_intent or bq.visible[str(SCORES)] == [-1], "visible before the intent"
                if has_intent:
                    roll_forward(plan.run_folder)
                else:
                    commit(plan, RECEIPTS)
            else:
                break
            check_complete(bq, plan, truncate=truncate)
    assert number == (8 if truncate else 5)


def test_a_table_is_replaced_once_however_often_a_run_is_rolled_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path, truncate=True), service(truncate=True)
    bq.patch(monkeypatch)
    commit(plan, RECEIPTS)
    bq.visible[str(SCORES)].append(6)  # by somebody else, since
    roll_forward(plan.run_folder)
    assert 6 in bq.visible[str(SCORES)]


def test_streams_that_hold_other_rows_than_their_receipts_say_leave_no_intent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path), service()
    bq.patch(monkeypatch)
    with pytest.raises(BigQueryError, match="other rows"):
        commit(plan, [*RECEIPTS[:-1], Receipt("dead_lettered", 1, 2, "d/b")])
    assert not exists(join(plan.run_folder, INTENT))
    assert bq.visible == {str(SCORES): [-1], str(DEAD): []}


def test_a_table_that_was_deleted_during_the_run_is_no_success_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path), service()
    bq.patch(monkeypatch)
    del bq.visible[str(SCORES)]
    with pytest.raises(StreamsLostError, match=f"Remove {plan.run_folder}, and the same command"):
        commit(plan, RECEIPTS)
    assert not exists(join(plan.run_folder, REPORT))


def test_files_and_a_table_become_final_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bq = service()
    bq.patch(monkeypatch)
    layout = FileLayout(str(tmp_path / "out"))
    plan = CommitPlan(
        **{
            **plan_of(tmp_path).__dict__,
            "home": layout,
            "places": (layout, TablePlace(SCORES)),
            "dead_letters": layout,
            "output_schemas": (SCHEMA, SCHEMA),
        }
    )
    receipts = [Receipt("read", 0, 4), Receipt("predicted", 0, 4, "s/a", sink=1)]
    report = commit(plan, receipts)
    assert report["unaccounted"] == ["split 0: 4 rows read, but 0 predicted and 0 dead-lettered"]
    assert report["outputs"] == [str(tmp_path / "out"), "bq://p.ml.scores"]
    assert [Path(path).name for path in layout.existing()] == ["part-00000.parquet"]
    assert sorted(bq.visible[str(SCORES)]) == [-1, 1, 2, 3, 4]
