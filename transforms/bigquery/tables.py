"""Tables: what they say of themselves, how they are made, replaced, and how ours are removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa
from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField

from .column_types import to_bigquery
from .credentials import charged_project
from .errors import BigQueryError, in_words
from .jobs import has_run, run_once
from .names import TableName, is_temporary_of, temporary_table
from .rest_client import CALL_SECS, RETRY, rest
from .table_fit import new_columns

_STAGING_DAYS: Final = 7.0  # longer than any run: what a killed one leaves is gone by itself
_MAX_CLUSTERING: Final = 4
_PARTITIONED_BY: Final = frozenset({"DATE", "DATETIME", "TIMESTAMP"})
_NOT_CLUSTERED_BY: Final = frozenset({"BYTES", "FLOAT", "JSON", "RECORD", "TIME"})
_MAX_ALTERATIONS: Final = 5  # of one table by several runs at once


@dataclass(frozen=True)
class FoundTable:
    """What a table says of itself.

    Attributes:
        name: of the table.
        kind: TABLE, VIEW, MATERIALIZED_VIEW, EXTERNAL, SNAPSHOT, ...
        fields: its columns.
        num_rows: without those that were streamed in a short while ago.
        num_bytes: of all columns, the same.
        is_buffered: whether rows were streamed in a short while ago.
        modified: when rows or columns changed last.
        location: of the data, such as EU.
        partition_by: the column, if any.
        cluster_by: the columns, if any.
        requires_filter: whether a query must name partitions.
    """

    name: TableName
    kind: str
    fields: tuple[SchemaField, ...]
    num_rows: int
    num_bytes: int
    is_buffered: bool
    modified: datetime | None
    location: str | None
    partition_by: str | None
    cluster_by: tuple[str, ...]
    requires_filter: bool

    @property
    def layout(self) -> str:
        """How it is laid out, for a person."""
        by = [f"partitioned by {self.partition_by}"] if self.partition_by else []
        by += [f"clustered by {', '.join(self.cluster_by)}"] if self.cluster_by else []
        return ", ".join(by)


def describe(name: TableName) -> FoundTable | None:
    """Asks for a table; None if there is none.

    Raises:
        BigQueryError: it may not be seen, or BigQuery does not answer.
    """
    try:
        with in_words("look at", name):
            return _found(name, _get(name))
    except BigQueryError as error:
        if isinstance(error.__cause__, NotFound):
            return None
        raise


def check_new(
    name: TableName,
    schema: pa.Schema,
    partition_by: str | None = None,
    cluster_by: Sequence[str] = (),
) -> None:
    """Checks that a table can be made, and makes nothing.

    Raises:
        BigQueryError: its dataset is not there, or may not be seen.
        ValueError: a column cannot be stored, or the table cannot be laid out by it.
    """
    _check_layout({field.name: field for field in to_bigquery(schema)}, partition_by, cluster_by)
    check_dataset(name)


def check_dataset(name: TableName) -> None:
    """Checks that the dataset of a table is there.

    Raises:
        BigQueryError: it is not there, or may not be seen.
    """
    dataset = f"{name.project}.{name.dataset}"
    with in_words("look at", f"the dataset {dataset}"):
        rest().get_dataset(dataset, retry=RETRY, timeout=CALL_SECS)


def create(
    name: TableName,
    schema: pa.Schema,
    *,
    partition_by: str | None = None,
    cluster_by: Sequence[str] = (),
    expiration_days: float | None = None,
) -> bool:
    """Makes a table for batches of a schema, unless there is one of that name.

    Another run may have made that one, with other columns: it is for the caller to look.

    Args:
        name: of the table; its dataset must be there.
        schema: of the batches.
        partition_by: a column of dates or times; one partition a day.
        cluster_by: at most four columns.
        expiration_days: how long a partition is kept after its day; of a table without partitions,
            how long the whole table is kept from now on.

    Returns:
        Whether it was made; False if there was one.

    Raises:
        BigQueryError: it may not be made.
        ValueError: a column cannot be stored, or the table cannot be laid out by it.
    """
    fields = to_bigquery(schema)
    _check_layout({field.name: field for field in fields}, partition_by, cluster_by)
    table = bigquery.Table(str(name), schema=fields)
    if partition_by:
        table.time_partitioning = bigquery.TimePartitioning(
            field=partition_by,
            expiration_ms=None if expiration_days is None else int(expiration_days * 86_400_000),
        )
    elif expiration_days is not None:
        table.expires = datetime.now(UTC) + timedelta(days=expiration_days)
    if cluster_by:
        table.clustering_fields = list(cluster_by)
    return _create(table, name)


def add_columns(name: TableName, schema: pa.Schema) -> None:
    """Adds the columns of a schema that a table lacks; another run may add the same meanwhile.

    Raises:
        TableMismatchError: the table differs in another way.
        BigQueryError: it may not be changed.
    """
    for _ in range(_MAX_ALTERATIONS):
        with in_words("alter", name):
            table = _get(name)
            added = new_columns(name, table.schema, schema, allow=True)
            if not added:
                return
            table.schema = [*table.schema, *added]
            try:
                # The table's etag goes with it: it is refused if somebody changed it meanwhile.
                rest().update_table(table, ["schema"], retry=RETRY, timeout=CALL_SECS)
            except PreconditionFailed:
                continue
            return
    raise BigQueryError(
        f"cannot alter {name}: it changed {_MAX_ALTERATIONS} times meanwhile. Start again."
    )


def create_staging(target: TableName, run_id: str, number: int) -> TableName:
    """Makes an empty table like another one, beside it, for one run; it goes by itself in a week.

    Raises:
        BigQueryError: the other one is not there or cannot be replaced, or none may be made.
    """
    staging = temporary_table(target, run_id, number)
    with in_words("look at", target):
        like = _get(target)
    if like.require_partition_filter:
        raise BigQueryError(
            f"cannot replace {target}: it demands a filter of every statement "
            "(require_partition_filter). Append to it, or take the demand off."
        )
    table = bigquery.Table(str(staging), schema=like.schema)
    table.time_partitioning = like.time_partitioning
    table.range_partitioning = like.range_partitioning
    table.clustering_fields = like.clustering_fields
    table.expires = datetime.now(UTC) + timedelta(days=_STAGING_DAYS)
    table.description = f"Made by scoreline for its run {run_id}, which replaces {target} with it."
    _create(table, staging)
    return staging


@dataclass(frozen=True)
class JobPlace:
    """Where a job runs: its name is its own there, and nobody finds it elsewhere.

    Attributes:
        project: the one that is charged; whoever completes a run may be charged to another.
        location: of the tables, such as EU.
    """

    project: str
    location: str | None


def job_place(table: TableName) -> JobPlace:
    """Where a job of this process would run that changes a table.

    Raises:
        BigQueryError: the table is not there, or may not be seen.
    """
    with in_words("look at", table):
        return JobPlace(charged_project(table.project), _get(table).location)


def replace(target: TableName, staging: TableName, job_id: str, place: JobPlace) -> None:
    """Replaces all rows of a table by those of another one, at once or not at all.

    It is one statement, so the table keeps its columns, descriptions and rights, and a reader sees
    the old rows or the new ones. BigQuery charges it for the bytes of both tables. A copy job would
    be free, but rows that were streamed in are missing from it for up to 90 minutes; and TRUNCATE,
    unlike MERGE, cannot remove rows that the Storage Write API wrote in the last 30
    (https://cloud.google.com/bigquery/docs/data-manipulation-language#limitations, 2026-11).

    Args:
        target: keeps its name and columns. A column that it was given since, which `staging`
            lacks, is null in the new rows.
        staging: has the columns that the target had.
        job_id: names this replacement: it happens once, however often it is asked for.
        place: where its job runs.

    Raises:
        BigQueryError: it was refused; nothing was changed.
    """
    with in_words("replace", target):
        names = [f"`{field.name}`" for field in _get(staging).schema]
        listed = ", ".join(names)
        statement = (
            f"MERGE INTO {target.sql} USING {staging.sql} ON FALSE\n"
            f"WHEN NOT MATCHED THEN INSERT ({listed}) VALUES ({listed})\n"
            "WHEN NOT MATCHED BY SOURCE THEN DELETE"
        )
        run_once(statement, job_id, target.project, place.location, charged=place.project)


def was_replaced(target: TableName, job_id: str, place: JobPlace) -> bool:
    """Whether `replace` has happened under this name; both tables may be gone since.

    Raises:
        BigQueryError: the jobs of its place may not be seen.
    """
    with in_words("look at", target):
        return has_run(job_id, place.project, place.location)


def delete_temporary(table: TableName, run_id: str) -> None:
    """Deletes a table that a run made for itself; one that is gone already is fine.

    Raises:
        ValueError: it is not one that this run made. No other table is ever deleted.
        BigQueryError: it may not be deleted.
    """
    if not is_temporary_of(table, run_id):
        raise ValueError(f"{table} was not made by the run {run_id}, and is not deleted")
    with in_words("delete", table):
        rest().delete_table(str(table), retry=RETRY, timeout=CALL_SECS, not_found_ok=True)


def _get(name: TableName) -> bigquery.Table:
    return rest().get_table(str(name), retry=RETRY, timeout=CALL_SECS)


def _create(table: bigquery.Table, name: TableName) -> bool:
    with in_words("create", name):
        try:
            rest().create_table(table, retry=RETRY, timeout=CALL_SECS)
        except Conflict:  # made by another run, or by this one, whose answer was lost
            return False
        return True


def _found(name: TableName, table: bigquery.Table) -> FoundTable:
    partitioning = table.time_partitioning or table.range_partitioning
    return FoundTable(
        name=name,
        kind=table.table_type or "TABLE",
        fields=tuple(table.schema),
        num_rows=table.num_rows or 0,
        num_bytes=table.num_bytes or 0,
        is_buffered=table.streaming_buffer is not None,
        modified=table.modified,
        location=table.location,
        partition_by=(partitioning.field or "_PARTITIONTIME") if partitioning else None,
        cluster_by=tuple(table.clustering_fields or ()),
        requires_filter=bool(table.require_partition_filter),
    )


def _check_layout(
    fields: dict[str, SchemaField], partition_by: str | None, cluster_by: Sequence[str]
) -> None:
    for column in [*([partition_by] if partition_by else []), *cluster_by]:
        if column not in fields:
            raise ValueError(f"no column {column!r} to lay the table out by: it has {list(fields)}")
    if partition_by and (
        fields[partition_by].field_type not in _PARTITIONED_BY
        or fields[partition_by].mode == "REPEATED"
    ):
        raise ValueError(
            f"a table cannot be partitioned by {partition_by!r}, which is of the type "
            f"{fields[partition_by].field_type}: expected one of {sorted(_PARTITIONED_BY)}"
        )
    if len(cluster_by) > _MAX_CLUSTERING:
        raise ValueError(
            f"a table is clustered by {_MAX_CLUSTERING} columns at most, got {list(cluster_by)}"
        )
    for column in cluster_by:
        if fields[column].field_type in _NOT_CLUSTERED_BY or fields[column].mode == "REPEATED":
            raise ValueError(
                f"a table cannot be clustered by {column!r}, which is of the type "
                f"{fields[column].field_type} {fields[column].mode}"
            )
