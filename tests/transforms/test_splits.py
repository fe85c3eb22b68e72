from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.parquet_files import ParquetInfo, RowGroup
from scoreline.transforms.splits import Split, plan_splits, read_split


def info(path, *groups):
    schema = pa.schema([("x", pa.int64())])
    return ParquetInfo(path, schema, tuple(RowGroup(*group) for group in groups))


MIB = 2**20


def test_small_files_share_a_split_and_large_row_groups_get_their_own():
    files = [
        info("a", (10, 40 * MIB, 1000), (10, 40 * MIB, 1000)),
        info("b", (5, 100, 100)),
        info("c", (7, 200 * MIB, 100)),
        info("d", (1, 100, 100)),
    ]
    splits = plan_splits(files)
    assert [split.number for split in splits] == [0, 1, 2, 3]
    shape = [[(r.path, r.row_groups, r.first_row) for r in split.ranges] for split in splits]
    assert shape == [
        [("a", (0,), 0)],
        [("a", (1,), 10), ("b", (0,), 0)],
        [("c", (0,), 0)],
        [("d", (0,), 0)],
    ]
    assert sum(split.num_rows for split in splits) == 33


def test_one_split_holds_all_in_order():
    files = [info("a", *[(10, 40 * MIB, 1000)] * 5), info("b", (1, 90 * MIB, 10))]
    [split] = plan_splits(files, single=True)
    assert split.num_rows == 51
    assert [r.path for r in split.ranges] == ["a"] * 5 + ["b"]


def test_many_tiny_files_are_spread_by_what_opening_them_costs():
    splits = plan_splits([info(str(i), (1, 10, 10)) for i in range(640)])
    assert len(splits) == 10


def test_row_groups_without_rows_are_left_out_but_counted():
    files = [info("a", (0, 0, 0), (3, 10, 10), (0, 0, 0), (4, 10, 10)), info("b", (0, 0, 0))]
    [split] = plan_splits(files)
    assert [(r.row_groups, r.first_row, r.num_rows) for r in split.ranges] == [
        ((1,), 0, 3),
        ((3,), 3, 4),
    ]


@pytest.mark.parametrize("files", [[], [info("a")], [info("a", (0, 0, 0))]])
@pytest.mark.parametrize("single", [True, False])
def test_without_a_row_there_is_one_split_of_none(files, single):
    assert plan_splits(files, single=single) == [Split(0, ())]
    assert list(read_split(Split(0, ()))) == []


def test_batches_are_bounded_by_bytes():
    wide = info("a", (1000, 100, 1000 * 64 * 1024))
    [split] = plan_splits([wide])
    assert split.ranges[0].batch_rows == 16 * MIB // (64 * 1024)
    huge_rows = info("a", (2, 100, 200 * MIB))
    assert plan_splits([huge_rows])[0].ranges[0].batch_rows == 1


@given(st.data())
def test_plans_hold_every_row_once_in_order(data):
    sizes = st.tuples(st.integers(0, 5), st.integers(0, 100 * MIB), st.integers(0, 10**9))
    files = data.draw(st.lists(st.lists(sizes, max_size=5), max_size=5))
    infos = [info(f"f{n}", *groups) for n, groups in enumerate(files)]
    splits = plan_splits(infos, single=data.draw(st.booleans()))
    planned = [
        (r.path, r.first_row + row) for s in splits for r in s.ranges for row in range(r.num_rows)
    ]
    assert planned == [(i.path, row) for i in infos for row in range(i.num_rows)]
    assert [split.number for split in splits] == list(range(len(splits)))


@dataclass(frozen=True)
class OfUnknownLength:
    """A range whose rows nobody knows before they are read."""

    path: str
    num_rows = None

    def read(self, split, columns):
        yield pa.record_batch({"path": [self.path], "split": [split], "asked": [str(columns)]})


@dataclass(frozen=True)
class Weighed:
    path: str
    weights: tuple
    num_rows = None
    schema = pa.schema([])

    def ranges(self):
        return ((OfUnknownLength(f"{self.path}{n}"), w) for n, w in enumerate(self.weights))


def test_a_split_with_a_range_of_unknown_length_has_an_unknown_length():
    [split] = plan_splits([info("a", (10, 10, 10)), Weighed("b", (5,))])
    assert split.num_rows is None
    assert Split(0, split.ranges[:1]).num_rows == 10
    assert Split(0, ()).num_rows == 0


def test_ranges_of_any_kind_are_weighed_alike_and_read_in_order():
    splits = plan_splits([Weighed("t", (32 * MIB, 32 * MIB, 5 * MIB)), info("p", (1, MIB, 1))])
    assert [[r.path for r in split.ranges] for split in splits] == [["t0", "t1"], ["t2", "p"]]
    rows = [batch.to_pylist()[0] for batch in read_split(splits[0], ("x",))]
    assert rows == [
        {"path": "t0", "split": 0, "asked": "('x',)"},
        {"path": "t1", "split": 0, "asked": "('x',)"},
    ]
