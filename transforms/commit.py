"""Makes a run's output final: all of it or, until the same command is given again, none.

The intent is the point of no return. Before it, what was staged is debris; after it, whoever comes
next can do the rest, as often as it takes: every step of `roll_forward` may be repeated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa

from .final_files import dead_letter_moves, prediction_moves
from .final_tables import make_tables_final, replacement, seal
from .layout import FileLayout
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
from .table_place import TablePlace

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
        home: the layout that has the run folder, and the dead letters that are files.
        places: where predictions go, for each sink: files or a table.
        dead_letters: where rejected rows go: the files of `home` or a table.
        fingerprint: tells whether another command is the same job.
        removes: final files of an earlier run that this one was told to replace.
        planned: the rows of each split, by its number, where they are known.
        max_dead_letter_ratio: more dead letters per row read than this end the run with code 3.
        output_schemas: of the predictions of each output, for a run that predicts no row.
        report: entries for the report that are known before the run: job, runner, model, ...
            `started_at` (ISO 8601) is needed.
        planned_rows: of all splits together, where only that is known.
    """

    run_id: str
    home: FileLayout
    places: tuple[FileLayout | TablePlace, ...]
    dead_letters: FileLayout | TablePlace
    fingerprint: str
    removes: tuple[str, ...]
    planned: dict[int, int]
    max_dead_letter_ratio: float
    output_schemas: tuple[pa.Schema, ...]
    report: dict[str, Any] = field(default_factory=dict)
    planned_rows: int | None = None

    @property
    def layouts(self) -> tuple[FileLayout, ...]:
        """Everything in which files are staged; the first is `home`."""
        files = [place for place in self.places if isinstance(place, FileLayout)]
        return tuple(dict.fromkeys([self.home, *files]))

    @property
    def run_folder(self) -> str:
        """The folder of the run."""
        return self.home.run_folder(self.run_id)

    @property
    def staging(self) -> str:
        """The folder of the dead letters that have no final name yet."""
        return self.home.staging(self.run_id)


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
        account = add_up(receipts, plan.planned, len(plan.places), plan.planned_rows)
        tables = list(_tables(plan, receipts))
        for _, parts in tables:
            seal(parts)
        # Whoever rolls this forward may work in another folder.
        moves = [tuple(map(absolute, both)) for both in _moves(plan, receipts)]
        removes = set(map(absolute, plan.removes)) - {target for _, target in moves}
        intent = {
            "run_id": plan.run_id,
            "fingerprint": plan.fingerprint,
            "staging": [absolute(layout.staging(plan.run_id)) for layout in plan.layouts],
            "moves": moves,
            "removes": sorted(removes),
            "streams": [table.streams(parts) for table, parts in tables],
            "replaces": [replacement(table) for table, _ in tables if table.staging is not None],
            "report": _report(plan, account),
        }
        # A run that is being undone has taken the name: then nothing may become final any more.
        create_json(intent_path, intent)
    return roll_forward(plan.run_folder)


def roll_forward(run_folder: str) -> dict[str, Any]:
    """Does what a run's intent says, from wherever it stopped, and gives the report.

    Tables go first, as only they may refuse it for good. Then old files that are not replaced: a
    reader may miss rows for a moment, but never sees what an old and a new part of one name hold.
    """
    intent = read_json(join(run_folder, INTENT))
    for name in (INTENT, REPORT, SUCCESS):
        remove_scratch(join(run_folder, name))
    make_tables_final(intent, run_folder)
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


def _moves(plan: CommitPlan, receipts: list[Receipt]) -> Iterator[tuple[str, str]]:
    """(staged path, final path) of all that is files."""
    if isinstance(plan.dead_letters, FileLayout):
        yield from dead_letter_moves(plan.dead_letters, plan.run_id, _dead_letters(receipts))
    for sink, (place, schema) in enumerate(zip(plan.places, plan.output_schemas, strict=True)):
        if isinstance(place, FileLayout):
            parts = _predictions(receipts, sink)
            yield from prediction_moves(place, plan.run_id, parts, schema)


def _tables(
    plan: CommitPlan, receipts: list[Receipt]
) -> Iterator[tuple[TablePlace, list[Receipt]]]:
    """Each table that rows go to, with the receipts of its streams."""
    for sink, place in enumerate(plan.places):
        if isinstance(place, TablePlace):
            yield place, _predictions(receipts, sink)
    if isinstance(plan.dead_letters, TablePlace):
        yield plan.dead_letters, _dead_letters(receipts)


def _predictions(receipts: list[Receipt], sink: int) -> list[Receipt]:
    return [each for each in _parts(receipts, "predicted") if each.sink == sink]


def _dead_letters(receipts: list[Receipt]) -> list[Receipt]:
    return _parts(receipts, "dead_lettered")


def _parts(receipts: list[Receipt], kind: str) -> list[Receipt]:
    return [each for each in receipts if each.kind == kind and each.path is not None]


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
        "dead_letter_ratio": account.dead_letter_ratio,
        "max_dead_letter_ratio": plan.max_dead_letter_ratio,
        "unaccounted": account.unbalanced,
        "output": plan.places[0].output,
        "outputs": [place.output for place in plan.places],
        "dead_letters_output": plan.dead_letters.output
        if isinstance(plan.dead_letters, TablePlace)
        else plan.dead_letters.dead_letter_path,
        "run_folder": plan.run_folder,
        "exit_code": FINISHED if fine else LIMIT_BROKEN,
    }
