"""Batches as the bytes of requests to BigQuery's Storage Write API.

The requests are framed by hand. Through the client library's messages a batch is copied several
times, which costs several times what Arrow takes to serialise it; here it is serialised once and
copied once, behind some twenty bytes of Protocol Buffers (`AppendRowsRequest` of
google.cloud.bigquery.storage.v1):

| field | number | of |
|---|---|---|
| write_stream | 1 | AppendRowsRequest |
| offset | 2 | AppendRowsRequest; value is 1 in it |
| arrow_rows | 5 | AppendRowsRequest |
| writer_schema | 1 | ArrowData; serialized_schema is 1 in it |
| rows | 2 | ArrowData; serialized_record_batch is 1 in it |
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

# Of serialised rows. A request may have 10 MB by the quotas page (2026-11); a schema and a name go
# with the rows.
MAX_ROWS_BYTES = 9_000_000
_AIM = 0.9  # of it, when rows are cut: they are not all of one size

_LENGTH_DELIMITED = 2  # the wire type of text, bytes and messages
_VARINT = 0


@dataclass(frozen=True)
class Piece:
    """Some rows of a batch, serialised.

    Attributes:
        start: the first of the rows in the batch.
        stop: behind the last one.
        rows: them as an Arrow IPC message. It has more than `MAX_ROWS_BYTES` only if it is one row.
    """

    start: int
    stop: int
    rows: pa.Buffer


def cut(batch: pa.RecordBatch) -> Iterator[Piece]:
    """Serialises a batch in as many pieces as it takes, in order, each when it is asked for.

    >>> [(piece.start, piece.stop) for piece in cut(pa.record_batch({"x": [1, 2, 3]}))]
    [(0, 3)]
    """
    todo = [(0, batch.num_rows)]
    while todo:
        start, stop = todo.pop()
        length = stop - start
        some = batch if length == batch.num_rows else batch.slice(start, length)
        rows = some.serialize()
        if rows.size <= MAX_ROWS_BYTES or length == 1:
            yield Piece(start, stop, rows)
            continue
        # To ask a batch for its size first costs as much as to serialise a small one.
        parts = max(2, -(-rows.size // int(_AIM * MAX_ROWS_BYTES)))
        step = -(-length // parts)
        cuts = range(start, stop, step)
        todo += [(first, min(first + step, stop)) for first in reversed(cuts)]


def schema_bytes(schema: pa.Schema) -> bytes:
    """Serialises a schema, as the first request of a connection has it."""
    serialised: bytes = schema.serialize().to_pybytes()
    return serialised


def append_request(stream: str, offset: int | None, schema: bytes, rows: pa.Buffer) -> bytes:
    """Frames serialised rows as an AppendRowsRequest.

    Args:
        stream: the full name of the write stream.
        offset: the number of the first row in the stream; None to append wherever it ends.
        schema: serialised; empty if the connection knows it.
        rows: serialised.

    >>> append_request("s", 5, b"", pa.py_buffer(b"rows")).hex(" ")
    '0a 01 73 12 02 08 05 2a 08 12 06 0a 04 72 6f 77 73'
    """
    name = stream.encode()
    described = _head(1, _len(1, len(schema))) + _head(1, len(schema)) + schema if schema else b""
    in_data = _head(2, _len(1, rows.size)) + _head(1, rows.size)
    data = len(described) + len(in_data) + rows.size
    parts = (_head(1, len(name)), name, _offset(offset), _head(5, data), described, in_data, rows)
    return b"".join(parts)


def _offset(offset: int | None) -> bytes:
    if offset is None:
        return b""
    value = bytes([1 << 3 | _VARINT]) + _varint(offset) if offset else b""
    return _head(2, len(value)) + value


def _head(field: int, length: int) -> bytes:
    return bytes([field << 3 | _LENGTH_DELIMITED]) + _varint(length)


def _len(field: int, length: int) -> int:
    """The length of a field of so many bytes, with its head."""
    return len(_head(field, length)) + length


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have the highest bit.

    >>> _varint(300).hex(" ")
    'ac 02'
    """
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
