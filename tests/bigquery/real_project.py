"""Runs jobs of each kind in a project of yours, and says what the service itself does.

    python tests/bigquery/real_project.py --project my-project --location EU

It makes one dataset, whose name starts with scoreline_check_, writes some thousand rows to tables
in it, and removes it at the end (--keep leaves it there); tables in it expire after a day in any
case. It takes about two minutes and costs less than a cent. The account needs
roles/bigquery.dataOwner, roles/bigquery.jobUser and roles/bigquery.readSessionUser on the project;
credentials are looked for as docs/bigquery.md says. The exit code is 0 if all that was tried is as
it should be.
"""

import argparse
import contextlib
import io
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import joblib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.cloud import bigquery
from sklearn.linear_model import LogisticRegression

from scoreline.pipelines.cli import main as scoreline
from scoreline.transforms import commit
from scoreline.transforms.bigquery.column_types import to_bigquery
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.rest_client import rest
from scoreline.transforms.bigquery.tables import create_staging, delete_temporary
from scoreline.transforms.write_bigquery import WriteBigQueryStream

ROWS = 5_000
DAY_MILLIS = 86_400_000
CALL_SECS = 120.0


class Interrupted(BaseException):
    """What a crash is here."""


@dataclass
class Project:
    """A dataset in the project, and what was found so far.

    Attributes:
        dataset: `project.dataset`.
        found: (what was tried, how it went) of each.
    """

    dataset: str
    found: list[tuple[str, str]] = field(default_factory=list)

    @property
    def client(self) -> bigquery.Client:
        """The client that scoreline itself uses."""
        return rest()

    def try_out(self, what: str, attempt: Callable[["Project"], str | None]) -> None:
        """Tries something, and notes how it went."""
        started = time.monotonic()
        try:
            said = attempt(self) or "fine"
        except Exception as error:  # whatever it is: the other attempts may still tell something
            traceback.print_exc()
            said = f"FAILED: {error}"
        self.found.append((what, f"{said} ({time.monotonic() - started:.1f} s)"))
        print(f"{what}: {self.found[-1][1]}", flush=True)

    def table(self, name: str) -> str:
        """The full name of a table."""
        return f"{self.dataset}.{name}"

    def count(self, name: str, expression: str = "COUNT(*)") -> Any:
        """A number that a query finds in a table."""
        query = f"SELECT {expression} FROM `{self.table(name)}` t"
        (row,) = self.client.query_and_wait(query, wait_timeout=CALL_SECS)
        return row[0]

    def score(self, *flags: str, output: str, code: int = 0) -> str:
        """Scores the orders into a table or a folder; gives what was said."""
        words = ["score", "--model", "model.joblib", "--allow-pickle"]
        if "--keep" not in flags:
            words += ["--keep", "order_id"]
        if "--input" not in flags:
            words += ["--input", f"bq://{self.table('orders')}"]
        return run([*words, "--output", output, *flags], code)


def run(words: Sequence[str], code: int = 0) -> str:
    """Runs a command; fails if it ends with another code."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        ended = scoreline(list(words))
    expect(ended == code, f"ended with {ended}, expected {code}: {err.getvalue()}")
    return err.getvalue()


def expect(is_so: bool, otherwise: str) -> None:
    """Fails with what came if something is not as it should be."""
    if not is_so:
        raise AssertionError(otherwise)


def orders() -> pa.Table:
    """Rows of several types; the first one cannot be scored."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=ROWS)
    return pa.table(
        {
            "order_id": np.arange(ROWS),
            "a": pa.array([None, *a[1:]]),
            "b": rng.normal(size=ROWS),
            "at": pa.array(np.arange(ROWS) * 60_000_000, pa.timestamp("us", "UTC")),
            "tags": pa.array([["x", "y"]] * ROWS),
            "place": pa.array([{"city": "Delft", "no": 1}] * ROWS),
        }
    )


def prepare(project: Project) -> None:
    """Makes a model here, and the input there: files are loaded, as scoreline does not do."""
    frame = orders().slice(1).select(["a", "b"]).to_pandas()
    joblib.dump(LogisticRegression().fit(frame, np.where(frame.a > 0, "yes", "no")), "model.joblib")
    pq.write_table(orders(), "orders.parquet")
    name = project.table("orders")
    project.client.create_table(bigquery.Table(name, schema=to_bigquery(orders().schema)))
    config = bigquery.LoadJobConfig(source_format=bigquery.SourceFormat.PARQUET)
    config.parquet_options = bigquery.ParquetOptions()
    config.parquet_options.enable_list_inference = True
    with Path("orders.parquet").open("rb") as file:
        job = project.client.load_table_from_file(file, name, job_config=config, timeout=CALL_SECS)
        job.result(timeout=CALL_SECS)


def table_to_table(project: Project) -> None:
    """Two runs append, a third one replaces."""
    for flags, rows in (([], 1), ([], 2), (["--write", "truncate"], 1)):
        project.score(*flags, output=f"bq://{project.table('scores')}")
        found = project.count("scores")
        expect(found == rows * (ROWS - 1), f"{found} rows, expected {rows * (ROWS - 1)}")
    expect(project.count("scores", "COUNT(DISTINCT order_id)") == ROWS - 1, "rows are missing")
    dead = project.count("scores_dead_letters")
    expect(dead == 3, f"{dead} dead letters, expected 3")
    left = [table.table_id for table in project.client.list_tables(project.dataset)]
    temporary = [name for name in left if name.startswith("scoreline_tmp_")]
    expect(not temporary, f"temporary tables are left: {temporary}")


def typed_orders() -> pa.Table:
    """The same rows with a column of every type that is left."""
    texts = pa.array([str(number % 7) for number in range(ROWS)])
    whole = pa.array(range(ROWS))
    return pa.Table.from_pydict(
        dict(zip(orders().column_names, orders(), strict=True))
        | {
            "kind": texts.dictionary_encode(),
            "raw": texts.cast(pa.binary()),
            "is_odd": pc.equal(pc.bit_wise_and(whole, 1), 1),
            "unsigned": whole.cast(pa.uint64()),
            "price": whole.cast(pa.decimal128(21, 2)),
            "exact": whole.cast(pa.decimal128(38, 19)),
            "day": whole.cast(pa.int32()).cast(pa.date32()),
            "clock": whole.cast(pa.time64("us")),
            "local": whole.cast(pa.timestamp("us")),
        }
    )


def types(project: Project) -> str:
    """All columns from a file to a table and from there to another one, with the same values."""
    pq.write_table(typed_orders(), "typed.parquet")
    words = ["score", "--model", "model.joblib", "--allow-pickle"]
    words += ["--columns", ",".join(typed_orders().column_names)]
    layout = ["--partition-by", "at", "--cluster-by", "order_id"]
    first, second = project.table("typed"), project.table("typed_again")
    run([*words, *layout, "--input", "typed.parquet", "--output", f"bq://{first}"])
    run([*words, *layout, "--input", f"bq://{first}", "--output", f"bq://{second}"])
    made = project.client.get_table(second)
    expect(made.time_partitioning.field == "at", "it is not partitioned")
    for name in ("typed", "typed_again"):
        found = project.count(name, "COUNT(DISTINCT TO_JSON_STRING(t))")
        expect(found == ROWS - 1, f"{found} rows in {name} that differ, expected {ROWS - 1}")
    query = f"SELECT COUNT(*) FROM `{first}` t JOIN `{second}` u USING (order_id) "
    query += "WHERE TO_JSON_STRING(t) = TO_JSON_STRING(u)"
    (row,) = project.client.query_and_wait(query, wait_timeout=CALL_SECS)
    expect(row[0] == ROWS - 1, f"{row[0]} rows came back as they were, expected {ROWS - 1}")
    return ", ".join(f"{each.name} {each.field_type} {each.mode}" for each in made.schema)


def refused_rows(project: Project) -> str:
    """A column that may not be null, and one row that has null there: what the service answers."""
    fields = [bigquery.SchemaField("order_id", "INTEGER", "REQUIRED")]
    fields += [bigquery.SchemaField(name, "STRING") for name in ("prediction", "model_version")]
    project.client.create_table(bigquery.Table(project.table("strict"), schema=fields))
    rows = orders().slice(1, 100).select(["a", "b"])
    ids = pa.array([None, *range(1, 100)], pa.int64())
    pq.write_table(rows.append_column("order_id", ids), "odd.parquet")
    place = f"bq://{project.table('strict')}"
    project.score("--input", "odd.parquet", output=place)
    written, dead = project.count("strict"), project.count("strict_dead_letters")
    expect((written, dead) == (99, 1), f"{written} rows and {dead} dead letters, expected 99 and 1")
    return str(project.count("strict_dead_letters", "ANY_VALUE(error_message)"))


def filters(project: Project) -> None:
    """A filter and a projection, into files."""
    project.score("--row-filter", "order_id < 1000", output="filtered")
    found = pq.read_table("filtered").num_rows
    expect(found == 999, f"{found} rows, expected 999")


def queries(project: Project) -> None:
    """A query, whose temporary table is gone afterwards."""
    table = project.table("orders")
    job = {
        "name": "query",
        "source": {
            "type": "bigquery",
            "query": f"SELECT a, b, order_id FROM `{table}` WHERE order_id > 4000",
            "temp_dataset": project.dataset,
        },
        "model": {"uri": "model.joblib", "trust": {"allow_pickle": True}},
        "sinks": [{"path": "queried", "keep": ["order_id"]}],
    }
    Path("query.yaml").write_text(yaml.safe_dump(job))
    print(run(["check", "query.yaml"]).splitlines()[0])
    run(["run", "query.yaml"])
    found = pq.read_table("queried").num_rows
    expect(found == 999, f"{found} rows, expected 999")


def new_column(project: Project) -> str:
    """A column that a table gets a moment before the rows that have it."""
    place = f"bq://{project.table('widened')}"
    project.score(output=place)
    started = time.monotonic()
    project.score("--keep", "order_id,b", "--allow-new-columns", output=place)
    secs = time.monotonic() - started
    found = project.count("widened", "COUNT(b)")
    expect(found == ROWS - 1, f"{found} values in the new column, expected {ROWS - 1}")
    dead = project.count("widened_dead_letters")
    expect(dead == 2, f"{dead} dead letters, expected 2")
    return f"fine, in a run of {secs:.0f} s"


def crash(project: Project) -> None:
    """A crash right after the intent, and one right after the commit: once each."""
    place, make_final = f"bq://{project.table('crashed')}", commit.make_tables_final
    for number, is_after in enumerate((False, True), start=1):

        def crashing(*args: Any, is_after: bool = is_after) -> None:
            if is_after:
                make_final(*args)
            raise Interrupted

        commit.make_tables_final = crashing  # type: ignore[assignment]
        try:
            with contextlib.suppress(Interrupted, AssertionError):
                project.score(output=place)
        finally:
            commit.make_tables_final = make_final
        said = project.score(output=place)
        expect("completed run" in said, f"the run was not completed: {said}")
        found = project.count("crashed")
        expect(found == number * (ROWS - 1), f"{found} rows, expected {number * (ROWS - 1)}")


def stream(project: Project) -> None:
    """The default stream, as a stream of messages uses it."""
    batch = pa.record_batch({"x": [1, 2, 3], "row_id": ["s#1", "s#2", "s#3"]})
    fields = [bigquery.SchemaField("x", "INTEGER"), bigquery.SchemaField("row_id", "STRING")]
    name = project.table("streamed")
    project.client.create_table(bigquery.Table(name, schema=fields))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        batches = pipeline | beam.Create([batch.select(["x"])])
        batches | WriteBigQueryStream(TableName.parse(name))
    deadline = time.monotonic() + 120
    while (found := project.count("streamed")) < 3 and time.monotonic() < deadline:
        time.sleep(2)
    expect(found == 3, f"{found} rows, expected 3")


def expiry(project: Project) -> str:
    """What a temporary table says of its expiry."""
    target = TableName.parse(project.table("scores"))
    staging = create_staging(target, "check", 0)
    expires = project.client.get_table(str(staging)).expires
    delete_temporary(staging, "check")
    expect(expires is not None, "a temporary table has no expiry")
    return f"expires {expires:%Y-%m-%d %H:%M}"


ATTEMPTS: dict[str, Callable[[Project], str | None]] = {
    "table to table, append and truncate": table_to_table,
    "all types, partitions and clusters": types,
    "a row that a table refuses": refused_rows,
    "columns and a filter": filters,
    "a query": queries,
    "a column that is new": new_column,
    "a crash before and after the commit": crash,
    "a stream's default stream": stream,
    "temporary tables expire": expiry,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Tries everything; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", required=True, help="in which the dataset is made")
    parser.add_argument("--location", default="EU", help="of the dataset")
    parser.add_argument("--keep", action="store_true", help="leave the dataset there")
    flags = parser.parse_args(argv)
    # All is charged to it, whichever one the credentials are of; its roles are what is asked for.
    os.environ["GOOGLE_CLOUD_PROJECT"] = flags.project
    project = Project(f"{flags.project}.scoreline_check_{secrets.token_hex(4)}")
    dataset = bigquery.Dataset(project.dataset)
    dataset.location = flags.location
    dataset.default_table_expiration_ms = DAY_MILLIS
    project.client.create_dataset(dataset, timeout=CALL_SECS)
    print(f"the dataset {project.dataset} is made", flush=True)
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            prepare(project)
            for what, attempt in ATTEMPTS.items():
                project.try_out(what, attempt)
        finally:
            os.chdir(before)
            if not flags.keep:
                project.client.delete_dataset(project.dataset, delete_contents=True)
    print("\n" + "\n".join(f"{what:40} {said}" for what, said in project.found))
    return int(any(said.startswith("FAILED") for _, said in project.found))


if __name__ == "__main__":
    sys.exit(main())
