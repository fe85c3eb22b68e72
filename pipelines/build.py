"""Wires a job: source to conform to predict to sinks to commit."""

from typing import Any

import apache_beam as beam

from scoreline.transforms import Commit, CommitPlan, Conform, Predict, WriteParts
from scoreline.transforms.outcome import DEAD_LETTERS
from scoreline.transforms.read_files import BATCHES, RECEIPTS, ReadSplits

from .preflight import Prepared


def build(
    pipeline: beam.Pipeline, prepared: Prepared, plan: CommitPlan
) -> beam.PCollection[dict[str, Any]]:
    """Builds the whole job; gives the report, as a PCollection of one dict."""
    source = prepared.job.source
    read = pipeline | "Read" >> ReadSplits(
        list(prepared.splits),
        prepared.columns,
        rename=source.rename,
        limit=source.limit,
        run_id=plan.run_id,
    )
    conformed = read[BATCHES] | "Conform" >> Conform(prepared.contract, plan.run_id)
    predicted = conformed.accepted | "Predict" >> Predict(prepared.handler, plan.run_id)
    receipts = (
        read[RECEIPTS],
        *(
            predicted.accepted | label >> _write_predictions(prepared, plan, number)
            for number, label in enumerate(_sink_labels(len(plan.layouts)))
        ),
        read[DEAD_LETTERS] | "WriteDecodeDeadLetters" >> WriteParts(plan.staging, "dead_lettered"),
        conformed.dead_letters
        | "WriteConformDeadLetters" >> WriteParts(plan.staging, "dead_lettered"),
        predicted.dead_letters
        | "WritePredictDeadLetters" >> WriteParts(plan.staging, "dead_lettered"),
    )
    return receipts | "AllReceipts" >> beam.Flatten() | "Commit" >> Commit(plan)


def _write_predictions(prepared: Prepared, plan: CommitPlan, number: int) -> WriteParts:
    sink, layout = prepared.job.sinks[number], plan.layouts[number]
    staging = layout.staging(plan.run_id)
    return WriteParts(staging, "predicted", sink.keep, sink.row_id, layout.extension, number)


def _sink_labels(count: int) -> list[str]:
    """Step labels: stable, whatever the sinks are."""
    return ["WritePredictions", *(f"WritePredictions{number}" for number in range(2, count + 1))]
