"""Makes a run's output final: all of it or, until the same command is given again, none.

The intent is the point of no return. Before it, what was staged is debris; after it, whoever comes
next can do the rest, as often as it takes: every step of `roll_forward` may be repeated.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from .layout import EXTENSION, FileLayout
from .receipts import Account, GatherReceipts, Receipt, add_up
from .storage import (
    create,
    exists,
    join,
    move,
    read_json,
    remove,
    remove_folder,
    write_json,
    write_text,
)

INTENT = "commit.json"
REPORT = "report.json"
SUCCESS = "_SUCCESS"
HEARTBEAT = "heartbeat.json"

FINISHED = 0
LIMIT_BROKEN = 3


@dataclass(frozen=True)
class CommitPlan:
    """What the commit step must know; made by the launcher, before the pipeline is built.

    Attributes:
        run_id: the run's name.
        layout: where things go.
        fingerprint: tells whether another command is the same job.
        removes: final files of an earlier run that this one was told to replace.
        planned: the rows of each split, by its number.
        max_dead_letter_ratio: more dead letters per row read than this end the run with code 3.
        output_schema: of the predictions, for a run that predicts no row.
        report: entries for the report that are known before the run: job, runner, model, ...
            `started_at` (ISO 8601) is needed.
    """

    run_id: str
    layout: FileLayout
    fingerprint: str
    removes: tuple[str, ...]
    planned: dict[int, int]
    max_dead_letter_ratio: float
    output_schema: pa.Schema
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def run_folder(self) -> str:
        """The folder of the run."""
        return self.layout.run_folder(self.run_id)

    @property
    def staging(self) -> str:
        """The folder of the parts that have no final name yet."""
        return self.layout.staging(self.run_id)


class Commit(beam.PTransform):  # type: ignore[misc]
    """Gathers all receipts of a run in one place, checks them, and makes the output final.

    It gives the report, as one dict. Every split gives a receipt, so a run that reads no row
    commits too.
    """

    def __init__(self, plan: CommitPlan):
        super().__init__()
        self._plan = plan

    def expand(self, receipts: beam.PCollection) -> beam.PCollection:
        """One group of all receipts."""
        return (
            receipts
            | "Gather" >> GatherReceipts()
            | "MakeFinal" >> beam.ParDo(_CommitFn(self._plan))
        )


class _CommitFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, plan: CommitPlan):
        self._plan = plan

    def process(self, receipts: list[Receipt]) -> Iterator[dict[str, Any]]:
        yield commit(self._plan, receipts)


def commit(plan: CommitPlan, receipts: list[Receipt]) -> dict[str, Any]:
    """Writes the intent, makes everything final, and gives the report."""
    intent_path = join(plan.run_folder, INTENT)
    if not exists(intent_path):  # a retried bundle finds its own
        account = add_up(receipts, plan.planned)
        parts = _complete_parts(plan, receipts)
        moves = plan.layout.moves(parts)
        targets = {target for _, target in moves}
        intent = {
            "run_id": plan.run_id,
            "fingerprint": plan.fingerprint,
            "staging": plan.staging,
            "moves": moves,
            "removes": [path for path in plan.removes if path not in targets],
            "report": _report(plan, account),
        }
        write_json(intent_path, intent)
    return roll_forward(plan.run_folder)


def roll_forward(run_folder: str) -> dict[str, Any]:
    """Does what a run's intent says, from wherever it stopped, and gives the report."""
    intent = read_json(join(run_folder, INTENT))
    for path in intent["removes"]:
        remove(path)
    for source, target in intent["moves"]:
        move(source, target)
    remove_folder(intent["staging"])
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
    """The receipts of parts: at least one of predictions; dead letters in one file if so named."""
    parts = [receipt for receipt in receipts if receipt.path is not None]
    predicted = [part for part in parts if part.kind == "predicted"]
    dead = [part for part in parts if part.kind == "dead_lettered"]
    if not predicted:
        path = join(plan.staging, f"empty{EXTENSION}")
        _write_parquet(path, plan.output_schema, ())
        predicted = [Receipt("predicted", 0, 0, path)]
    if len(dead) > 1 and plan.layout.dead_letter_path.endswith(EXTENSION):
        dead = [_merge(dead, join(plan.staging, f"dead_letters{EXTENSION}"))]
    return predicted + dead


def _merge(parts: list[Receipt], path: str) -> Receipt:
    ordered = sorted(parts, key=lambda part: (part.split, part.codes))
    schema = pq.read_schema(_input(str(ordered[0].path)))
    _write_parquet(path, schema, (str(part.path) for part in ordered))
    return replace(ordered[0], path=path, rows=sum(part.rows for part in parts))


def _write_parquet(path: str, schema: pa.Schema, sources: Iterable[str]) -> None:
    with create(path) as file, pq.ParquetWriter(file, schema) as writer:
        for source in sources:
            with pq.ParquetFile(_input(source)) as parquet:
                for batch in parquet.iter_batches():
                    writer.write_batch(batch)


def _input(path: str) -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems.open(path, compression_type="uncompressed") if "://" in path else path


def _report(plan: CommitPlan, account: Account) -> dict[str, Any]:
    started = datetime.fromisoformat(plan.report["started_at"])
    duration = (datetime.now(UTC) - started).total_seconds()
    within = account.dead_letter_ratio <= plan.max_dead_letter_ratio
    fine = within and not account.unbalanced
    return {
        "run_id": plan.run_id,
        **plan.report,
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
        "dead_letters_output": plan.layout.dead_letter_path,
        "run_folder": plan.run_folder,
        "exit_code": FINISHED if fine else LIMIT_BROKEN,
    }
