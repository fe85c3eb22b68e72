"""Turns a Parquet file into a table, in a load job: the emulator takes some 100 MB.

::

    python benchmarks/bigquery_load.py project.dataset.table rows.parquet
"""

import io
import sys
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud import bigquery

from scoreline.transforms.bigquery import tables
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.rest_client import rest

_CALL_SECS = 300


def load(table: TableName, rows: Iterable[pa.RecordBatch]) -> None:
    """Appends batches to a table, which is made, and its dataset, too."""
    rest().create_dataset(f"{table.project}.{table.dataset}", exists_ok=True, timeout=60)
    whole = pa.Table.from_batches(list(rows))
    tables.create(table, whole.schema)  # a load job would, but not on the emulator
    file = io.BytesIO()
    pq.write_table(whole, file)
    file.seek(0)
    config = bigquery.LoadJobConfig(source_format=bigquery.SourceFormat.PARQUET)
    job = rest().load_table_from_file(file, str(table), job_config=config, timeout=_CALL_SECS)
    job.result(timeout=_CALL_SECS)


if __name__ == "__main__":
    load(TableName.parse(sys.argv[1]), pq.ParquetFile(sys.argv[2]).iter_batches())
