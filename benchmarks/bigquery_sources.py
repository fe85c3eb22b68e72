"""Turns the rows of a table into a count in one of two ways, and prints how fast as JSON.

::

    python benchmarks/bigquery_sources.py scoreline 1000000
    python benchmarks/bigquery_sources.py direct-read 100000

The table is filled in a load job before the clock starts, and one with a row is read. Both run as
pipelines on Beam's in-process runner, and the time of the whole pipeline counts; all columns are
read, and the number of rows is checked.
"""

import json
import sys
import time
from collections.abc import Callable

import apache_beam as beam
from apache_beam.io.gcp.bigquery import ReadFromBigQuery
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from bigquery_beam import reach_emulator
from bigquery_load import load
from bigquery_rows import batch, batches
from bigquery_shared import NOTED, note, num_rows
from fresh_bigquery import PROJECT

from scoreline.transforms import ReadSplits
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery_input import inspect_table
from scoreline.transforms.read_files import BATCHES
from scoreline.transforms.splits import plan_splits


def scoreline(table: TableName) -> None:
    """Reads Arrow batches."""
    opened = inspect_table(table).open("bench", None, 2)
    with _pipeline() as pipeline:
        read = pipeline | ReadSplits(plan_splits([opened]))
        read[BATCHES] | beam.Map(num_rows) | beam.Map(note)


def direct_read(table: TableName) -> None:
    """What Beam does over the same Storage Read API, with its defaults: a dict for each row."""
    with _pipeline() as pipeline:
        rows = pipeline | ReadFromBigQuery(
            method=ReadFromBigQuery.Method.DIRECT_READ,
            table=f"{table.project}:{table.dataset}.{table.table}",
        )
        rows | beam.combiners.Count.Globally() | beam.Map(note)


def _pipeline() -> beam.Pipeline:
    options = PipelineOptions(["--project", PROJECT])
    return beam.Pipeline(runner=FnApiRunner(), options=options)


WAYS: dict[str, Callable[[TableName], None]] = {
    "scoreline": scoreline,
    "direct-read": direct_read,
}


def main(way: str, total: int) -> None:
    """Reads a row to warm up, then all rows, and prints the figures."""
    reach_emulator(PROJECT)
    small, large = (
        TableName(PROJECT, "bench", f"read_{name}_{way.replace('-', '_')}")
        for name in ("warm", "rows")
    )
    load(small, [batch(0, 1)])
    load(large, batches(total))
    WAYS[way](small)
    NOTED.clear()
    began = time.perf_counter()
    WAYS[way](large)
    secs = time.perf_counter() - began
    if sum(NOTED) != total:
        raise SystemExit(f"{way}: there are {total:,} rows, but {sum(NOTED):,} were read")
    print(json.dumps({"rows": total, "secs": secs}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
