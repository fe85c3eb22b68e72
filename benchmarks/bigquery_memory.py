"""Turns a number into that many rows, and appends them: what is measured is its own memory.

::

    python benchmarks/bigquery_memory.py 20000000

Batches come one by one, and nothing but the sink could hold on to what it makes of them.
"""

import sys

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from bigquery_rows import BATCH_ROWS, copies
from bigquery_shared import NOTED, note
from fresh_bigquery import PROJECT

from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.write_bigquery import WriteBigQueryParts


def main(num_rows: int) -> None:
    """Appends the rows, and checks that all were."""
    table = TableName(PROJECT, "bench", "rows")
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        numbers = pipeline | beam.Create([num_rows // BATCH_ROWS])
        rows = numbers | beam.FlatMap(copies).with_output_types(pa.RecordBatch)
        (rows | WriteBigQueryParts(table)).receipts | beam.Map(note)
    appended = sum(receipt.rows for receipt in NOTED)
    if appended != num_rows:
        raise SystemExit(f"{num_rows:,} rows were given, but {appended:,} appended")


if __name__ == "__main__":
    main(int(sys.argv[1]))
