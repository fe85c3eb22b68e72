"""Wires a job: source to conform to predict to sinks to commit."""

from typing import Any

import apache_beam as beam

from scoreline.transforms import Commit, CommitPlan, Conform, Predict, WriteParts
from scoreline.transforms.read_files import BATCHES, RECEIPTS, ReadSplits

from .preflight import Prepared


def build(
    pipeline: beam.Pipeline, prepared: Prepared, plan: CommitPlan
) -> beam.PCollection[dict[str, Any]]:
    """Builds the whole job; gives the report, as a PCollection of one dict."""
    sink = prepared.job.sinks[0]
    read = pipeline | "Read" >> ReadSplits(list(prepared.splits), prepared.columns)
    conformed = read[BATCHES] | "Conform" >> Conform(prepared.contract, plan.run_id)
    predicted = conformed.accepted | "Predict" >> Predict(prepared.handler, plan.run_id)
    receipts = (
        read[RECEIPTS],
        predicted.accepted
        | "WritePredictions" >> WriteParts(plan.staging, "predicted", sink.keep, sink.row_id),
        conformed.dead_letters
        | "WriteConformDeadLetters" >> WriteParts(plan.staging, "dead_lettered"),
        predicted.dead_letters
        | "WritePredictDeadLetters" >> WriteParts(plan.staging, "dead_lettered"),
    )
    return receipts | "AllReceipts" >> beam.Flatten() | "Commit" >> Commit(plan)
