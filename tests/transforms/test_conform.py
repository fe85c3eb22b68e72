import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from arrow_data import STORABLE, batches, same_rows
from hypothesis import given
from hypothesis import strategies as st
from in_process import has_batch_coder, in_process, row_counts

from scoreline.models import Contract, ContractError, Feature
from scoreline.models.reserved import CAST_PREFIX, user_columns
from scoreline.transforms import Conform, conform, decode_payload
from scoreline.transforms.identity import identify

STRICT = Contract((Feature("f", nullable=False, infinite=False),))


def test_a_clean_batch_is_passed_on_as_it_is():
    batch = pa.record_batch({"f": [1.0, 2.0], "other": ["a", "b"]})
    good, dead = conform(batch, STRICT)
    assert good is batch
    assert dead is None


def test_a_row_is_rejected_with_its_reason_and_the_others_keep_their_order():
    batch = identify(
        pa.record_batch({"f": [1.0, None, float("inf"), float("nan"), 5.0], "k": list("abcde")}),
        "in.parquet",
        100,
        4,
    )
    good, dead = conform(batch, STRICT, "run-7")
    assert good.column("k").to_pylist() == ["a", "e"]
    assert good.schema.metadata == batch.schema.metadata
    assert dead.column("row_id").to_pylist() == [f"in.parquet#{row}" for row in (101, 102, 103)]
    assert dead.column("error_code").to_pylist() == ["null_value", "infinite_value", "null_value"]
    assert set(dead.column("stage").to_pylist()) == {"conform"}
    assert set(dead.column("run_id").to_pylist()) == {"run-7"}
    assert set(dead.column("model_version").to_pylist()) == {None}


def test_a_batch_of_nothing_but_bad_rows_gives_no_empty_batch():
    good, dead = conform(pa.record_batch({"f": pa.array([None, None], pa.float64())}), STRICT)
    assert good is None
    assert dead.num_rows == 2


def test_text_that_spells_numbers_is_cast_beside_the_column():
    good, dead = conform(pa.record_batch({"f": ["1.5", "x", " 2 "]}), STRICT)
    assert good.column("f").to_pylist() == ["1.5", " 2 "]
    assert good.column(CAST_PREFIX + "f").to_pylist() == [1.5, 2.0]
    assert user_columns(good).schema.names == ["f"]
    assert decode_payload(dead.column("payload")[0].as_py()).to_pylist() == [{"f": "x"}]


def test_what_an_earlier_conform_cast_is_replaced():
    once, _ = conform(pa.record_batch({"f": ["1"], "g": ["2"]}), STRICT)
    twice, _ = conform(once, Contract((Feature("g"),)))
    assert twice.schema.names == ["f", "g", CAST_PREFIX + "g"]
    assert twice.column(CAST_PREFIX + "g").to_pylist() == [2.0]


def test_a_missing_column_is_an_error_that_names_the_nearest():
    with pytest.raises(ContractError, match=r"needs columns \['f'\].*'F' looks like 'f'"):
        conform(pa.record_batch({"F": [1.0]}), STRICT)


def test_a_column_of_another_kind_is_an_error_and_no_dead_letter():
    with pytest.raises(ContractError, match="takes a number in column 'f'"):
        conform(pa.record_batch({"f": pa.array([0], pa.timestamp("us"))}), STRICT)


@given(batches(kinds=STORABLE), st.data())
def test_no_row_is_lost_or_changed_whatever_its_columns(batch, data):
    rows = batch.num_rows
    floats = st.lists(st.none() | st.floats(width=32), min_size=rows, max_size=rows)
    batch = batch.append_column("f", pa.array(data.draw(floats), pa.float64()))
    good, dead = conform(identify(batch, "s", 0, 0), STRICT)
    fine = np.isfinite(batch.column("f").to_numpy(zero_copy_only=False))
    expected = batch.take(pa.array(np.flatnonzero(fine)))
    assert (good.num_rows if good else 0) + (dead.num_rows if dead else 0) == rows
    if good:
        assert same_rows(user_columns(good).replace_schema_metadata(None), expected)
    rejected = [decode_payload(row) for row in dead.column("payload").to_pylist()] if dead else []
    bad = [batch.slice(row, 1) for row in np.flatnonzero(~fine)]
    assert all(same_rows(left, right) for left, right in zip(rejected, bad, strict=True))


def _values(batch: pa.RecordBatch) -> list:
    return batch.column("f").to_pylist()


def _codes(batch: pa.RecordBatch) -> list:
    return batch.column("error_code").to_pylist()


def test_the_transform_parts_rows_and_counts_the_rejected():
    inputs = [pa.record_batch({"f": [1.0, None]}), pa.record_batch({"f": [None, 4.0]})]
    with in_process() as pipeline:
        outcome = pipeline | beam.Create(inputs) | Conform(STRICT, "r")
        assert_that(outcome.accepted | beam.FlatMap(_values), equal_to([1.0, 4.0]), "Accepted")
        assert_that(
            outcome.dead_letters | beam.FlatMap(_codes), equal_to(["null_value"] * 2), "Dead"
        )
    assert row_counts(pipeline) == {"rows_dead_lettered": 2}


def test_both_outputs_have_the_coder_for_batches():
    outcome = beam.Pipeline() | beam.Create([pa.record_batch({"f": [1.0]})]) | Conform(STRICT)
    assert has_batch_coder(outcome.accepted)
    assert has_batch_coder(outcome.dead_letters)
