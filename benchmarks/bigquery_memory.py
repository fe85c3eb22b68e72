"""Turns a number into that many rows, and appends them: what is measured is its own memory.

::

    python benchmarks/bigquery_memory.py 20000000

Batches come one by one, and nothing but the sink could hold on to what it makes of them.
"""

import sys
from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from bigquery_rows import BATCH_ROWS, batch
from fresh_bigquery import PROJECT

from scoreline.transforms import Receipt
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.write_bigquery import WriteBigQueryParts

_appended: list[int] = []


def made(num_batches: int) -> Iterator[pa.RecordBatch]:
    """Gives batches one by one, of the same rows: to make others would take most of the time."""
    first = batch(0)
    for _ in range(num_batches):
        yield pa.record_batch(first.columns, schema=first.schema)


def note(receipt: Receipt) -> None:
    """Keeps how many rows were appended."""
    _appended.append(receipt.rows)


def main(num_rows: int) -> None:
    """Appends the rows, and checks that all were."""
    table = TableName(PROJECT, "bench", "rows")
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        numbers = pipeline | beam.Create([num_rows // BATCH_ROWS])
        rows = numbers | beam.FlatMap(made).with_output_types(pa.RecordBatch)
        (rows | WriteBigQueryParts(table)).receipts | beam.Map(note)
    if sum(_appended) != num_rows:
        raise SystemExit(f"{num_rows:,} rows were given, but {sum(_appended):,} appended")


if __name__ == "__main__":
    main(int(sys.argv[1]))
