import threading
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from in_process import in_process

from scoreline.transforms import Receipt, WriteParts
from scoreline.transforms.dead_letters import Reasons, to_dead_letters
from scoreline.transforms.identity import identify
from scoreline.transforms.write_parts import _WritePartsFn


def batch(values, split=0, first=0):
    return identify(pa.record_batch({"x": values}), f"f{split}", first, split)


def dead(rows, split=0, first=0, codes=None):
    codes = codes or ["null_value"] * rows
    messages = [f"no {first + row}" for row in range(rows)]
    reasons = Reasons("conform", codes, ["C"] * rows, messages)
    return to_dead_letters(batch(list(range(rows)), split, first), reasons, "run", None)


def run(fn, batches):
    """One bundle, by hand; gives its receipts."""
    fn.start_bundle()
    for one in batches:
        assert fn.process(one) is None
    return [found.value for found in fn.finish_bundle()]


def test_one_part_for_each_split_of_a_bundle(tmp_path):
    fn = _WritePartsFn(str(tmp_path), "predicted", None, False, ".parquet", 0)
    receipts = run(fn, [batch([1, 2], 0), batch([3], 0, 2), batch([4], 1), batch([5], 0)])
    assert [(r.kind, r.split, r.rows, r.codes) for r in receipts] == [
        ("predicted", 0, 3, ()),
        ("predicted", 1, 1, ()),
        ("predicted", 0, 1, ()),
    ]
    written = [pq.read_table(r.path).column("x").to_pylist() for r in receipts]
    assert written == [[1, 2, 3], [4], [5]]
    assert {Path(r.path) for r in receipts} == set(tmp_path.iterdir())


def test_bundles_never_share_a_part_or_a_receipt(tmp_path):
    fn = _WritePartsFn(str(tmp_path), "predicted", None, False, ".parquet", 0)
    first, second = run(fn, [batch([1])]), run(fn, [batch([1])])
    assert len(first) == len(second) == 1
    assert first[0].path != second[0].path
    assert run(fn, []) == []


def test_what_is_kept_and_row_id(tmp_path):
    fn = _WritePartsFn(str(tmp_path), "predicted", ("x",), True, ".parquet", 0)
    [receipt] = run(fn, [batch([7], 3, 5)])
    assert pq.read_table(receipt.path).to_pylist() == [{"x": 7, "row_id": "f3#5"}]
    assert pq.read_schema(receipt.path).metadata is None


def test_dead_letters_are_counted_by_code_with_the_first_as_example(tmp_path):
    fn = _WritePartsFn(str(tmp_path), "dead_lettered", None, False, ".parquet", 0)
    codes = ["null_value", "unsafe_cast", "null_value"]
    [receipt] = run(fn, [dead(3, 2, 10, codes), dead(2, 2, 20, ["unsafe_cast"] * 2)])
    assert receipt.rows == 5
    assert receipt.codes == (
        ("conform/null_value", 2, "f2#10: no 10"),
        ("conform/unsafe_cast", 3, "f2#11: no 11"),
    )
    assert pq.read_table(receipt.path).num_rows == 5


def test_an_example_without_identity_is_the_message(tmp_path):
    reasons = Reasons("conform", ["c"], ["C"], ["why"])
    letters = to_dead_letters(pa.record_batch({"x": [1]}), reasons, "", None)
    fn = _WritePartsFn(str(tmp_path), "dead_lettered", None, False, ".parquet", 0)
    [receipt] = run(fn, [letters])
    assert receipt.codes == (("conform/c", 1, "why"),)
    assert receipt.split == 0


def _writers():
    return [thread for thread in threading.enumerate() if thread.name == "scoreline-writer"]


@pytest.mark.parametrize("next_call", ["start_bundle", "teardown"])
def test_a_bundle_that_fails_leaves_no_thread(tmp_path, next_call):
    fn = _WritePartsFn(str(tmp_path), "predicted", None, False, ".parquet", 0)
    before = len(_writers())
    fn.start_bundle()
    fn.process(batch([1]))
    assert len(_writers()) == before + 1
    getattr(fn, next_call)()  # without finish_bundle: something else in the bundle raised
    assert len(_writers()) == before
    fn.teardown()


def test_a_bundle_in_which_writing_fails_raises(tmp_path):
    (tmp_path / "file").touch()
    fn = _WritePartsFn(str(tmp_path / "file"), "predicted", None, False, ".parquet", 0)
    fn.start_bundle()
    with pytest.raises(FileExistsError):  # noqa: PT012  now or, if the thread is slower, at the end
        fn.process(batch([1]))
        list(fn.finish_bundle())
    fn.teardown()


def _facts(receipt: Receipt) -> tuple:
    return receipt.kind, receipt.split, receipt.rows, Path(receipt.path).exists()


def test_the_transform_gives_receipts_of_files_that_are_there(tmp_path):
    with in_process() as pipeline:
        receipts = (
            pipeline
            | beam.Create([batch([1, 2]), batch([3], 1)], reshuffle=False)
            | WriteParts(str(tmp_path / "staged"), "predicted")
        )
        assert receipts.element_type is Receipt
        expected = [("predicted", 0, 2, True), ("predicted", 1, 1, True)]
        assert_that(receipts | beam.Map(_facts), equal_to(expected))


@pytest.mark.parametrize(
    ("extension", "content"),
    [(".jsonl", '{"x":1}\n{"x":2}\n'), (".csv", '"x"\n1\n2\n'), (".tsv", '"x"\n1\n2\n')],
)
def test_parts_of_another_format_and_output(tmp_path, extension, content):
    fn = _WritePartsFn(str(tmp_path), "predicted", None, False, extension, 2)
    [receipt] = run(fn, [batch([1]), batch([2], 0, 1)])
    assert receipt.sink == 2
    assert receipt.path.endswith(extension)
    assert Path(receipt.path).read_text() == content
