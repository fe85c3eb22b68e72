"""Makes the rows of a run visible in its tables, as its intent says: as often as it takes."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from grpc import StatusCode

from .bigquery.errors import BigQueryError, status_of
from .bigquery.names import TableName
from .bigquery.tables import delete_temporary, replace, was_replaced
from .bigquery.write_streams import StreamsLostError, commit_streams, seal_streams
from .receipts import Receipt


def seal(parts: Iterable[Receipt]) -> None:
    """Ends the streams that hold the rows of these receipts; no row can be added to them any more.

    That is done before the intent names them: whoever rolls it forward finds them complete. It is
    not done when a bundle ends, as BigQuery keeps a stream for a day, but one that has ended for
    four hours only.

    Raises:
        BigQueryError: a stream is gone, or does not hold the rows that its receipts say.
    """
    rows: Counter[str] = Counter()
    for part in parts:
        rows[str(part.path)] += part.rows
    if rows:
        seal_streams(rows)


def make_tables_final(intent: dict[str, Any], run_folder: str) -> None:
    """Commits the streams of a run and replaces what it was told to replace.

    All rows of a table become visible at once. What was done already is done: a stream that is
    committed stays so, and a table is replaced by a job that has the run's own id. When that has
    succeeded, the staging table may be gone, and its streams with it: so it is asked for first.

    Args:
        intent: of the run.
        run_folder: for the message that says what to do if it can never succeed.

    Raises:
        StreamsLostError: the streams or their table are gone: the run cannot be completed.
        BigQueryError: BigQuery refuses it or does not answer; the next try may succeed.
    """
    streams, replaces = intent.get("streams", ()), intent.get("replaces", ())
    replaced = set()
    for entry in replaces:
        if was_replaced(TableName.parse(entry["table"]), entry["job_id"]):
            replaced.add(entry["staging"])
    for entry in streams:
        if entry["names"] and entry["table"] not in replaced:
            _commit(TableName.parse(entry["table"]), entry["names"], run_folder)
    for entry in replaces:
        target, staging = TableName.parse(entry["table"]), TableName.parse(entry["staging"])
        if entry["staging"] not in replaced:
            replace(target, staging, entry["job_id"])
        delete_temporary(staging, intent["run_id"])


def _commit(table: TableName, names: list[str], run_folder: str) -> None:
    try:
        commit_streams(table, names)
    except BigQueryError as error:
        cause = error.__cause__
        is_gone = isinstance(cause, Exception) and status_of(cause) is StatusCode.NOT_FOUND
        if not isinstance(error, StreamsLostError) and not is_gone:
            raise
        raise StreamsLostError(
            f"{error}\nThe rows that this run had sent to {table} cannot be made visible any more. "
            f"Remove {run_folder}, and the same command starts anew."
        ) from error
