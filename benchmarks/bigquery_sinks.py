"""Turns rows into rows of a table in one of three ways, and prints how fast as a line of JSON.

::

    python benchmarks/bigquery_sinks.py scoreline 1000000
    python benchmarks/bigquery_sinks.py insert-json 200000
    python benchmarks/bigquery_sinks.py streaming-inserts 20000

The table is made before the clock starts, and one row is written to another. `scoreline` and
`streaming-inserts` run as pipelines on Beam's in-process runner, and the time of the whole pipeline
counts; of `insert-json` that of the calls and of making dicts. Each ends when the rows can be read,
and their number is checked. Requests and bytes are those that carry rows.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pyarrow as pa
import requests
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from bigquery_beam import reach_emulator
from bigquery_rows import batch, batches
from bigquery_shared import GIVEN, NOTED, dicts, given, note
from fresh_bigquery import PROJECT

from scoreline.transforms.bigquery import append_connection, tables
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.rest_client import rest
from scoreline.transforms.bigquery.write_streams import commit_streams, seal_streams
from scoreline.transforms.write_bigquery import WriteBigQueryParts

_CALL_ROWS = 10_000  # of insert_rows_json
_SENT: Counter[str] = Counter()


def scoreline(table: TableName) -> None:
    """Appends over the Storage Write API, then seals and commits, as a run does at its end."""
    NOTED.clear()
    with _pipeline() as pipeline:
        rows = pipeline | beam.Create([0]) | beam.FlatMap(given).with_output_types(pa.RecordBatch)
        written = rows | WriteBigQueryParts(table)
        written.receipts | beam.Map(note)
    counted: Counter[str] = Counter()
    for receipt in NOTED:
        counted[receipt.path] += receipt.rows
    seal_streams(counted)
    commit_streams(table, list(counted))


def streaming_inserts(table: TableName) -> None:
    """What Beam does from Python without Java, with its defaults."""
    with _pipeline() as pipeline:
        rows = pipeline | beam.Create([0]) | beam.FlatMap(given) | beam.FlatMap(dicts)
        rows | WriteToBigQuery(
            f"{table.project}:{table.dataset}.{table.table}",
            method=WriteToBigQuery.Method.STREAMING_INSERTS,
            create_disposition=BigQueryDisposition.CREATE_NEVER,
            write_disposition=BigQueryDisposition.WRITE_APPEND,
            validate=False,
        )


def insert_json(table: TableName) -> None:
    """A loop without Beam over the client library's insert_rows_json."""
    for some in GIVEN:
        for start in range(0, some.num_rows, _CALL_ROWS):
            part = list(dicts(some.slice(start, _CALL_ROWS)))
            errors = rest().insert_rows_json(str(table), part, timeout=60)
            assert not errors, errors[:1]


def _pipeline() -> beam.Pipeline:
    options = PipelineOptions(["--project", PROJECT])
    return beam.Pipeline(runner=FnApiRunner(), options=options)


def _count_requests() -> None:
    """Counts the requests that carry rows, and their bytes, whoever sends them."""
    append, send = append_connection.AppendConnection.send, requests.Session.send

    def counted_append(self: Any, request: bytes) -> None:
        _SENT.update(requests=1, bytes=len(request))
        append(self, request)

    def counted_send(self: Any, request: Any, **options: Any) -> Any:
        if request.url.split("?")[0].endswith("/insertAll"):
            _SENT.update(requests=1, bytes=len(request.body))
        return send(self, request, **options)

    append_connection.AppendConnection.send = counted_append  # type: ignore[method-assign]
    requests.Session.send = counted_send


WAYS: dict[str, Callable[[TableName], None]] = {
    "scoreline": scoreline,
    "streaming-inserts": streaming_inserts,
    "insert-json": insert_json,
}


def main(way: str, num_rows: int) -> None:
    """Writes a row to warm up, then all rows, and prints the figures."""
    reach_emulator(PROJECT)
    GIVEN[:] = [batch(0, 1)]
    rest().create_dataset(f"{PROJECT}.bench", exists_ok=True, timeout=60)
    names = [
        TableName(PROJECT, "bench", f"{name}_{way.replace('-', '_')}") for name in ("warm", "rows")
    ]
    for name in names:
        tables.create(name, GIVEN[0].schema)
    WAYS[way](names[0])
    GIVEN[:] = batches(num_rows)
    _count_requests()
    began = time.perf_counter()
    WAYS[way](names[1])
    secs = time.perf_counter() - began
    written = rest().get_table(str(names[1]), timeout=60).num_rows
    if written != num_rows:
        raise SystemExit(f"{way}: {num_rows:,} rows were written, but {written:,} can be read")
    print(json.dumps({"rows": num_rows, "secs": secs, **_SENT}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
