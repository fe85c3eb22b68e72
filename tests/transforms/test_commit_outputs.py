"""Runs of several outputs, and outputs of other formats than Parquet."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.transforms import CommitPlan, FileLayout, Receipt
from scoreline.transforms.commit import INTENT, commit, is_closed, roll_forward
from scoreline.transforms.part_writer import PartWriter
from scoreline.transforms.storage import exists, join, list_files, read_json

FIRST = pa.schema([("x", pa.int64()), ("prediction", pa.float64())])
SECOND = pa.schema([("prediction", pa.float64())])


def plan_of(*layouts, schemas=(FIRST, SECOND)):
    return CommitPlan(
        run_id="r",
        home=layouts[0],
        places=layouts,
        dead_letters=layouts[0],
        fingerprint="f",
        removes=tuple(path for layout in layouts for path in layout.existing()),
        planned={0: 3, 1: 1},
        max_dead_letter_ratio=0.5,
        output_schemas=schemas[: len(layouts)],
        report={"started_at": datetime.now(UTC).isoformat()},
    )


def put(path, schema, rows):
    writer = PartWriter(path, schema)
    if rows:
        columns = {"x": [10 * row for row in rows], "prediction": [row / 2 for row in rows]}
        writer.write(pa.record_batch([columns[name] for name in schema.names], schema=schema))
    writer.close()
    return path


def staged(plan):
    """Two splits: rows 0, 1 and 3 are predicted, row 2 is a dead letter."""
    receipts = [Receipt("read", 0, 3), Receipt("read", 1, 1)]
    for sink, (layout, schema) in enumerate(zip(plan.layouts, plan.output_schemas, strict=True)):
        for split, rows in ((0, [0, 1]), (1, [3])):
            path = join(layout.staging("r"), f"p{split}{layout.extension}")
            put(path, schema, rows)
            receipts.append(Receipt("predicted", split, len(rows), path, sink=sink))
    path = put(join(plan.staging, "dead.parquet"), SECOND, [2])
    return [*receipts, Receipt("dead_lettered", 0, 1, path, (("decode/bad", 1, "f#2: bad"),))]


def two(tmp_path, first="out", second="other", **options):
    return plan_of(
        FileLayout(str(tmp_path / first), **options),
        FileLayout(str(tmp_path / second), report=join(str(tmp_path / first), "_run")),
    )


def names(folder):
    return [path.removeprefix(f"{folder}/") for path in list_files(str(folder))]


def test_each_output_gets_its_parts_and_the_first_all_else(tmp_path):
    plan = two(tmp_path, part_extension=".jsonl")
    report = commit(plan, staged(plan))
    assert names(tmp_path) == [
        "other/part-00000.parquet",
        "other/part-00001.parquet",
        "out/_dead_letters/part-00000-decode.parquet",
        "out/_run/r/_SUCCESS",
        "out/_run/r/commit.json",
        "out/_run/r/report.json",
        "out/part-00000.jsonl",
        "out/part-00001.jsonl",
    ]
    assert pq.read_table(tmp_path / "other").column("prediction").to_pylist() == [0.0, 0.5, 1.5]
    assert (tmp_path / "out/part-00001.jsonl").read_text() == '{"x":30,"prediction":1.5}\n'
    assert report["rows"]["predicted"] == 3
    assert report["outputs"] == [str(tmp_path / "out"), str(tmp_path / "other")]
    assert report["exit_code"] == 0


@pytest.mark.parametrize("second", ["other", "other.csv"])
def test_a_second_output_that_got_no_row_is_there_and_breaks_the_account(tmp_path, second):
    plan = two(tmp_path, second=second)
    report = commit(plan, [receipt for receipt in staged(plan) if receipt.sink == 0])
    assert report["exit_code"] == 3
    assert report["unaccounted"] == [
        "split 0: 2 rows predicted, but 0 in output 2",
        "split 1: 1 rows predicted, but 0 in output 2",
    ]
    [path] = plan.layouts[1].existing()
    if second == "other":
        assert pq.read_schema(path).equals(SECOND)
    else:
        assert Path(path).read_text() == '"prediction"\n'
    assert not exists(join(plan.run_folder, "_SUCCESS"))


def test_a_second_output_with_other_rows_breaks_the_account(tmp_path):
    plan = two(tmp_path)
    receipts = staged(plan)
    lost = next(r for r in receipts if r.sink == 1 and r.split == 1)
    report = commit(plan, [receipt for receipt in receipts if receipt is not lost])
    assert report["unaccounted"] == ["split 1: 1 rows predicted, but 0 in output 2"]


def test_a_run_without_a_row_leaves_an_empty_file_in_each_output(tmp_path):
    plan = two(tmp_path, second="other.jsonl.gz")
    report = commit(CommitPlan(**{**plan.__dict__, "planned": {0: 0}}), [Receipt("read", 0, 0)])
    assert (report["exit_code"], report["unaccounted"]) == (0, [])
    assert pq.read_table(tmp_path / "out").schema.equals(FIRST)
    assert (tmp_path / "other.jsonl.gz").exists()


def test_old_files_of_all_outputs_and_formats_are_replaced(tmp_path):
    for name in ("out/part-00000.csv", "out/part-00007.parquet", "other/part-00005.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    plan = two(tmp_path)
    commit(plan, staged(plan))
    visible = [name for name in names(tmp_path) if "/_" not in name]
    assert visible == [
        f"{output}/part-0000{n}.parquet" for output in ("other", "out") for n in (0, 1)
    ]


ONE_FILE = {
    ".csv": '"x","prediction"\n0,0\n10,0.5\n30,1.5\n',
    ".tsv": '"x"\t"prediction"\n0\t0\n10\t0.5\n30\t1.5\n',
    ".jsonl": '{"x":0,"prediction":0.0}\n{"x":10,"prediction":0.5}\n{"x":30,"prediction":1.5}\n',
}


@pytest.mark.parametrize("extension", ONE_FILE)
def test_parts_of_text_are_joined_in_one_file(tmp_path, extension):
    plan = two(tmp_path, first=f"out{extension}", second=f"other{extension}")
    report = commit(plan, staged(plan))
    assert (tmp_path / f"out{extension}").read_text() == ONE_FILE[extension]
    assert (tmp_path / f"other{extension}").read_text().count("\n") == 3 + ("sv" in extension)
    assert report["dead_letters_output"] == str(tmp_path / f"out{extension}.dead_letters.parquet")
    assert pq.read_table(report["dead_letters_output"]).num_rows == 1
    assert is_closed(plan.run_folder)


class Killed(BaseException):
    pass


def test_a_run_of_two_outputs_is_rolled_forward_from_between_them(tmp_path, monkeypatch):
    plan = two(tmp_path)
    receipts = staged(plan)
    replace, left = Path.replace, [5]

    def killed_at_last(self, target):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
        patch.setattr(Path, "replace", killed_at_last)
        commit(plan, receipts)
    assert plan.layouts[0].existing() != []
    assert len(plan.layouts[1].existing()) < 2
    assert len(read_json(join(plan.run_folder, INTENT))["staging"]) == 2
    assert roll_forward(plan.run_folder)["exit_code"] == 0
    assert [len(layout.existing()) for layout in plan.layouts] == [3, 2]
    assert not [name for name in names(tmp_path) if "staged" in name]
