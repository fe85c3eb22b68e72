"""Wires a job: source to conform to predict to sinks to commit."""

from dataclasses import replace
from typing import Any

import apache_beam as beam

from scoreline.transforms import Commit, CommitPlan, Conform, Predict, WriteParts
from scoreline.transforms.outcome import DEAD_LETTERS
from scoreline.transforms.read_files import BATCHES, RECEIPTS, ReadSplits
from scoreline.transforms.receipts import Receipt
from scoreline.transforms.watch_workers import WatchWorkers

from .job import FilesSink, Job
from .preflight import Prepared


def build(
    pipeline: beam.Pipeline,
    watch: WatchWorkers | None = None,
    *,
    prepared: Prepared,
    plan: CommitPlan,
) -> beam.PCollection[dict[str, Any]]:
    """Builds the whole job; gives the report, as a PCollection of one dict.

    Args:
        pipeline: an empty one.
        watch: of the workers, where they are other processes.
        prepared: the job.
        plan: what the commit step makes final.
    """
    source = prepared.job.files_source
    read = pipeline | "Read" >> ReadSplits(
        list(prepared.splits),
        prepared.columns,
        rename=source.rename,
        limit=source.limit,
        run_id=plan.run_id,
    )
    conformed = read[BATCHES] | "Conform" >> Conform(prepared.contract, plan.run_id)
    predicted = conformed.accepted | "Predict" >> Predict(prepared.handler, plan.run_id)
    # Beam sets the last steps up first: a worker says that it lives before it loads the model.
    rows = predicted.accepted if watch is None else predicted.accepted | "WatchWorkers" >> watch
    receipts = (
        read[RECEIPTS],
        *(
            rows | label >> _write_predictions(prepared, plan, number)
            for number, label in enumerate(sink_labels(len(plan.layouts)))
        ),
        read[DEAD_LETTERS] | "WriteDecodeDeadLetters" >> WriteParts(plan.staging, "dead_lettered"),
        conformed.dead_letters
        | "WriteConformDeadLetters" >> WriteParts(plan.staging, "dead_lettered"),
        predicted.dead_letters
        | "WritePredictDeadLetters" >> WriteParts(plan.staging, "dead_lettered"),
    )
    gathered = receipts | "AllReceipts" >> beam.Flatten()
    if prepared.job.has_variables:
        gathered = gathered | "HideVariables" >> beam.Map(_HideVariables(prepared.job))
    return gathered | "Commit" >> Commit(plan)


class _HideVariables:
    """Puts variables' names in the examples of dead letters: those stand in the report."""

    def __init__(self, job: Job):
        self._job = job

    def __call__(self, receipt: Receipt) -> Receipt:
        codes = tuple(
            (code, rows, self._job.hide(example)) for code, rows, example in receipt.codes
        )
        return replace(receipt, codes=codes)


def _write_predictions(prepared: Prepared, plan: CommitPlan, number: int) -> WriteParts:
    sink, layout = prepared.job.sinks[number], plan.layouts[number]
    assert isinstance(sink, FilesSink)  # the job was checked
    staging = layout.staging(plan.run_id)
    return WriteParts(staging, "predicted", sink.keep, sink.row_id, layout.extension, number)


def sink_labels(count: int) -> list[str]:
    """Step labels: stable, whatever the sinks are."""
    return ["WritePredictions", *(f"WritePredictions{number}" for number in range(2, count + 1))]
