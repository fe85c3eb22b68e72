"""A table of BigQuery as the place where a run's rows become visible."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .bigquery.names import TableName
from .receipts import Receipt


@dataclass(frozen=True)
class TablePlace:
    """Where rows of a run go that are for a table.

    Attributes:
        table: where they become visible.
        staging: the run's own table, in which they are gathered if they replace what `table`
            holds; None if they are added to it.
    """

    table: TableName
    staging: TableName | None = None

    @property
    def output(self) -> str:
        """How a person names it."""
        return self.table.uri

    @property
    def written(self) -> TableName:
        """The table that the rows are sent to."""
        return self.staging or self.table

    def streams(self, parts: Iterable[Receipt]) -> dict[str, Any]:
        """What an intent says of the streams that hold the rows: they are committed together.

        >>> place = TablePlace(TableName("p", "ml", "scores"))
        >>> place.streams([Receipt("predicted", 0, 5, "projects/p/.../streams/s")])
        {'table': 'p.ml.scores', 'names': ['projects/p/.../streams/s'], 'rows': 5}
        """
        rows: Counter[str] = Counter()
        for part in parts:
            if part.path is not None:
                rows[part.path] += part.rows
        return {"table": str(self.written), "names": sorted(rows), "rows": rows.total()}

    @property
    def replacement(self) -> dict[str, Any]:
        """What an intent says of rows that take the place of all others.

        The id of the job that does it is the run's, as that table's name is: it is done once, by
        whoever asks for the job where it first ran. So an intent says that too (`final_tables`).
        """
        assert self.staging is not None
        job_id = f"{self.staging.table}_replaces"
        return {"table": str(self.table), "staging": str(self.staging), "job_id": job_id}
