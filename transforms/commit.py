"""Makes a run's output final: all of it or, until the same command is given again, none.

The intent is the point of no return. Before it, what was staged is debris; after it, whoever comes
next can do the rest, as often as it takes: every step of `roll_forward` may be repeated.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa

from .layout import EXTENSION, FileLayout
from .merge_parts import merge_parts
from .part_writer import PartWriter
from .receipts import Account, GatherReceipts, Receipt, add_up
from .storage import (
    absolute,
    create_json,
    exists,
    join,
    move,
    read_json,
    remove,
    remove_folder,
    remove_scratch,
    write_json,
    write_text,
)

INTENT = "commit.json"
REPORT = "report.json"
SUCCESS = "_SUCCESS"
HEARTBEAT = "heartbeat.json"
SUBMISSION = "submission.json"  # what is known of a job that was sent to a service

FINISHED = 0
LIMIT_BROKEN = 3


@dataclass(frozen=True)
class CommitPlan:
    """What the commit step must know; made by the launcher, before the pipeline is built.

    Attributes:
        run_id: the run's name.
        layouts: where things go, for each output; the first has the dead letters and the report.
        fingerprint: tells whether another command is the same job.
        removes: final files of an earlier run that this one was told to replace.
        planned: the rows of each split, by its number, where they are known.
        max_dead_letter_ratio: more dead letters per row read than this end the run with code 3.
        output_schemas: of the predictions of each output, for a run that predicts no row.
        report: entries for the report that are known before the run: job, runner, model, ...
            `started_at` (ISO 8601) is needed.
    """

    run_id: str
    layouts: tuple[FileLayout, ...]
    fingerprint: str
    removes: tuple[str, ...]
    planned: dict[int, int]
    max_dead_letter_ratio: float
    output_schemas: tuple[pa.Schema, ...]
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def layout(self) -> FileLayout:
        """Of the first output, which has the dead letters and the report."""
        return self.layouts[0]

    @property
    def run_folder(self) -> str:
        """The folder of the run."""
        return self.layout.run_folder(self.run_id)

    @property
    def staging(self) -> str:
        """The folder of the parts that have no final name yet."""
        return self.layout.staging(self.run_id)


class Commit(beam.PTransform[beam.PCollection[Receipt], beam.PCollection[dict[str, Any]]]):
    """Gathers all receipts of a run in one place, checks them, and makes the output final.

    It gives the report, as one dict. Every split gives a receipt, so a run that reads no row
    commits too.
    """

    def __init__(self, plan: CommitPlan):
        super().__init__()
        self._plan = plan

    def expand(self, receipts: beam.PCollection[Receipt]) -> beam.PCollection[dict[str, Any]]:
        """One group of all receipts."""
        return (
            receipts
            | "Gather" >> GatherReceipts()
            | "MakeFinal" >> beam.ParDo(_CommitFn(self._plan))
        )


class _CommitFn(beam.DoFn):
    def __init__(self, plan: CommitPlan):
        self._plan = plan

    def process(self, receipts: list[Receipt]) -> Iterator[dict[str, Any]]:
        yield commit(self._plan, receipts)


def commit(plan: CommitPlan, receipts: list[Receipt]) -> dict[str, Any]:
    """Writes the intent, makes everything final, and gives the report."""
    intent_path = join(plan.run_folder, INTENT)
    if not exists(intent_path):  # a retried bundle finds its own
        account = add_up(receipts, plan.planned, len(plan.layouts))
        parts = _complete_parts(plan, receipts)
        # Whoever rolls this forward may work in another folder.
        moves = [
            tuple(map(absolute, both))
            for sink, layout in enumerate(plan.layouts)
            for both in layout.moves(part for part in parts if part.sink == sink)
        ]
        removes = set(map(absolute, plan.removes)) - {target for _, target in moves}
        intent = {
            "run_id": plan.run_id,
            "fingerprint": plan.fingerprint,
            "staging": [absolute(layout.staging(plan.run_id)) for layout in plan.layouts],
            "moves": moves,
            "removes": sorted(removes),
            "report": _report(plan, account),
        }
        # A run that is being undone has taken the name: then nothing may become final any more.
        create_json(intent_path, intent)
    return roll_forward(plan.run_folder)


def roll_forward(run_folder: str) -> dict[str, Any]:
    """Does what a run's intent says, from wherever it stopped, and gives the report.

    Old files that are not replaced go first: a reader may miss rows for a moment, but never sees
    what an old and a new part of one name hold.
    """
    intent = read_json(join(run_folder, INTENT))
    for name in (INTENT, REPORT, SUCCESS):
        remove_scratch(join(run_folder, name))
    for path in intent["removes"]:
        remove(path)
    for source, target in intent["moves"]:
        move(source, target)
    for folder in intent["staging"]:
        remove_folder(folder)
    report: dict[str, Any] = intent["report"]
    write_json(join(run_folder, REPORT), report)
    if report["exit_code"] == FINISHED:
        write_text(join(run_folder, SUCCESS), "")
    return report


def is_closed(run_folder: str) -> bool:
    """Whether a run has ended: its report is there and, after a good end, its mark of success."""
    if not exists(join(run_folder, REPORT)):
        return False
    good = read_json(join(run_folder, REPORT))["exit_code"] == FINISHED
    return not good or exists(join(run_folder, SUCCESS))


def _complete_parts(plan: CommitPlan, receipts: list[Receipt]) -> list[Receipt]:
    """The receipts of parts: at least one of predictions; one of each kind that is one file.

    What is made here gets a name of its own each time: a worker that was given up may still be
    at it, and the intent names what one of them completed.
    """
    parts = [receipt for receipt in receipts if receipt.path is not None]
    dead = [part for part in parts if part.kind == "dead_lettered"]
    if len(dead) > 1 and plan.layout.dead_letter_path.endswith(EXTENSION):
        dead = [merge_parts(dead, _new_part(plan, "dead_lettered", EXTENSION))]
    predicted = [part for part in parts if part.kind == "predicted"]
    for sink in range(len(plan.layouts)):
        dead += _predictions(plan, sink, [part for part in predicted if part.sink == sink])
    return dead


def _predictions(plan: CommitPlan, sink: int, parts: list[Receipt]) -> list[Receipt]:
    layout = plan.layouts[sink]
    if not parts:
        path = _new_part(plan, "empty", layout.extension, sink)
        PartWriter(path, plan.output_schemas[sink]).close()
        return [Receipt("predicted", 0, 0, path, sink=sink)]
    if len(parts) > 1 and layout.is_one_file:
        return [merge_parts(parts, _new_part(plan, "predicted", layout.extension, sink))]
    return parts


def _new_part(plan: CommitPlan, name: str, extension: str, sink: int = 0) -> str:
    staging = plan.layouts[sink].staging(plan.run_id)
    return join(staging, f"{name}-{uuid.uuid4().hex}{extension}")


def _submission(plan: CommitPlan) -> dict[str, Any]:
    """Where the job runs, of one that was sent to a service: its page, above all."""
    path = join(plan.run_folder, SUBMISSION)
    if "submitted" not in plan.report or not exists(path):
        return {}
    found = read_json(path)
    return {"submitted": {name: found.get(name) for name in plan.report["submitted"]}}


def _report(plan: CommitPlan, account: Account) -> dict[str, Any]:
    started = datetime.fromisoformat(plan.report["started_at"])
    duration = (datetime.now(UTC) - started).total_seconds()
    within = account.dead_letter_ratio <= plan.max_dead_letter_ratio
    fine = within and not account.unbalanced
    return {
        "run_id": plan.run_id,
        **plan.report,
        **_submission(plan),
        "duration_secs": round(duration, 3),
        "rows": {
            "read": account.rows["read"],
            "predicted": account.rows["predicted"],
            "dead_lettered": account.rows["dead_lettered"],
            "filtered": 0,
            "deduplicated": 0,
        },
        "rows_per_sec": round(account.rows["read"] / duration) if duration > 0 else 0,
        "dead_letters": dict(account.codes.most_common()),
        "dead_letter_examples": account.examples,
        "max_dead_letter_ratio": plan.max_dead_letter_ratio,
        "unaccounted": account.unbalanced,
        "output": plan.layout.output,
        "outputs": [layout.output for layout in plan.layouts],
        "dead_letters_output": plan.layout.dead_letter_path,
        "run_folder": plan.run_folder,
        "exit_code": FINISHED if fine else LIMIT_BROKEN,
    }
