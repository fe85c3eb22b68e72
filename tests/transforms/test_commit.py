import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from in_process import in_process

from scoreline.transforms import Commit, CommitPlan, FileLayout, Receipt, commit, final_files
from scoreline.transforms.commit import INTENT, REPORT, SUCCESS, is_closed, roll_forward
from scoreline.transforms.commit import commit as commit_now
from scoreline.transforms.storage import create, exists, join, list_files, open_file

SCHEMA = pa.schema([("x", pa.int64()), ("prediction", pa.float64())])
LETTERS = pa.schema([("row_id", pa.string())])


def put(path, values, schema=SCHEMA):
    columns = [pa.array(values, schema.field(0).type)]
    columns += [pa.nulls(len(values), field.type) for field in list(schema)[1:]]
    with create(path) as file:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), file)


def values_of(*paths):
    found = []
    for path in paths:
        with open_file(path) as file:
            found += pq.ParquetFile(file).read().column(0).to_pylist()
    return found


def plan_of(output, ratio=0.5, planned=None, **places):
    layout = FileLayout(output, **places)
    return CommitPlan(
        run_id="run-1",
        home=layout,
        places=(layout,),
        dead_letters=layout,
        fingerprint="f00d",
        removes=tuple(layout.existing()),
        planned={0: 3, 1: 2, 2: 2} if planned is None else planned,
        max_dead_letter_ratio=ratio,
        output_schemas=(SCHEMA,),
        report={"job": "j", "started_at": datetime.now(UTC).isoformat()},
    )


def staged(plan):
    """Three splits: rows 0 to 6, of which 1, 4 and 5 are dead letters of two stages."""
    receipts = [Receipt("read", split, rows) for split, rows in ((0, 3), (1, 2), (2, 2))]
    for split, rows in ((0, [0, 2]), (1, [3]), (2, [6])):
        path = join(plan.staging, f"predicted-{split}.parquet")
        put(path, rows)
        receipts.append(Receipt("predicted", split, len(rows), path))
    for split, stage, row in ((0, "conform", "1"), (1, "conform", "4"), (2, "predict", "5")):
        path = join(plan.staging, f"dead-{split}.parquet")
        put(path, [row], LETTERS)
        receipts.append(
            Receipt("dead_lettered", split, 1, path, ((f"{stage}/bad", 1, f"f#{row}: bad"),))
        )
    put(join(plan.staging, "of-a-bundle-that-failed.parquet"), [99])
    return receipts


def check_complete(plan, more=()):
    """All that a run leaves is there, once, and nothing else."""
    layout = plan.home
    predictions = [path for path in layout.existing() if "dead" not in path]
    dead = [path for path in layout.existing() if "dead" in path]
    assert values_of(*predictions) == [0, 2, 3, 6]
    assert values_of(*dead) == ["1", "4", "5"]
    run_folder = [join(plan.run_folder, name) for name in (INTENT, REPORT, SUCCESS)]
    folders = {layout.output, layout.own_run_root, layout.run_root, layout.dead_letter_path}
    there = {path for folder in folders for path in [*list_files(folder), folder] if _is_file(path)}
    assert there == {*predictions, *dead, *run_folder, *more}
    assert is_closed(plan.run_folder)


def _is_file(path):
    return exists(path) and not Path(path).is_dir()


PLACES = {
    "folder": ("out", {}),
    "file": ("out.parquet", {}),
    "elsewhere": ("out", {"dead_letters": "dead.parquet", "report": "runs"}),
    "file and folders": ("out.parquet", {"dead_letters": "dl_dead", "report": "runs"}),
}


@pytest.fixture(params=PLACES)
def place(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return PLACES[request.param]


@pytest.fixture(params=PLACES)
def remote_place(request, memory):
    output, places = PLACES[request.param]
    root = "memory://bucket"
    return f"{root}/{output}", {name: f"{root}/{path}" for name, path in places.items()}


def test_everything_becomes_final(place):
    plan = plan_of(place[0], **place[1])
    report = commit_now(plan, staged(plan))
    check_complete(plan)
    assert report == json.loads(Path(plan.run_folder, REPORT).read_text())


def test_the_report(tmp_path):
    plan = plan_of(str(tmp_path / "out"))
    report = commit_now(plan, staged(plan))
    assert 0 <= report.pop("duration_secs") < 60
    assert report.pop("rows_per_sec") > 0
    assert report.pop("started_at") == plan.report["started_at"]
    assert report == {
        "run_id": "run-1",
        "job": "j",
        "rows": {"read": 7, "predicted": 4, "dead_lettered": 3, "filtered": 0, "deduplicated": 0},
        "dead_letters": {"conform/bad": 2, "predict/bad": 1},
        "dead_letter_examples": {"conform/bad": "f#1: bad", "predict/bad": "f#5: bad"},
        "dead_letter_ratio": 3 / 7,
        "max_dead_letter_ratio": 0.5,
        "unaccounted": [],
        "output": str(tmp_path / "out"),
        "outputs": [str(tmp_path / "out")],
        "dead_letters_output": str(tmp_path / "out" / "_dead_letters"),
        "run_folder": str(tmp_path / "out" / "_run" / "run-1"),
        "exit_code": 0,
    }


def test_the_names_of_what_a_folder_holds(tmp_path):
    plan = plan_of(str(tmp_path))
    commit_now(plan, staged(plan))
    assert [path.removeprefix(f"{tmp_path}/") for path in list_files(str(tmp_path))] == [
        "_dead_letters/part-00000-conform.parquet",
        "_dead_letters/part-00001-conform.parquet",
        "_dead_letters/part-00002-predict.parquet",
        "_run/run-1/_SUCCESS",
        "_run/run-1/commit.json",
        "_run/run-1/report.json",
        "part-00000.parquet",
        "part-00001.parquet",
        "part-00002.parquet",
    ]
    assert pq.read_table(tmp_path).num_rows == 4


@pytest.mark.parametrize("name", ["out", "out.parquet"])
def test_a_run_without_a_prediction_leaves_an_empty_file_with_the_schema(tmp_path, name):
    plan = plan_of(str(tmp_path / name), planned={0: 0})
    report = commit_now(plan, [Receipt("read", 0, 0)])
    assert report["exit_code"] == 0
    table = pq.read_table(plan.home.output)
    assert (table.num_rows, table.schema) == (0, SCHEMA)
    assert plan.home.existing() == [
        plan.home.output if plan.home.is_one_file else f"{plan.home.output}/part-00000.parquet"
    ]


def test_too_many_dead_letters_break_the_limit(tmp_path):
    plan = plan_of(str(tmp_path), ratio=0.42)
    report = commit_now(plan, staged(plan))
    assert report["exit_code"] == 3
    assert report["unaccounted"] == []
    assert len(plan.home.existing()) == 6  # the outputs are there
    assert not exists(join(plan.run_folder, SUCCESS))
    assert is_closed(plan.run_folder)


def test_a_ratio_at_the_limit_is_within(tmp_path):
    plan = plan_of(str(tmp_path), ratio=3 / 7)
    assert commit_now(plan, staged(plan))["exit_code"] == 0


def test_rows_that_are_not_accounted_for_break_the_limit(tmp_path):
    plan = plan_of(str(tmp_path))
    receipts = [receipt for receipt in staged(plan) if receipt.path != f"{plan.staging}/dead-1"]
    report = commit_now(plan, [r for r in receipts if (r.kind, r.split) != ("predicted", 1)])
    assert report["exit_code"] == 3
    assert report["unaccounted"] == ["split 1: 2 rows read, but 0 predicted and 1 dead-lettered"]
    assert not exists(join(plan.run_folder, SUCCESS))


def test_a_clock_that_went_back_harms_nothing(tmp_path):
    plan = plan_of(str(tmp_path))
    plan.report["started_at"] = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert commit_now(plan, staged(plan))["rows_per_sec"] == 0


def test_an_intent_is_carried_out_as_it_stands_and_not_made_again(tmp_path):
    plan = plan_of(str(tmp_path / "out"))
    first = commit_now(plan, staged(plan))
    intent = Path(plan.run_folder, INTENT).read_text()
    assert commit_now(plan, []) == first  # a retried bundle, whatever it believes
    assert Path(plan.run_folder, INTENT).read_text() == intent
    check_complete(plan)


@pytest.mark.parametrize("output", ["out", "out.parquet"])
def test_a_run_is_finished_from_another_folder(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    plan = plan_of(f"./{output}")
    receipts = staged(plan)

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(commit, "move", killed)
        with pytest.raises(Killed):
            commit_now(plan, receipts)
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    roll_forward(str(tmp_path / plan.run_folder))
    monkeypatch.chdir(tmp_path)
    check_complete(plan)


def test_files_of_the_run_before_are_replaced(place):
    output, places = place
    before = plan_of(output, **places)
    dead = before.home.dead_letter_path
    for name in [""] if before.home.is_one_file else ["/part-00000.parquet", "/part-00007.parquet"]:
        put(f"{output}{name}", [99])
    put(dead if dead.endswith(".parquet") else f"{dead}/part-00005-predict.parquet", ["9"], LETTERS)
    plan = plan_of(output, **places)
    assert len(plan.removes) > 1
    commit_now(plan, staged(plan))
    check_complete(plan)


class Killed(BaseException):
    pass


OPERATIONS = (
    "create_json",
    "move",
    "remove",
    "remove_folder",
    "remove_scratch",
    "write_json",
    "write_text",
)


def kill_at(patch, number, *, after):
    """The process dies before (or right after) its n-th operation; tells how many came."""
    counted = itertools.count(1)
    seen = []

    def watched(function):
        def call(*args):
            seen.append(next(counted))
            if seen[-1] == number and not after:
                raise Killed
            result = function(*args)
            if seen[-1] == number:
                raise Killed
            return result

        return call

    for name in OPERATIONS:
        patch.setattr(commit, name, watched(getattr(commit, name)))
    return seen


def next_command(plan, receipts):
    """What is done about an interrupted run: an intent is rolled forward, else it starts anew."""
    if exists(join(plan.run_folder, INTENT)):
        return roll_forward(plan.run_folder)
    return commit_now(plan, receipts)


@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_at_any_operation_is_finished_by_the_next_command(place, monkeypatch, after):
    output, places = place
    for number in itertools.count(1):
        plan = plan_of(f"{number}{after}{output}", **{k: f"{number}{v}" for k, v in places.items()})
        if plan.home.is_one_file:
            put(plan.home.output, [99])
        else:
            put(f"{plan.home.output}/part-00000.parquet", [99])
            put(f"{plan.home.output}/part-00009.parquet", [99])
        plan = plan_of(plan.home.output, **{k: f"{number}{v}" for k, v in places.items()})
        receipts = staged(plan)
        with monkeypatch.context() as patch:
            seen = kill_at(patch, number, after=after)
            try:
                commit_now(plan, receipts)
            except Killed:
                pass
            else:
                break  # it has fewer operations than that
        assert len(seen) == number
        report = next_command(plan, receipts)
        assert report["rows"]["predicted"] == 4
        assert report["exit_code"] == 0
        check_complete(plan)
    assert number > 9


def test_a_run_killed_twice_is_finished_too(tmp_path, monkeypatch):
    for first, second in itertools.product(range(3, 12, 2), range(1, 10, 2)):
        plan = plan_of(str(tmp_path / f"{first}-{second}"))
        receipts = staged(plan)
        for number in (first, second):
            with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
                kill_at(patch, number, after=False)
                next_command(plan, receipts)
        next_command(plan, receipts)
        check_complete(plan)


def test_a_run_on_an_object_store_killed_at_any_change_is_finished(remote_place, memory):
    output, places = remote_place
    for number in itertools.count(0):
        memory.clear()
        if output.endswith(".parquet"):
            put(output, [99])
        else:
            put(f"{output}/part-00000.parquet", [99])
            put(f"{output}/part-00009.parquet", [99])
        plan = plan_of(output, **places)
        receipts = staged(plan)
        memory.operations_left = number
        try:
            commit_now(plan, receipts)
        except OSError as error:
            assert "killed" in str(error)  # noqa: PT017
        else:
            break
        memory.operations_left = float("inf")
        next_command(plan, receipts)
        check_complete(plan)
    assert number > 15


def test_what_a_killed_write_left_beside_its_file_is_removed(tmp_path):
    plan = plan_of(str(tmp_path))
    receipts = staged(plan)
    Path(plan.run_folder, f"{REPORT}.{'0a' * 16}.tmp").write_text("{")
    Path(plan.run_folder, f"{INTENT}.{'0b' * 16}.tmp").write_text("{")
    commit_now(plan, receipts)
    check_complete(plan)


def test_a_disk_that_is_full_while_parts_are_merged_leaves_no_intent(tmp_path, monkeypatch):
    plan = plan_of(str(tmp_path / "out.parquet"))
    receipts = staged(plan)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(final_files, "merge_parts", full)
    with pytest.raises(OSError, match="No space left"):
        commit_now(plan, receipts)
    assert not exists(join(plan.run_folder, INTENT))
    assert plan.home.existing() == []


def test_a_staged_part_that_is_gone_is_an_error_and_no_success(tmp_path):
    plan = plan_of(str(tmp_path / "out"))
    receipts = staged(plan)
    Path(plan.staging, "predicted-1.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"part-00001.parquet final: .*-1.parquet is gone"):
        commit_now(plan, receipts)
    assert not is_closed(plan.run_folder)


def test_two_processes_may_finish_the_same_run(tmp_path, monkeypatch):
    """Between the look and the rename of one, the other renames."""
    plan = plan_of(str(tmp_path / "out"))
    receipts = staged(plan)
    replace = Path.replace

    def twice(self, target):
        replace(self, target)
        if "staged" in str(self):
            return replace(self, target)  # the other was faster: the source is gone
        return None

    monkeypatch.setattr(Path, "replace", twice)
    commit_now(plan, receipts)
    check_complete(plan)


def test_a_run_is_closed_by_its_report_or_after_a_good_end_by_its_mark(tmp_path):
    folder = str(tmp_path)
    assert not is_closed(folder)
    (tmp_path / REPORT).write_text('{"exit_code": 0}')
    assert not is_closed(folder)
    (tmp_path / SUCCESS).touch()
    assert is_closed(folder)
    (tmp_path / SUCCESS).unlink()
    (tmp_path / REPORT).write_text('{"exit_code": 3}')
    assert is_closed(folder)


def _summary(report: dict) -> tuple:
    return report["run_id"], report["rows"]["predicted"], report["exit_code"]


def test_the_transform_commits_once_and_gives_the_report(tmp_path):
    plan = plan_of(str(tmp_path / "out"))
    with in_process() as pipeline:
        reports = pipeline | beam.Create(staged(plan)) | Commit(plan)
        assert_that(reports | beam.Map(_summary), equal_to([("run-1", 4, 0)]))
    check_complete(plan)
