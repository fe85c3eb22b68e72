"""A table or a query of BigQuery as input: what it says of itself, how its streams are read.

A run goes through three steps. `inspect_table` and `inspect_query` only ask, for a check. `open`
makes the read session, of a query after it has run into a table of its own; workers read the
streams. `close` removes the table of the query.
"""

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import grpc
import pyarrow as pa
from google.cloud import bigquery

from .bigquery.column_types import to_arrow
from .bigquery.credentials import charged_project
from .bigquery.errors import BigQueryError, in_words, status_of
from .bigquery.even_batches import even_out
from .bigquery.jobs import run_once
from .bigquery.names import TableName, temporary_table
from .bigquery.read_session import ReadSession, create_session, read_stream
from .bigquery.rest_client import CALL_SECS, RETRY, rest
from .bigquery.tables import FoundTable, check_dataset, delete_temporary, describe
from .identity import identify
from .parquet_files import check_columns

_STREAM_BYTES: Final = 64 * 2**20  # a stream becomes a split, which is as large for files
_MAX_STREAMS: Final = 1_000
_QUERY_HOURS: Final = 7 * 24  # how long the table of a query stays if nobody removes it
_QUERY_NUMBER: Final = 999_999  # of a query's table among those of its run: sinks count from 0
_VIEWS: Final = frozenset({"VIEW", "MATERIALIZED_VIEW"})


@dataclass(frozen=True)
class StreamRange:
    """The rows of one stream of a read session.

    Attributes:
        path: of the table.
        source: what the row identity calls this stream.
        stream: what the service calls it.
        session_schema: of the batches as they come, serialised.
        schema: of the batches as they are given.
        expires_at: the time until which it can be read, if the service says it.
    """

    path: str
    source: str
    stream: str
    session_schema: bytes
    schema: pa.Schema
    expires_at: float | None = None

    num_rows = None  # the service does not say

    def read(self, split: int, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
        """Reads the batches of the stream in order, with row identity.

        Raises:
            BigQueryError: the stream broke, and did not go on.
            ValueError: a column is not there.
        """
        check_columns(columns or (), self.schema.names, self.path)
        row = 0
        stream = read_stream(self.stream, self.session_schema, expires_at=self.expires_at)
        for batch in even_out(stream):
            typed = _typed(batch, self.schema)
            wanted = typed if columns is None else typed.select(list(columns))
            yield identify(wanted, self.source, row, split)
            row += batch.num_rows


@dataclass(frozen=True)
class OpenTable:
    """A snapshot of a table, to be read by any number of workers within six hours.

    Attributes:
        path: of the table.
        schema: of the columns that are read.
        num_rows: None if nobody knows before they are read.
        session: its streams.
        source: what the row identity calls the snapshot.
        num_bytes: of all streams, about.
        temporary: the table that a query ran into, and the run that made it.
    """

    path: str
    schema: pa.Schema
    num_rows: int | None
    session: ReadSession
    source: str
    num_bytes: int
    temporary: tuple[TableName, str] | None = None

    def ranges(self) -> Iterator[tuple[StreamRange, int]]:
        """The streams, each with its weight in bytes."""
        session = self.session
        weight = max(1, self.num_bytes // max(1, len(session.streams)))
        for number, stream in enumerate(session.streams):
            source, until = f"{self.source}/{number}", session.expires_at
            range_ = StreamRange(self.path, source, stream, session.schema, self.schema, until)
            yield range_, weight

    def close(self) -> None:
        """Removes the table that a query ran into; it may be called again.

        Raises:
            BigQueryError: it may not be deleted. It goes by itself in a week.
        """
        if self.temporary:
            delete_temporary(*self.temporary)


@dataclass(frozen=True)
class TableInfo:
    """What a table, or the result of a query, says of itself before it is read.

    Attributes:
        path: `bq://project.dataset.table`; `query` for a query.
        schema: all columns.
        num_rows: None if nobody knows before they are read.
        num_bytes: of all columns of a table; what a query scans; None if nobody knows.
        table: None for a query.
        row_filter: a condition in SQL, as it stands after WHERE.
        query: None for a table.
        scratch: the dataset that a query's temporary table is made in, as a name in it.
    """

    path: str
    schema: pa.Schema
    num_rows: int | None
    num_bytes: int | None
    table: TableName | None = None
    row_filter: str | None = None
    query: str | None = None
    scratch: TableName | None = None

    def result_table(self, run_id: str) -> TableName | None:
        """The table that a run makes for the result of a query; None for a table."""
        return self.scratch and temporary_table(self.scratch, run_id, _QUERY_NUMBER)

    def ranges(self) -> Iterator[tuple[StreamRange, int]]:
        """Fails: there is nothing to read before `open`."""
        raise RuntimeError(f"{self.path} has to be opened before it is read")

    def bytes_scanned(self, columns: tuple[str, ...] | None = None) -> int | None:
        """How many bytes it takes to read these columns of the rows that the filter lets through.

        Raises:
            BigQueryError: the filter is none.
        """
        if self.table is None:
            return self.num_bytes
        names = ", ".join(f"`{name}`" for name in columns or self.schema.names)
        where = f" WHERE (\n{self.row_filter}\n)" if self.row_filter else ""
        try:
            job = _dry_run(f"SELECT {names} FROM {self.table.sql}{where}", self.table.project)
        except BigQueryError as error:
            # Whoever may read a table may not be allowed to run queries, and needs not be.
            if _is_refused_as_wrong(error):
                raise
            return None
        return _bytes_of(job)

    def open(
        self,
        run_id: str,
        columns: tuple[str, ...] | None = None,
        max_streams: int | None = None,
    ) -> OpenTable:
        """Runs the query, if it is one, and takes a snapshot of the table.

        Args:
            run_id: of the run, whose name a query's table carries.
            columns: top-level columns to read; all if None.
            max_streams: at most so many streams; by the size of the table if None.

        Raises:
            BigQueryError: it may not be read, or the query failed.
            ValueError: a column is not there.
        """
        check_columns(columns or (), self.schema.names, self.path)
        names = list(columns or self.schema.names)
        schema = pa.schema([self.schema.field(name) for name in names])
        if self.query is None:
            assert self.table is not None
            return _snapshot(self.table, schema, self.row_filter, max_streams)
        made = self.result_table(run_id)
        assert made is not None
        _run_query(self.query, made)
        try:
            return _snapshot(made, schema, None, max_streams, run_id)
        except BaseException:
            with suppress(BigQueryError):  # the first error says more; it goes by itself, too
                delete_temporary(made, run_id)
            raise


def inspect_table(table: TableName, row_filter: str | None = None) -> TableInfo:
    """Asks for the columns and the size of a table.

    Args:
        table: its name.
        row_filter: a condition in SQL, as it stands after WHERE.

    Raises:
        BigQueryError: it is not there, may not be seen, or is a view.
        ValueError: a column has a type that cannot be read here.
    """
    found = _described(table)
    return TableInfo(
        path=table.uri,
        schema=to_arrow(found.fields),
        num_rows=_count(found, row_filter),
        num_bytes=found.num_bytes,
        table=table,
        row_filter=row_filter,
    )


def inspect_query(query: str, temp_dataset: str | None = None) -> TableInfo:
    """Has BigQuery plan a query, without running it.

    Args:
        query: one SELECT statement.
        temp_dataset: `project.dataset` in which the query's temporary table is made; by default
            that of the first table that the query reads.

    Raises:
        BigQueryError: the query is wrong, or may not be run; `temp_dataset` is not there.
        ValueError: no temporary table can be made for it; a column cannot be read here.
    """
    bare = query.strip().rstrip(";").rstrip()
    scratch = None if temp_dataset is None else _in_dataset(temp_dataset)
    job = _dry_run(bare, scratch.project if scratch else "")
    if job.statement_type not in (None, "SELECT"):
        raise ValueError(f"expected one SELECT statement, got a {job.statement_type}")
    if job.schema is None:
        raise BigQueryError("BigQuery does not say which columns the query gives")
    if scratch is not None:
        check_dataset(scratch)
    else:
        read = job.referenced_tables
        if not read:
            raise ValueError(
                "it reads no table, so that there is no dataset for its temporary table: name one "
                "with source.temp_dataset, as project.dataset"
            )
        scratch = TableName(read[0].project, read[0].dataset_id, "query")
    return TableInfo(
        path="query",
        schema=to_arrow(job.schema),
        num_rows=None,
        num_bytes=_bytes_of(job),
        query=bare,
        scratch=scratch,
    )


def _in_dataset(dataset: str) -> TableName:
    project, _, name = dataset.rpartition(".")
    if not project:
        raise ValueError(f"source.temp_dataset: expected project.dataset, got {dataset!r}")
    return TableName(project, name, "query")


def _described(table: TableName) -> FoundTable:
    found = describe(table)
    if found is None:
        raise BigQueryError(f"there is no table {table}. Check the project, dataset and name.")
    if found.kind in _VIEWS:
        raise BigQueryError(
            f"{table} is a {found.kind}, which only a query can read: give source.query "
            f'"SELECT * FROM {table.sql}" instead'
        )
    return found


def _count(found: FoundTable, row_filter: str | None) -> int | None:
    """How many rows are read, if the metadata says it; an emulator says 0 of every table."""
    return None if row_filter or found.is_buffered else found.num_rows or None


def _snapshot(
    table: TableName,
    schema: pa.Schema,
    row_filter: str | None,
    max_streams: int | None,
    run_id: str | None = None,
) -> OpenTable:
    before = _described(table)
    wanted = max(1, math.ceil(before.num_bytes / _STREAM_BYTES))
    taken_at = int(time.time() * 1000)
    session = create_session(
        table,
        schema.names,
        row_filter,
        max_streams=min(max_streams or wanted, _MAX_STREAMS),
    )
    after = _described(table)
    is_same = before.modified is not None and before.modified == after.modified
    counts = {_count(before, row_filter), _count(after, row_filter)}
    return OpenTable(
        path=table.uri,
        schema=schema,
        num_rows=counts.pop() if is_same and len(counts) == 1 else None,
        session=session,
        source=f"{table.uri}@{taken_at}",
        num_bytes=session.num_bytes or before.num_bytes,
        temporary=(table, run_id) if run_id else None,
    )


def _run_query(query: str, table: TableName) -> None:
    expiry = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {_QUERY_HOURS} HOUR)"
    statement = (
        f"CREATE TABLE {table.sql}\n"
        f"OPTIONS (expiration_timestamp = {expiry})\n"
        f"AS (\n{query}\n)"  # the query may end in a comment
    )
    with in_words("query", f"into {table}"):
        dataset = rest().get_dataset(
            f"{table.project}.{table.dataset}", retry=RETRY, timeout=CALL_SECS
        )
        run_once(statement, table.table, table.project, dataset.location)


def _dry_run(statement: str, project: str) -> bigquery.QueryJob:
    with in_words("query", "the input"):
        return rest().query(
            statement,
            bigquery.QueryJobConfig(dry_run=True, use_query_cache=False),
            project=charged_project(project) or None,
            retry=RETRY,
            timeout=CALL_SECS,
            job_retry=None,
        )


def _bytes_of(job: bigquery.QueryJob) -> int | None:
    scanned: int | None = job.total_bytes_processed
    return scanned


def _is_refused_as_wrong(error: BigQueryError) -> bool:
    cause = error.__cause__
    return isinstance(cause, Exception) and status_of(cause) == grpc.StatusCode.INVALID_ARGUMENT


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch as the schema has it: the service gives columns in the order of the table."""
    columns = [batch.column(name).cast(schema.field(name).type) for name in schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
