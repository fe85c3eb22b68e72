"""Wires a job: source to conform to predict to sinks to commit."""

from dataclasses import replace
from typing import Any

import apache_beam as beam

from scoreline.transforms import Commit, CommitPlan, Conform, Predict, WriteParts
from scoreline.transforms.commit import FINISHED
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
    on_dataflow: bool = False,
) -> beam.PCollection[dict[str, Any]]:
    """Builds the whole job; gives the report, as a PCollection of one dict.

    Args:
        pipeline: an empty one.
        watch: of the workers, where they are other processes.
        prepared: the job.
        plan: what the commit step makes final.
        on_dataflow: whether the runner knows resource hints, and nobody may wait for the report.
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
    predict = Predict(prepared.handler, plan.run_id)
    if on_dataflow:
        predict.with_resource_hints(**prepared.job.resources.hints)
    predicted = conformed.accepted | "Predict" >> predict
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
    report = gathered | "Commit" >> Commit(plan)
    return report | "HoldLimits" >> beam.Map(hold_limits) if on_dataflow else report


class LimitBrokenError(Exception):
    """A run has finished and its outputs are there, but it broke a limit: exit code 3."""


def hold_limits(report: dict[str, Any]) -> dict[str, Any]:
    """Fails a job whose report says that a limit was broken: nobody may have waited for it.

    Raises:
        LimitBrokenError: all is committed; this is for whoever watches the job.
    """
    if report["exit_code"] != FINISHED:
        rows = report["rows"]
        unaccounted = "; ".join(report["unaccounted"])
        raise LimitBrokenError(
            f"the outputs are there, but a limit was broken: {rows['dead_lettered']} dead letters "
            f"in {rows['read']} rows, of which {report['max_dead_letter_ratio']:.2%} may be"
            f"{f'; {unaccounted}' if unaccounted else ''}. See {report['run_folder']}/report.json"
        )
    return report


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
