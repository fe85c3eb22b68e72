import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models import ModelOutputError, RowCountError
from scoreline.models.scoring import Poison, check_rows_are_to_blame, score_rows


class Fragile:
    """Doubles `x`, unless a row is poison; counts its calls and their rows."""

    def __init__(self, poison: set[int]):
        self.poison = pa.array(sorted(poison), pa.int64())
        self.calls = 0
        self.rows = 0

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.calls += 1
        self.rows += batch.num_rows
        bad = batch.filter(pc.is_in(batch.column("x"), self.poison))
        if bad.num_rows:
            raise ValueError(f"poison: {bad.column('x')[0].as_py()}")
        return pa.record_batch({"twice": pc.multiply(batch.column("x"), 2)})


def numbered(rows: int) -> pa.RecordBatch:
    return pa.record_batch({"x": np.arange(rows)})


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_every_row_is_scored_or_poison_in_order(case: tuple[int, set[int]]):
    rows, poison = case
    output, kept, found = score_rows(numbered(rows), Fragile(poison))
    good = [row for row in range(rows) if row not in poison]
    assert kept.tolist() == good
    assert [(one.row, one.error_class, one.message) for one in found] == [
        (row, "ValueError", f"poison: {row}") for row in sorted(poison)
    ]
    assert (output is None) == (not good)
    assert output is None or output.column("twice").to_pylist() == [2 * row for row in good]


def test_a_clean_batch_costs_one_call():
    score = Fragile(set())
    output, kept, found = score_rows(numbered(1000), score)
    assert (score.calls, score.rows, found) == (1, 1000, [])
    assert output.num_rows == len(kept) == 1000


@pytest.mark.parametrize("row", [0, 1, 40_000, 65_534, 65_535])
def test_one_poison_row_in_65536_costs_33_calls(row: int):
    score = Fragile({row})
    output, kept, found = score_rows(numbered(65_536), score)
    assert [one.row for one in found] == [row]
    assert len(kept) == output.num_rows == 65_535
    assert score.calls == 33
    assert score.rows <= 2.4 * 65_536


def test_a_batch_of_nothing_but_poison():
    score = Fragile(set(range(256)))
    output, kept, found = score_rows(numbered(256), score)
    assert output is None
    assert kept.tolist() == []
    assert [one.row for one in found] == list(range(256))


@pytest.mark.parametrize("error", [ModelOutputError("a row too few"), MemoryError()], ids=str)
def test_what_is_no_rows_fault_is_raised(error: Exception):
    def score(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise error

    with pytest.raises(type(error)) as raised:
        score_rows(numbered(8), score)
    assert raised.value is error


def copies(batch: pa.RecordBatch) -> pa.RecordBatch:
    """As many rows for each as it says."""
    counts = batch.column("x").to_pylist()
    rows = [row for row, count in enumerate(counts) for _ in range(count)]
    if len(rows) != len(counts):
        raise RowCountError(f"expected {len(counts)} rows, got {len(rows)}")
    return pa.record_batch({"row": batch.column("x").take(pa.array(rows, pa.int64()))})


@given(st.lists(st.sampled_from([0, 1, 1, 1, 2, 3]), min_size=1, max_size=60))
def test_rows_that_become_none_or_several_are_poison_even_alone(counts: list[int]):
    if sum(counts) == len(counts):
        return  # nobody can tell
    output, kept, poison = score_rows(pa.record_batch({"x": counts}), copies)
    found = {one.row: one.message for one in poison}
    assert {one.error_class for one in poison} == {"RowCountError"}
    assert all(found[row] == f"expected 1 rows, got {counts[row]}" for row in found)
    assert sorted([*kept.tolist(), *found]) == list(range(len(counts)))
    assert (0 if output is None else output.num_rows) == len(kept)


def one_too_few(batch: pa.RecordBatch) -> pa.RecordBatch:
    if batch.num_rows > 1:
        raise RowCountError(f"{batch.num_rows - 1} rows for {batch.num_rows}")
    return batch


@pytest.mark.parametrize("rows", [2, 20, 65_536])
def test_rows_that_are_too_few_only_together_are_nobodys_fault(rows: int):
    calls = []

    def score(batch: pa.RecordBatch) -> pa.RecordBatch:
        calls.append(batch.num_rows)
        return one_too_few(batch)

    with pytest.raises(RowCountError, match="must not depend on the others"):
        score_rows(numbered(rows), score)
    assert len(calls) <= 16, "it is found out without trying every row"


def test_poison_beside_rows_that_are_too_few_only_together():
    """The poison row does not hide it: it is to blame for its own piece only."""

    def score(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.column("x")[0].as_py() == 0:
            raise ValueError("poison")
        return one_too_few(batch)

    with pytest.raises(RowCountError, match="1 rows for 2"):
        score_rows(numbered(8), score)


def test_a_model_is_to_blame_for_all_of_several_rows():
    counted, other = Poison(0, "RowCountError", "0 rows for 1"), Poison(1, "ValueError", "no")
    check_rows_are_to_blame([counted])
    check_rows_are_to_blame([counted, other])
    with pytest.raises(RowCountError, match=r"0 rows for 1\. So it is for each of the 2 rows"):
        check_rows_are_to_blame([counted, counted])


def test_memory_that_runs_out_while_splitting_is_raised():
    def score(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise ValueError if batch.num_rows == 8 else MemoryError

    with pytest.raises(MemoryError):
        score_rows(numbered(8), score)


def fail(error: Exception) -> Poison:
    def score(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise error

    (found,) = score_rows(numbered(1), score)[2]
    return found


def test_messages_are_short_and_fit_for_arrow():
    assert fail(KeyError("x")) == Poison(0, "KeyError", "'x'")
    assert fail(ValueError()).message == "ValueError()"
    assert fail(ValueError("y" * 9999)).message == "y" * 499 + "…"
    broken = fail(ValueError("odd \udcff text")).message
    assert broken == "odd ? text"
    pa.array([broken]).validate(full=True)


def test_columns_that_change_from_row_to_row_are_an_error():
    def score(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.num_rows > 1:
            raise ValueError
        first = batch.column("x")[0].as_py()
        return pa.record_batch({"y": [first if first % 2 else str(first)]})

    with pytest.raises(ModelOutputError) as raised:
        score_rows(numbered(3), score)
    assert str(raised.value) == (
        "the model gives different columns for different rows of one batch: y string for some, "
        "y int64 for others"
    )
