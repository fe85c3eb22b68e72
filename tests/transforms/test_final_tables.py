"""What a commit does with tables, on a fake of BigQuery that remembers, and forgets."""

import itertools
import json
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
from scoreline.transforms.bigquery.tables import JobPlace
from scoreline.transforms.bigquery.write_streams import StreamsLostError
from scoreline.transforms.commit import INTENT, REPORT, commit, is_closed, roll_forward
from scoreline.transforms.final_tables import LOST
from scoreline.transforms.layout import FilelessLayout
from scoreline.transforms.storage import exists, join, read_json, write_json, write_text
from scoreline.transforms.table_place import TablePlace

SCORES, DEAD = TableName("p", "ml", "scores"), TableName("p", "ml", "scores_dead_letters")
STAGING = TableName("p", "ml", "scoreline_tmp_r_0")
SCHEMA = pa.schema([("x", pa.int64())])


class Killed(BaseException):
    pass


@dataclass
class FakeBigQuery:
    """Streams and tables by their names; it dies before or after its n-th call.

    What it has forgotten are streams whose commits it knows no more of. A job is known where it
    ran, which is where its process is charged.
    """

    streams: dict[str, list[int]]
    visible: dict[str, list[int]] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)
    committed: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    jobs: set[tuple[str, JobPlace]] = field(default_factory=set)
    charged: str = "payer"
    refuses_to_replace: bool = False
    calls: list[str] = field(default_factory=list)
    dies_at: float = float("inf")
    dies_after: bool = False

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (
            *("seal_streams", "commit_streams"),
            *("replace", "was_replaced", "delete_temporary", "describe", "job_place"),
            "write_json",
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
        if str(table) not in self.visible or self.forgotten.intersection(names):
            raise StreamsLostError(f"{table}: its streams are gone")
        for name in names:
            if name not in self.committed:
                self.visible[str(table)] += self.streams[name]
        self.committed |= set(names)

    def describe(self, table: TableName) -> object:
        return table if str(table) in self.visible else None

    def job_place(self, table: TableName) -> JobPlace:
        assert str(table) in self.visible
        return JobPlace(self.charged, "EU")

    def was_replaced(self, table: TableName, job_id: str, place: JobPlace) -> bool:
        return (job_id, place) in self.jobs

    def replace(self, target: TableName, staging: TableName, job_id: str, place: JobPlace) -> None:
        if self.refuses_to_replace:
            raise BigQueryError(f"cannot replace {target}: it was refused")
        if (job_id, place) not in self.jobs:
            self.visible[str(target)] = list(self.visible[str(staging)])
            self.jobs.add((job_id, place))

    def write_json(self, path: str, value: dict[str, Any]) -> None:
        write_json(path, value)

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
    assert bq.visible.pop(str(SCORES)) == [*old, 1, 2, 3, 4, 5]
    assert bq.visible.pop(str(DEAD)) == [0, 9]
    assert not bq.visible, "the run's own table is still there"
    assert is_closed(plan.run_folder)


def test_all_streams_of_a_table_are_committed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path), service()
    bq.patch(monkeypatch)
    report = commit(plan, RECEIPTS)
    assert bq.calls == ["seal_streams", "seal_streams", *["commit_streams", "write_json"] * 2]
    intent = read_json(join(plan.run_folder, INTENT))
    assert intent["streams"] == [
        {"table": "p.ml.scores", "names": ["s/a", "s/b"], "rows": 5},
        {"table": "p.ml.scores_dead_letters", "names": ["d/a", "d/b"], "rows": 2},
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
    assert number == (14 if truncate else 7)


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
    with pytest.raises(StreamsLostError) as raised:
        commit(plan, RECEIPTS)
    said = str(raised.value)
    assert "BigQuery has lost the 5 rows of run r for p.ml.scores, or it added them before" in said
    assert "by the number of rows, as no column of ours names the run" in said
    assert f"If they are not, remove {plan.run_folder}, and the same command starts anew." in said
    assert read_json(join(plan.run_folder, LOST)) == {"message": said}
    assert not exists(join(plan.run_folder, REPORT))
    assert bq.visible == {str(DEAD): []}


@pytest.mark.parametrize("is_deleted", [True, False])
def test_where_one_table_has_the_rows_a_run_is_completed_and_not_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_deleted: bool
) -> None:
    plan, bq = plan_of(tmp_path), service()
    bq.patch(monkeypatch)
    if is_deleted:
        del bq.visible[str(DEAD)]
    else:
        bq.forgotten = {"d/b"}
    for forgotten in ([], ["s/a", "s/b"]):  # days later nobody knows of the first commit either
        bq.forgotten.update(forgotten)
        with pytest.raises(StreamsLostError) as raised:
            commit(plan, RECEIPTS)
        said = str(raised.value)
        assert "has lost the 2 rows of run r for p.ml.scores_dead_letters" in said
        assert "Do not start the run anew: its rows are in p.ml.scores already" in said
        assert 'WHERE run_id = "r"' in said
        assert "starts anew" not in said
        assert bq.visible[str(SCORES)] == [-1, 1, 2, 3, 4, 5]
    marker = join(plan.run_folder, "committed-1.json")
    assert f"Either way make an empty file {marker}: with it the same command completes" in said
    write_text(marker, "")

    roll_forward(plan.run_folder)

    assert is_closed(plan.run_folder)
    assert not exists(join(plan.run_folder, LOST))
    assert bq.visible[str(SCORES)] == [-1, 1, 2, 3, 4, 5]


def test_a_run_killed_before_its_report_is_completed_when_its_streams_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path), service()
    bq.patch(monkeypatch)
    bq.dies_at, bq.dies_after = 6, True
    with pytest.raises(Killed):
        commit(plan, RECEIPTS)
    bq.forgotten = set(STREAMS)
    roll_forward(plan.run_folder)
    check_complete(bq, plan)


def test_a_run_killed_between_a_commit_and_its_note_has_the_user_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path), service()
    bq.patch(monkeypatch)
    bq.dies_at = 4  # before the note of the first commit
    with pytest.raises(Killed):
        commit(plan, RECEIPTS)
    bq.forgotten = {"s/a", "s/b"}
    marker = join(plan.run_folder, "committed-0.json")
    with pytest.raises(StreamsLostError, match=f"If they are, make an empty file {marker}: with"):
        roll_forward(plan.run_folder)
    write_text(marker, "")
    roll_forward(plan.run_folder)
    check_complete(bq, plan)


def test_rows_that_were_gathered_replace_others_when_their_streams_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path, truncate=True), service(truncate=True)
    bq.patch(monkeypatch)
    bq.refuses_to_replace = True
    with pytest.raises(BigQueryError, match="it was refused"):
        commit(plan, RECEIPTS)
    assert bq.visible[str(STAGING)] == [1, 2, 3, 4, 5]
    assert (bq.visible[str(SCORES)], bq.visible[str(DEAD)]) == ([-1], [])
    bq.refuses_to_replace = False
    bq.forgotten = {"s/a", "s/b"}
    roll_forward(plan.run_folder)
    check_complete(bq, plan, truncate=True)


def test_a_table_that_was_deleted_before_it_was_replaced_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path, truncate=True), service(truncate=True)
    bq.patch(monkeypatch)
    del bq.visible[str(SCORES)]
    with pytest.raises(StreamsLostError) as raised:
        commit(plan, RECEIPTS)
    said = str(raised.value)
    assert "p.ml.scores is not there any more.\nThe rows of run r for it are in p.ml.scorel" in said
    assert "make p.ml.scores again, with the same columns, and the same command completes" in said
    assert f"Or remove {plan.run_folder}, and the same command starts anew." in said
    assert bq.visible[str(DEAD)] == []
    bq.visible[str(SCORES)] = []
    roll_forward(plan.run_folder)
    check_complete(bq, plan, truncate=True)


@pytest.mark.parametrize("is_old", [True, False])
def test_a_run_whose_gathered_rows_are_gone_too_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    plan, bq = plan_of(tmp_path, truncate=True), service(truncate=True)
    bq.patch(monkeypatch)
    bq.refuses_to_replace = True
    with pytest.raises(BigQueryError, match="it was refused"):
        commit(plan, RECEIPTS)
    if is_old:
        make_older(plan)
        del bq.visible[str(SCORES)]
    del bq.visible[str(STAGING)]
    with pytest.raises(StreamsLostError) as raised:
        roll_forward(plan.run_folder)
    said = str(raised.value)
    assert "is not there any more.\nRun r has replaced no rows of p.ml.scores, and" in said
    assert f"Remove {plan.run_folder}, and the same command starts anew." in said
    assert bq.visible[str(DEAD)] == []


@pytest.mark.parametrize("is_noted", [True, False])
def test_a_table_that_was_deleted_after_it_was_replaced_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_noted: bool
) -> None:
    plan, bq = plan_of(tmp_path, truncate=True), service(truncate=True)
    bq.patch(monkeypatch)
    commit(plan, RECEIPTS)
    del bq.visible[str(SCORES)]
    if not is_noted:
        Path(plan.run_folder, "replaced-0.json").unlink()
    roll_forward(plan.run_folder)
    assert bq.visible == {str(DEAD): [0, 9]}


def test_whoever_completes_a_run_finds_its_job_though_charged_to_another_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bq = plan_of(tmp_path, truncate=True), service(truncate=True)
    bq.patch(monkeypatch)
    commit(plan, RECEIPTS)
    (entry,) = read_json(join(plan.run_folder, INTENT))["replaces"]
    assert (entry["project"], entry["location"]) == ("payer", "EU")
    Path(plan.run_folder, "replaced-0.json").unlink()
    bq.charged = "another"
    roll_forward(plan.run_folder)
    assert bq.jobs == {(entry["job_id"], JobPlace("payer", "EU"))}
    check_complete(bq, plan, truncate=True)


def make_older(plan: CommitPlan) -> None:
    """Takes from an intent what older ones lack."""
    path = Path(plan.run_folder, INTENT)
    intent = json.loads(path.read_text())
    for entry in intent["streams"]:
        del entry["rows"]
    for entry in intent["replaces"]:
        del entry["project"], entry["location"]
    path.write_text(json.dumps(intent))


@pytest.mark.parametrize("truncate", [True, False])
def test_an_older_intent_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truncate: bool
) -> None:
    plan, bq = plan_of(tmp_path, truncate=truncate), service(truncate=truncate)
    bq.patch(monkeypatch)
    bq.dies_at = 4 if truncate else 3
    with pytest.raises(Killed):
        commit(plan, RECEIPTS)
    make_older(plan)
    bq.forgotten = {"d/a"}
    with pytest.raises(StreamsLostError, match="has lost the rows of run r for p"):
        roll_forward(plan.run_folder)
    bq.forgotten = set()
    roll_forward(plan.run_folder)
    check_complete(bq, plan, truncate=truncate)


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
    assert bq.visible[str(SCORES)] == [-1, 1, 2, 3, 4]
