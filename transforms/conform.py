"""Checks every row against the model's contract; a row that violates it becomes a dead letter."""

from collections.abc import Iterator
from functools import lru_cache

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from scoreline.models.conformance import Violation, check_conformance
from scoreline.models.contract import Contract
from scoreline.models.reserved import CAST_PREFIX

from .dead_letters import Reasons, to_dead_letters
from .metrics import RowCounter
from .outcome import ACCEPTED, DEAD_LETTERS, Outcome, TaggedDeadLetters


def conform(
    batch: pa.RecordBatch, contract: Contract, run_id: str = ""
) -> tuple[pa.RecordBatch | None, pa.RecordBatch | None]:
    """Splits a batch into the rows that satisfy a contract and the dead letters of the others.

    Columns keep their types: a feature that had to be cast (text that spells a number, a decimal)
    is added as a reserved column that only `Predict` reads. Extra columns pass through.

    Returns:
        (rows that satisfy the contract, dead letters); None instead of an empty batch.

    Raises:
        ContractError: no row could satisfy it, as a column is missing or of another kind.

    >>> from scoreline.models import Contract, Feature
    >>> batch = pa.record_batch({"x": ["1.5", "many"]})
    >>> good, dead = conform(batch, Contract((Feature("x"),)))
    >>> good.column("x").to_pylist(), dead.column("error_message").to_pylist()
    (['1.5'], ["column 'x': 'many' is no number"])
    """
    _check_schema(batch.schema.remove_metadata(), contract)
    batch = _without_casts(batch)
    conformance = check_conformance(batch, contract)
    violations = conformance.violations
    dead = _dead_letters(batch, violations, run_id) if violations else None
    for name, column in conformance.casts.items():
        batch = batch.append_column(CAST_PREFIX + name, column)
    if len(violations) == batch.num_rows:
        return None, dead
    if violations:
        keep = np.ones(batch.num_rows, bool)
        keep[[violation.row for violation in violations]] = False
        batch = batch.filter(pa.array(keep))
    return batch, dead


@lru_cache(maxsize=32)  # all batches of a PCollection share one schema
def _check_schema(schema: pa.Schema, contract: Contract) -> None:
    contract.check(schema, "of this contract")


def _without_casts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Drops what an earlier `Conform`, for another model, has cast."""
    names = [name for name in batch.schema.names if not name.startswith(CAST_PREFIX)]
    return batch if len(names) == batch.num_columns else batch.select(names)


def _dead_letters(
    batch: pa.RecordBatch, violations: tuple[Violation, ...], run_id: str
) -> pa.RecordBatch:
    rejected = batch.take(pa.array([violation.row for violation in violations], pa.int64()))
    reasons = Reasons(
        "conform",
        codes=[violation.code for violation in violations],
        classes=["ContractViolation"] * len(violations),
        messages=[violation.message for violation in violations],
    )
    return to_dead_letters(rejected, reasons, run_id, model_version=None)


class Conform(beam.PTransform[beam.PCollection[pa.RecordBatch], Outcome]):
    """Turns batches into an `Outcome`: conforming batches, and dead letters.

    Args:
        contract: the model's, from `load_model(ref).contract`.
        run_id: stands on every dead letter.
    """

    def __init__(self, contract: Contract, run_id: str = ""):
        super().__init__()
        self._contract = contract
        self._run_id = run_id

    @no_annotations
    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> Outcome:
        """See `conform`."""
        check = beam.ParDo(_ConformFn(self._contract, self._run_id))
        outputs = batches | "Check" >> check.with_outputs(DEAD_LETTERS, main=ACCEPTED)
        return Outcome(outputs[ACCEPTED], outputs[DEAD_LETTERS])


class _ConformFn(beam.DoFn):
    def __init__(self, contract: Contract, run_id: str):
        self._contract = contract
        self._run_id = run_id
        self._dead_lettered = RowCounter("dead_lettered")

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | TaggedDeadLetters]:
        good, dead = conform(batch, self._contract, self._run_id)
        if dead is not None:
            self._dead_lettered.add(dead.num_rows)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead)
        if good is not None:
            yield good
