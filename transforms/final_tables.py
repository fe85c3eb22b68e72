"""Makes the rows of a run visible in its tables, as its intent says: as often as it takes.

What was done is noted in the run folder, table by table. BigQuery would know it too, but not for
good: it forgets a stream some time after its commit, and that looks as if its rows were lost.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from .bigquery.names import TableName
from .bigquery.tables import (
    JobPlace,
    delete_temporary,
    describe,
    job_place,
    replace,
    was_replaced,
)
from .bigquery.write_streams import StreamsLostError, commit_streams, seal_streams
from .receipts import Receipt
from .storage import exists, join, remove, remove_scratch, write_json
from .table_place import TablePlace

LOST: Final = "lost.json"  # is there if a run's intent cannot be carried out, and says why

_COMMITTED: Final = "committed-{}.json"  # the streams of this number in the intent
_REPLACED: Final = "replaced-{}.json"


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


def replacement(place: TablePlace) -> dict[str, Any]:
    """What an intent says of rows that take the place of all others, and where the job runs.

    Raises:
        BigQueryError: the table in which the rows were gathered is gone.
    """
    assert place.staging is not None
    return place.replacement | asdict(job_place(place.staging))


def make_tables_final(intent: dict[str, Any], run_folder: str) -> None:
    """Replaces the rows of tables as the run was told to, then commits the streams of the others.

    All rows of a table become visible at once. What was done already is done: it is noted in the
    run folder, a stream that is committed stays so, and a table is replaced by a job that has the
    run's own id. Rows are added last: if a replacement is refused, none were, and the run can
    start anew.

    Args:
        intent: of the run.
        run_folder: where it is noted what was done, and why the rest cannot be done.

    Raises:
        StreamsLostError: streams or tables are gone: the run cannot be completed as it is.
        BigQueryError: BigQuery refuses it or does not answer; the next try may succeed.
    """
    if not intent.get("streams"):
        return
    remove(join(run_folder, LOST))
    remove_scratch(join(run_folder, LOST))
    try:
        _Tables(intent, run_folder).make_final()
    except StreamsLostError as error:
        with suppress(OSError):  # a full disk: what is lost matters more
            write_json(join(run_folder, LOST), {"message": str(error)})
        raise


class _Tables:
    """The tables of a run, and how far they are."""

    def __init__(self, intent: dict[str, Any], run_folder: str):
        self._run_id: str = intent["run_id"]
        self._rejected: str | None = intent["report"].get("dead_letters_output")
        self._streams: list[dict[str, Any]] = intent["streams"]
        self._replaces: list[dict[str, Any]] = intent.get("replaces", [])
        self._staging = {entry["staging"] for entry in self._replaces}
        self._folder = run_folder

    def make_final(self) -> None:
        for number, entry in enumerate(self._replaces):
            if not self._is_noted(_REPLACED, number):
                self._replace(entry)
                self._note(_REPLACED, number, entry["table"])
            delete_temporary(TableName.parse(entry["staging"]), self._run_id)
        for number, entry in enumerate(self._streams):
            if entry["table"] not in self._staging:
                self._commit(number, partial(self._what_is_missing, number))

    def _replace(self, entry: dict[str, Any]) -> None:
        target, staging = TableName.parse(entry["table"]), TableName.parse(entry["staging"])
        place = self._place(entry)
        # When it has succeeded, the staging table may be gone, and its streams with it.
        if was_replaced(target, entry["job_id"], place):
            return
        for number, streams in enumerate(self._streams):
            if streams["table"] == entry["staging"]:
                self._commit(number, partial(self._start_anew, entry))
        for table in (target, staging):
            if describe(table) is None:
                what_to_do = self._make_again if table == target else self._start_anew
                raise StreamsLostError(f"{table} is not there any more.\n{what_to_do(entry)}")
        replace(target, staging, entry["job_id"], place)

    def _place(self, entry: dict[str, Any]) -> JobPlace:
        """Where the job runs that replaces; an older intent leaves it to whoever completes it."""
        if "project" in entry:
            return JobPlace(entry["project"], entry["location"])
        for name in (entry["table"], entry["staging"]):
            if describe(TableName.parse(name)) is not None:
                return job_place(TableName.parse(name))
        said = f"{entry['table']} is not there any more."
        raise StreamsLostError(f"{said}\n{self._start_anew(entry)}")

    def _commit(self, number: int, what_to_do: Callable[[], str]) -> None:
        entry = self._streams[number]
        if not entry["names"] or self._is_noted(_COMMITTED, number):
            return
        try:
            commit_streams(TableName.parse(entry["table"]), entry["names"])
        except StreamsLostError as error:
            raise StreamsLostError(f"{error}\n{what_to_do()}") from error
        self._note(_COMMITTED, number, entry["table"])

    def _path(self, name: str, number: int) -> str:
        return join(self._folder, name.format(number))

    def _is_noted(self, name: str, number: int) -> bool:
        return exists(self._path(name, number))

    def _note(self, name: str, number: int, table: str) -> None:
        path = self._path(name, number)
        remove_scratch(path)
        write_json(path, {"table": table, "at": datetime.now(UTC).isoformat()})

    def _start_anew(self, entry: dict[str, Any]) -> str:
        """Of a table whose rows were to be replaced: another run replaces them just as well."""
        return (
            f"Run {self._run_id} has replaced no rows of {entry['table']}, and cannot be "
            f"completed. Remove {self._folder}, and the same command starts anew."
        )

    def _make_again(self, entry: dict[str, Any]) -> str:
        return (
            f"The rows of run {self._run_id} for it are in {entry['staging']}, for a week at most: "
            f"make {entry['table']} again, with the same columns, and the same command completes "
            f"the run. Or remove {self._folder}, and the same command starts anew."
        )

    def _what_is_missing(self, number: int) -> str:
        """Of a table that rows were to be added to: started anew, a run would add all again."""
        entry = self._streams[number]
        rows = f"{entry['rows']:,} rows" if "rows" in entry else "rows"
        lost = (
            f"BigQuery has lost the {rows} of run {self._run_id} for {entry['table']}, or it added "
            "them before and has forgotten that."
        )
        marker = self._path(_COMMITTED, number)
        there = [
            other["table"]
            for each, other in enumerate(self._streams)
            if other["table"] not in self._staging and self._is_noted(_COMMITTED, each)
        ]
        completes = (
            f"make an empty file {marker}: with it the same command completes the run, and leaves "
            f"{entry['table']} as it is."
        )
        if there:
            return (
                f"{lost} Do not start the run anew: its rows are in {', '.join(there)} already, "
                f"and would be there twice. {self._look(entry)} Either way {completes}"
            )
        return (
            f"{lost} {self._look(entry)} If they are not, remove {self._folder}, and the same "
            f"command starts anew. If they are, {completes}"
        )

    def _look(self, entry: dict[str, Any]) -> str:
        """How to tell whether a table has the rows of this run: only dead letters name theirs."""
        table = TableName.parse(entry["table"])
        if table.uri == self._rejected:
            return f'Look whether they are there: WHERE run_id = "{self._run_id}".'
        return (
            "Look whether they are there: by keys that you keep or by the number of rows, as no "
            "column of ours names the run."
        )
