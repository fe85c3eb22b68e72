"""Turns batches into the bytes of append requests and, in turn, into Arrow's own, without a server.

::

    python benchmarks/bigquery_framing.py 50000 9    # a line of two CPU times for each round
    python benchmarks/bigquery_framing.py 50000 9 --dictionary    # as Predict gives model_version

The second is `pyarrow.ipc.new_stream` of one batch into a buffer. Both start from the same batches
of ten columns, and what the first makes is checked to hold the same rows.
"""

import argparse
import time
from collections.abc import Callable

import pyarrow as pa
from bigquery_rows import batch
from google.cloud.bigquery_storage_v1 import types

from scoreline.transforms.bigquery.append_requests import append_request, cut
from scoreline.transforms.bigquery.wire_rows import WireCast

_STREAM = "projects/p/datasets/d/tables/t/streams/s"
_ROWS = 1_000_000  # of all batches together
_CAST = WireCast()


def requests(rows: pa.RecordBatch) -> list[bytes]:
    """Turns a batch into requests, as the appender does."""
    wire, _ = _CAST.rows(rows)
    return [append_request(_STREAM, piece.start, b"", piece.rows) for piece in cut(wire)]


def stream(rows: pa.RecordBatch) -> pa.Buffer:
    """Turns a batch into an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue()


def check(rows: pa.RecordBatch) -> None:
    """Raises SystemExit unless the requests of a batch hold its rows."""
    wire, _ = _CAST.rows(rows)
    parsed = [types.AppendRowsRequest.pb().FromString(each) for each in requests(rows)]
    held = [
        pa.ipc.read_record_batch(each.arrow_rows.rows.serialized_record_batch, wire.schema)
        for each in parsed
    ]
    if not pa.Table.from_batches(held).equals(pa.Table.from_batches([wire])):
        raise SystemExit("the requests hold other rows than the batch")


def _cpu_secs(work: Callable[[pa.RecordBatch], object], rows: list[pa.RecordBatch]) -> float:
    began = time.process_time()
    for each in rows:
        work(each)
    return time.process_time() - began


def main() -> None:
    """Reads the command line, checks, and prints the CPU times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("batch_rows", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--dictionary", action="store_true")
    args = parser.parse_args()
    rows = [batch(number, args.batch_rows) for number in range(_ROWS // args.batch_rows)]
    if args.dictionary:
        index = rows[0].schema.get_field_index("model_version")
        rows = [
            each.set_column(index, "model_version", each.column(index).dictionary_encode())
            for each in rows
        ]
    check(rows[0])
    for _ in range(args.rounds):
        print(_cpu_secs(requests, rows), _cpu_secs(stream, rows), flush=True)


if __name__ == "__main__":
    main()
