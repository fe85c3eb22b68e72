"""Scores batches: the one transform that calls Beam's RunInference."""

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.inference.base import RunInference
from apache_beam.typehints.decorators import no_annotations

from scoreline.models.errors import RowCountError
from scoreline.models.handler import ColumnarModelHandler
from scoreline.models.reserved import (
    ERROR_CLASS,
    ERROR_MESSAGE,
    REJECTED_KEY,
    VERSION_KEY,
    metadata_of,
)

from .dead_letters import Reasons, to_dead_letters
from .metrics import RowCounter
from .outcome import ACCEPTED, DEAD_LETTERS, Outcome, TaggedDeadLetters

_CODES = {RowCountError.__name__: "row_count"}  # by the class of the error


class Predict(beam.PTransform[beam.PCollection[pa.RecordBatch], Outcome]):
    """Turns batches into an `Outcome`: scored batches, and dead letters of the rows that failed.

    Scored rows keep their columns and order; the model's output columns and `model_version` stand
    behind them. Scored rows plus dead letters are always the rows that came in.

    Args:
        handler: how to load and call the model.
        run_id: stands on every dead letter.
    """

    def __init__(self, handler: ColumnarModelHandler, run_id: str = ""):
        super().__init__()
        self._handler = handler
        self._run_id = run_id

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> Outcome:
        """RunInference over whole batches, then scored and failed rows are told apart."""
        score = RunInference(self._handler).with_output_types(pa.RecordBatch)
        separate = beam.ParDo(_SeparateFn(self._run_id)).with_outputs(DEAD_LETTERS, main=ACCEPTED)
        outputs = batches | "Score" >> score | "Separate" >> separate
        return Outcome(outputs[ACCEPTED], outputs[DEAD_LETTERS])


class _SeparateFn(beam.DoFn):
    def __init__(self, run_id: str):
        self._run_id = run_id
        self._predicted = RowCounter("predicted")
        self._dead_lettered = RowCounter("dead_lettered")

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | TaggedDeadLetters]:
        if metadata_of(batch, REJECTED_KEY):
            self._dead_lettered.add(batch.num_rows)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, _dead_letters(batch, self._run_id))
        else:
            self._predicted.add(batch.num_rows)
            yield batch


def _dead_letters(rejected: pa.RecordBatch, run_id: str) -> pa.RecordBatch:
    classes = rejected.column(ERROR_CLASS).to_pylist()
    reasons = Reasons(
        "predict",
        codes=[_CODES.get(name, "model_error") for name in classes],
        classes=classes,
        messages=rejected.column(ERROR_MESSAGE).to_pylist(),
    )
    version = metadata_of(rejected, VERSION_KEY)
    return to_dead_letters(rejected, reasons, run_id, model_version=version)
