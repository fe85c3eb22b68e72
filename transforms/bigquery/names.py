"""The names of tables: `project.dataset.table`, as the API wants them, and those that we made."""

import re
from dataclasses import dataclass

URI_SCHEME = "bq://"

# A project of an organisation's domain has a colon and dots: example.com:sales.
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z]([a-z0-9-]*[a-z0-9])?")
_DATASET = re.compile(r"\w{1,1024}", re.ASCII)
# Letters, marks, numbers, connectors, dashes and spaces, of any script; a `$` would name a
# partition, a `*` many tables, a backtick would end a quoted name.
_TABLE = re.compile(r"[\w -]{1,1024}")
_PREFIX = "scoreline_tmp_"


@dataclass(frozen=True)
class TableName:
    """The full name of a table.

    Raises:
        ValueError: a part is none that BigQuery takes.
    """

    project: str
    dataset: str
    table: str

    def __post_init__(self) -> None:
        for part, pattern in (("project", _PROJECT), ("dataset", _DATASET), ("table", _TABLE)):
            if not pattern.fullmatch(getattr(self, part)):
                raise ValueError(
                    f"{getattr(self, part)!r} in {self} cannot name a {part} of BigQuery: "
                    f"expected {_EXPECTED[part]}"
                )

    @classmethod
    def parse(cls, text: str) -> "TableName":
        """Reads `project.dataset.table`, with or without `bq://`.

        Raises:
            ValueError: it is not that.

        >>> TableName.parse("bq://p.sales.orders")
        TableName(project='p', dataset='sales', table='orders')
        """
        parts = text.removeprefix(URI_SCHEME).rsplit(".", 2)
        if len(parts) != 3:
            raise ValueError(f"expected a table as project.dataset.table, got {text!r}")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"

    @property
    def path(self) -> str:
        """As the Storage API names it: `projects/P/datasets/D/tables/T`."""
        return f"projects/{self.project}/datasets/{self.dataset}/tables/{self.table}"

    @property
    def uri(self) -> str:
        """As a command line names it: `bq://P.D.T`."""
        return f"{URI_SCHEME}{self}"

    @property
    def sql(self) -> str:
        """As a query names it, in backticks."""
        return f"`{self}`"

    def sibling(self, table: str) -> "TableName":
        """Another table of the same dataset."""
        return TableName(self.project, self.dataset, table)


_EXPECTED = {
    "project": "lower-case letters, digits and dashes",
    "dataset": "letters, digits and underscores",
    "table": "letters, digits, underscores, dashes and spaces",
}


def temporary_table(target: TableName, run_id: str, number: int) -> TableName:
    """The name of a table that a run makes for itself, and may delete, beside another table.

    >>> str(temporary_table(TableName.parse("p.ml.scores"), "20240131-0a1b", 0))
    'p.ml.scoreline_tmp_20240131_0a1b_0'
    """
    return target.sibling(f"{_run_prefix(run_id)}{number}")


def is_temporary_of(table: TableName, run_id: str) -> bool:
    """Whether a table is one that this run made for itself.

    >>> mine = TableName.parse("p.ml.scoreline_tmp_20240131_0a1b_0")
    >>> is_temporary_of(mine, "20240131-0a1b"), is_temporary_of(mine, "20240131-0a1")
    (True, False)
    """
    rest = table.table.removeprefix(_run_prefix(run_id))
    return bool(run_id) and table.table.startswith(_run_prefix(run_id)) and rest.isdecimal()


def _run_prefix(run_id: str) -> str:
    return f"{_PREFIX}{re.sub('[^A-Za-z0-9]', '_', run_id)}_"
