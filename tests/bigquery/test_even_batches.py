"""Batches of a usual size, whatever came."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.bigquery.even_batches import even_out

ROWS, BYTES = 16_384, 8 * 2**20


def batch_of(rows, width=8):
    return pa.record_batch({"x": range(rows), "text": ["x" * width] * rows})


def sizes(batches):
    return [batch.num_rows for batch in batches]


def test_small_answers_are_put_together():
    assert sizes(even_out([batch_of(1_000)] * 40)) == [17_000, 17_000, 6_000]
    assert sizes(even_out([batch_of(2, 3 * 2**20)] * 3)) == [4, 2]


def test_an_answer_of_many_rows_is_cut():
    assert sizes(even_out([batch_of(10), batch_of(100_000)])) == [10, *[14_286] * 6, 14_284]


def test_an_answer_of_wide_rows_is_cut():
    batches = list(even_out([batch_of(90, 2**20 - 100)]))
    assert sizes(batches) == [*[8] * 11, 2]
    assert all(batch.nbytes <= BYTES for batch in batches)


def test_a_row_that_is_larger_than_a_batch_is_one():
    assert sizes(even_out([batch_of(3, 9 * 2**20)])) == [1, 1, 1]


def test_what_is_cut_is_not_copied():
    whole = batch_of(100_000)
    addresses = [buffer.address for buffer in whole.column("x").buffers() if buffer]
    for piece in even_out([whole]):
        assert [buffer.address for buffer in piece.column("x").buffers() if buffer] == addresses


def test_nothing_gives_nothing():
    assert sizes(even_out([])) == []
    assert sizes(even_out([batch_of(0)])) == []


@given(st.lists(st.sampled_from([1, 100, 9_000, ROWS - 1, ROWS, ROWS + 1, 70_000]), max_size=8))
def test_every_row_stays_in_its_place(counts):
    rows = pa.record_batch({"x": range(sum(counts))})
    starts = [sum(counts[:index]) for index in range(len(counts))]
    answers = [rows.slice(start, count) for start, count in zip(starts, counts, strict=True)]
    given_ = list(even_out(answers))
    assert pa.Table.from_batches(given_, rows.schema) == pa.Table.from_batches([rows])
    assert all(0 < batch.num_rows < 2 * ROWS for batch in given_)
