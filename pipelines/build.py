"""Wires a job: source to conform to predict to sinks to commit."""

from dataclasses import replace
from typing import Any, Literal

import apache_beam as beam
import pyarrow as pa

from scoreline.transforms import Commit, CommitPlan, Conform, FileLayout, Predict, WriteParts
from scoreline.transforms.commit import FINISHED
from scoreline.transforms.outcome import DEAD_LETTERS
from scoreline.transforms.read_files import BATCHES, RECEIPTS, ReadSplits
from scoreline.transforms.receipts import Receipt
from scoreline.transforms.table_place import TablePlace
from scoreline.transforms.watch_workers import WatchWorkers
from scoreline.transforms.write_bigquery import WriteBigQueryParts

from .job import Job, PubSubSink
from .preflight import Prepared

Batches = beam.PCollection[pa.RecordBatch]
Receipts = beam.PCollection[Receipt]


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
    source = prepared.job.stored_source
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
    written, refused = _write_predictions(rows, prepared, plan)
    dead_letters = {
        "Decode": (read[DEAD_LETTERS], 0),
        "Conform": (conformed.dead_letters, 0),
        "Predict": (predicted.dead_letters, 0),
        **{f"Table{sink + 1}": (letters, sink) for sink, letters in refused.items()},
    }
    receipts = (
        read[RECEIPTS],
        *written,
        *(
            _write_dead_letters(letters, f"Write{step}DeadLetters", plan, sink)
            for step, (letters, sink) in dead_letters.items()
        ),
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


def _write_predictions(
    rows: Batches, prepared: Prepared, plan: CommitPlan
) -> tuple[list[Receipts], dict[int, Batches]]:
    """Writes to all places; gives their receipts, and the dead letters of those that have some."""
    written: list[Receipts] = []
    refused: dict[int, Batches] = {}
    labels = sink_labels(len(plan.places))
    for number, (place, label) in enumerate(zip(plan.places, labels, strict=True)):
        sink = prepared.job.sinks[number]
        assert not isinstance(sink, PubSubSink)  # the job was checked
        if isinstance(place, FileLayout):
            staging, extension = place.staging(plan.run_id), place.extension
            write = WriteParts(staging, "predicted", sink.keep, sink.row_id, extension, number)
            written.append(rows | label >> write)
        else:
            sent = rows | label >> _send(place, plan, "predicted", number, sink.keep, sink.row_id)
            written.append(sent.receipts)
            refused[number] = sent.dead_letters
    return written, refused


def _write_dead_letters(dead_letters: Batches, label: str, plan: CommitPlan, sink: int) -> Receipts:
    """Writes them to their one place; `sink` is the one that has refused them."""
    place = plan.dead_letters
    if isinstance(place, FileLayout):
        write = WriteParts(place.staging(plan.run_id), "dead_lettered", sink=sink)
        receipts: Receipts = dead_letters | label >> write
    else:  # one that the table refuses fails the bundle: nobody is left to take it
        receipts = (dead_letters | label >> _send(place, plan, "dead_lettered", sink)).receipts
    return receipts


def _send(
    place: TablePlace,
    plan: CommitPlan,
    kind: Literal["predicted", "dead_lettered"],
    sink: int,
    keep: tuple[str, ...] | None = None,
    row_id: bool = False,
) -> WriteBigQueryParts:
    return WriteBigQueryParts(place.written, keep, row_id, kind=kind, run_id=plan.run_id, sink=sink)


def sink_labels(count: int) -> list[str]:
    """Step labels: stable, whatever the sinks are."""
    return ["WritePredictions", *(f"WritePredictions{number}" for number in range(2, count + 1))]
