import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from in_process import has_batch_coder, in_process, row_counts

from scoreline.models import ColumnarModelHandler
from scoreline.models.reserved import user_columns
from scoreline.transforms import Predict, decode_payload
from scoreline.transforms.identity import identify


def _scores(batch: pa.RecordBatch) -> list:
    rows = user_columns(batch).to_pylist()
    return [(row["x"], row["y"], round(row["prediction"], 6)) for row in rows]


def _names(batch: pa.RecordBatch) -> tuple:
    return tuple(user_columns(batch).schema.names)


def _dead(batch: pa.RecordBatch) -> list:
    return [
        (
            row["row_id"],
            row["run_id"],
            row["stage"],
            row["error_code"],
            row["error_class"],
            "NaN" in row["error_message"],
            len(row["model_version"]),
            str(decode_payload(row["payload"]).to_pylist()),
        )
        for row in batch.to_pylist()
    ]


def batch_of(xs, first=0):
    columns = {
        "x": pa.array(xs, pa.float64()),
        "y": pa.array([1.0] * len(xs)),
        "k": ["k"] * len(xs),
    }
    return identify(pa.record_batch(columns), "f", first, 0)


def dead_row(row, x):
    payload = str([{"x": x, "y": 1.0, "k": "k"}])
    return (f"f#{row}", "run", "predict", "model_error", "ValueError", True, 12, payload)


NAN = float("nan")
CASES = {
    "clean": ([1.0, 2.0], [(1.0, 1.0, 6.0), (2.0, 1.0, 8.0)], []),
    "first": ([NAN, 2.0, 3.0], [(2.0, 1.0, 8.0), (3.0, 1.0, 10.0)], [dead_row(0, NAN)]),
    "last": ([1.0, 2.0, NAN], [(1.0, 1.0, 6.0), (2.0, 1.0, 8.0)], [dead_row(2, NAN)]),
    "every": ([NAN, NAN], [], [dead_row(0, NAN), dead_row(1, NAN)]),
    "alone": ([NAN], [], [dead_row(0, NAN)]),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_are_scored_and_only_poison_rows_are_dead(linear_ref, case):
    values, scored, dead = CASES[case]
    with in_process() as pipeline:
        outcome = (
            pipeline
            | beam.Create([batch_of(values)])
            | Predict(ColumnarModelHandler(linear_ref), "run")
        )
        assert has_batch_coder(outcome.accepted)
        assert has_batch_coder(outcome.dead_letters)
        assert_that(outcome.accepted | "S" >> beam.FlatMap(_scores), equal_to(scored), "Scored")
        assert_that(outcome.dead_letters | "D" >> beam.FlatMap(_dead), equal_to(dead), "Dead")
    expected = {"rows_predicted": len(scored), "rows_dead_lettered": len(dead)}
    assert row_counts(pipeline) == {name: rows for name, rows in expected.items() if rows}


def test_outputs_stand_behind_the_columns(linear_ref):
    with in_process() as pipeline:
        outcome = (
            pipeline | beam.Create([batch_of([1.0])]) | Predict(ColumnarModelHandler(linear_ref))
        )
        names = ("x", "y", "k", "prediction", "model_version")
        assert_that(outcome.accepted | beam.Map(_names), equal_to([names]))


def test_counts_are_of_all_batches(linear_ref):
    inputs = [batch_of([1.0, NAN]), batch_of([3.0, 4.0, 5.0], 2)]
    with in_process() as pipeline:
        _ = pipeline | beam.Create(inputs) | Predict(ColumnarModelHandler(linear_ref))
    assert row_counts(pipeline) == {"rows_predicted": 4, "rows_dead_lettered": 1}
