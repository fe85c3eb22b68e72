"""The tables that a job writes to: checked before it starts, made when it does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import pyarrow as pa

from scoreline.transforms.bigquery.credentials import check_emulators
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName, temporary_table
from scoreline.transforms.bigquery.table_fit import new_columns
from scoreline.transforms.bigquery.tables import (
    add_columns,
    check_new,
    create,
    create_staging,
    delete_temporary,
    describe,
)
from scoreline.transforms.commit import INTENT
from scoreline.transforms.dead_letters import DEAD_LETTER_SCHEMA
from scoreline.transforms.storage import exists, join

from .dataflow_place import Place
from .errors import UsageError
from .job import Job
from .job_bigquery import BigQuerySink, CreateSpec
from .places import dead_letters_table


@dataclass(frozen=True)
class Target:
    """A table that a job writes to, as it was found.

    Attributes:
        table: its name.
        schema: of what is written.
        is_new: whether it has to be made.
        new_columns: those that the job adds.
        create: how it is made.
        allow: whether columns may be added.
        number: of the sink whose rows replace what it holds; None if rows are added.
    """

    table: TableName
    schema: pa.Schema
    is_new: bool
    new_columns: tuple[str, ...] = ()
    create: CreateSpec = field(default_factory=CreateSpec)
    allow: bool = False
    number: int | None = None


def find_targets(job: Job, schemas: Sequence[pa.Schema]) -> tuple[Target, ...]:
    """Looks at every table that a job writes to; makes none.

    Args:
        job: as the user gave it.
        schemas: of the predictions, for each sink; a type that is not known is null.

    Raises:
        UsageError: a table cannot take the rows, cannot be made, or may not be seen.
    """
    targets = []
    for number, (sink, schema) in enumerate(zip(job.sinks, schemas, strict=True)):
        if isinstance(sink, BigQuerySink):
            with asked(f"--output {sink.path}"):
                check_emulators()
                targets.append(_sink_target(sink, schema, number))
    rejected = dead_letters_table(job)
    if rejected is not None:
        with asked(f"--dead-letters {rejected.output}"):
            check_emulators()
            targets.append(_target(rejected.table, DEAD_LETTER_SCHEMA, CreateSpec(), allow=False))
    return tuple(targets)


@contextmanager
def asked(flag: str) -> Iterator[None]:
    """Says which part of a job BigQuery, or what it found, is about.

    Raises:
        UsageError: the part does not fit, or BigQuery refuses it.
    """
    try:
        yield
    except (BigQueryError, ValueError) as error:
        raise UsageError(f"{flag}: {error}") from None


def _sink_target(sink: BigQuerySink, schema: pa.Schema, number: int) -> Target:
    target = _target(TableName.parse(sink.table), schema, sink.create, allow=sink.allow_new_columns)
    return target if sink.write == "append" else replace(target, number=number)


def _target(table: TableName, schema: pa.Schema, create: CreateSpec, *, allow: bool) -> Target:
    found = describe(table)
    if found is None:
        _check_types(table, schema)
        check_new(table, schema, create.partition_by, create.cluster_by)
        return Target(table, schema, True, (), create, allow)
    if found.kind != "TABLE":
        raise ValueError(f"it is a {found.kind.lower().replace('_', ' ')}; expected a table")
    are_ours = schema is DEAD_LETTER_SCHEMA
    fit = new_columns(table, found.fields, schema, allow=allow, are_ours=are_ours)
    added = [field.name for field in fit]
    _check_types(table, pa.schema([schema.field(name) for name in added]))
    return Target(table, schema, False, tuple(added), create, allow)


def _check_types(table: TableName, schema: pa.Schema) -> None:
    """Of columns that have to be made: where the model took no made-up row, nobody knows them."""
    unknown = [field.name for field in schema if pa.types.is_null(field.type)]
    if unknown:
        raise ValueError(
            f"only real rows can tell the types of the columns {unknown}, and {table} has no such "
            "columns yet: make the table, with them, before the first run, or leave those of the "
            "input out (--keep)"
        )


class TableClaim:
    """The tables of a run: made when it has claimed its outputs, the temporary ones removed.

    Args:
        targets: what the run writes to.
        run_id: of the run.
        run_folder: of the run: where an intent says that temporary tables are still needed.
        result: the table that the run reads the result of its query from, if it has one.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        run_id: str,
        run_folder: str,
        result: TableName | None = None,
    ):
        self._result = result
        self._targets = targets
        self._run_id = run_id
        self._run_folder = run_folder

    def take(self) -> None:
        """Makes the tables and columns that are missing, and those in which rows are gathered.

        Raises:
            UsageError: BigQuery refuses it.
        """
        for target in self._targets:
            with asked(target.table.uri):
                self._make(target)

    def hand_over(self, place: Place) -> None:
        """The tables are there, for whatever runs."""

    def release(self) -> None:
        """The commit has removed what was temporary."""

    def undo(self) -> str:
        """Removes temporary tables, unless the run is to be rolled forward; no other is removed."""
        if self._result is not None:  # its reader removes it, unless a signal ends the process
            self._remove(self._result)
        if exists(join(self._run_folder, INTENT)):
            return "its rows are being made final."
        for target in self._targets:
            if target.number is not None:
                self._remove(temporary_table(target.table, self._run_id, target.number))
        return "its temporary tables are removed."

    def _remove(self, table: TableName) -> None:
        with suppress(BigQueryError):  # it expires by itself
            delete_temporary(table, self._run_id)

    def _make(self, target: Target) -> None:
        if target.is_new and not _is_made(target):
            target = _found_after_all(target)
        if target.new_columns:
            add_columns(target.table, target.schema)
        if target.number is not None:
            create_staging(target.table, self._run_id, target.number)


def _is_made(target: Target) -> bool:
    """Makes a table; False if somebody else did since it was looked for."""
    return create(
        target.table,
        target.schema,
        partition_by=target.create.partition_by,
        cluster_by=target.create.cluster_by,
        expiration_days=target.create.expiration_days,
    )


def _found_after_all(target: Target) -> Target:
    """A table that another run has just made, which may not be one for these rows.

    So may this run have, if the answer was lost: then it fits.
    """
    found = _target(target.table, target.schema, target.create, allow=target.allow)
    if found.is_new:
        raise BigQueryError("it was made and deleted meanwhile. Start again.")
    return replace(found, number=target.number)
