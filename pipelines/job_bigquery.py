"""The parts of a job that are about BigQuery: a table to read, tables to write to."""

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from .job_part import Part, Strings

# As transforms/bigquery/names.py has it, which imports Beam: not for a look at a job file.
DATASET = r"([a-z0-9.-]+:)?[a-z]([a-z0-9-]*[a-z0-9])?\.[A-Za-z0-9_]+"
TABLE = rf"{DATASET}\.[\w -]+"
_FORM = "PROJECT.DATASET.TABLE."

_MAX_DAYS = 365_000  # a day so far ahead still has a name, which not every number of days has
_MAX_CLUSTER_COLUMNS = 4  # cloud.google.com/bigquery/docs/clustered-tables (2026-11)


class BigQuerySource(Part):
    """The rows of a BigQuery table, or of what a query gives."""

    type: Literal["bigquery"]
    table: str | None = Field(None, pattern=f"^{TABLE}$", description=f"{_FORM} Or a query.")
    query: str | None = Field(
        None, min_length=1, description="GoogleSQL; its result is read instead of a table."
    )
    columns: Strings | None = Field(
        None, description="The columns to read, by their names in the table; all if left out."
    )
    row_filter: str | None = Field(
        None, min_length=1, description="Of a table: read only rows for which this SQL is true."
    )
    temp_dataset: str | None = Field(
        None,
        pattern=f"^{DATASET}$",
        description="PROJECT.DATASET for the result of a query; that of the first table that it "
        "reads if left out.",
    )
    rename: dict[str, str] = Field(
        default_factory=dict, description="New names: {name in the table: name from here on}."
    )
    limit: int | None = Field(None, ge=1, description="Read at most so many rows, then stop.")

    @property
    def path(self) -> tuple[str, ...]:
        """No files."""
        return ()

    @model_validator(mode="after")
    def _one_of_both(self) -> "BigQuerySource":
        if (self.table is None) == (self.query is None):
            came = "neither" if self.table is None else "both"
            raise ValueError(f"expected either table or query, got {came}")
        if self.query is not None and self.row_filter is not None:
            raise ValueError("row_filter is for a table; a query has its own WHERE")
        if self.table is not None and self.temp_dataset is not None:
            raise ValueError("temp_dataset is for a query; a table is read where it is")
        return self


class CreateSpec(Part):
    """How a table is made that is not there yet."""

    partition_by: str | None = Field(
        None, description="A column of dates or times: a partition for each day."
    )
    cluster_by: Strings = Field(
        (), max_length=_MAX_CLUSTER_COLUMNS, description="Columns to sort the stored rows by."
    )
    expiration_days: float | None = Field(
        None,
        gt=0,
        le=_MAX_DAYS,
        description="With partition_by each partition is deleted so many days after its day; "
        "without it the table, so many days after it was made.",
    )


class BigQuerySink(Part):
    """Predictions as rows of a BigQuery table."""

    type: Literal["bigquery"]
    table: str = Field(pattern=f"^{TABLE}$", description=_FORM)
    keep: Strings | None = Field(
        None, description="Input columns to write beside the predictions; all if left out."
    )
    row_id: bool = Field(
        False, description="Add a column row_id: which source, which row. A stream always has it."
    )
    write: Literal["append", "truncate"] = Field(
        "append", description="Whether rows are added, or replace all that the table holds."
    )
    create: CreateSpec = Field(
        default_factory=CreateSpec, description="For a table that is not there yet."
    )
    allow_new_columns: bool = Field(False, description="Add nullable columns that the table lacks.")

    @property
    def path(self) -> str:
        """How a person names it."""
        return f"bq://{self.table}"


class BigQueryDeadLetters(Part):
    """Rejected rows as rows of a BigQuery table of their own."""

    type: Literal["bigquery"]
    table: str | None = Field(
        None,
        pattern=f"^{TABLE}$",
        description=f"{_FORM} The first sink's table with _dead_letters behind it if left out.",
    )
    max_ratio: float = Field(
        0.05, ge=0, le=1, description="More dead letters per row end the run with code 3."
    )

    @property
    def path(self) -> None:
        """No files."""

    @property
    def uri(self) -> str:
        """How a person names it."""
        return f"bq://{self.table}"


def with_dead_letters_table(values: Any) -> Any:
    """Names the table of dead letters where nobody has named a place for them.

    They go beside the first sink that is a table, unless a sink before it is files: then they go to
    files there.

    >>> job = {"sinks": [{"type": "bigquery", "table": "p.ml.scores"}]}
    >>> with_dead_letters_table(job)["dead_letters"]
    {'type': 'bigquery', 'table': 'p.ml.scores_dead_letters'}
    """
    if not isinstance(values, dict):
        return values
    table, spec = _table_beside(values.get("sinks")), values.get("dead_letters") or {}
    if table is None or not isinstance(spec, dict):
        return values
    is_named = spec.get("path") is not None or spec.get("table") is not None
    if is_named or spec.get("type", "bigquery") != "bigquery":
        return values
    others = {key: value for key, value in spec.items() if key not in ("path", "table")}
    named = {"type": "bigquery", "table": f"{table}_dead_letters"}
    return {**values, "dead_letters": {**others, **named}}


def _table_beside(sinks: Any) -> str | None:
    """The table of the sink beside which things go, as far as the values are in order."""
    kinds = [sink for sink in sinks or () if isinstance(sink, dict)] if _is_list(sinks) else []
    first = next((sink for sink in kinds if sink.get("type") != "pubsub"), {})
    table = first.get("table")
    is_named = isinstance(table, str) and re.fullmatch(TABLE, table) is not None
    return table if first.get("type") == "bigquery" and is_named else None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
