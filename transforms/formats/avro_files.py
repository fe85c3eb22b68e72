"""Reads and writes Avro object container files as record batches."""

from collections.abc import Iterator
from typing import BinaryIO, Final

import fastavro
import pyarrow as pa
from fastavro.write import Writer

from .avro_blocks import (
    AvroBlock,
    AvroInfo,
    CorruptAvroError,
    inspect_avro,
    read_blocks,
)
from .avro_decode import BlockDecoder, stored_type
from .avro_schema import storable_type, to_avro_schema
from .json_cells import decoded

__all__ = ["AvroInfo", "AvroWriter", "CorruptAvroError", "inspect_avro", "read_avro_batches"]

_GROUP_ROWS: Final = 2048  # rows that are Python objects at one time; more leave the cache
_SYNC_INTERVAL: Final = 256 * 1024  # bytes per block: large ones cost less per row to read


def read_avro_batches(file: BinaryIO, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Turns an Avro file into batches of `batch_rows` rows (the last: fewer), in the file's order.

    A few blocks and one batch are in memory at a time; see `avro_decode` for what makes it fast.

    Args:
        file: at its start.
        batch_rows: at least 1.

    Raises:
        CorruptAvroError: a damaged file, or one that ends inside a block; names block and row.
        TypeError: a schema without an Arrow form.
        ImportError: a codec that cannot be read here.

    >>> import io
    >>> file = io.BytesIO()
    >>> writer = AvroWriter(file, pa.schema([("x", pa.int64())]))
    >>> writer.write(pa.record_batch({"x": [1, None, 3]}))
    >>> writer.close()
    >>> [batch.num_rows for batch in read_avro_batches(io.BytesIO(file.getvalue()), 2)]
    [2, 1]
    """
    info = inspect_avro(file)
    decoder = BlockDecoder(info.avro_schema, info.schema)
    waiting: list[pa.RecordBatch] = []
    for blocks in _groups(read_blocks(file, info)):
        waiting.append(decoder.batch(blocks))
        if sum(batch.num_rows for batch in waiting) >= batch_rows:
            joined = pa.concat_batches(waiting)
            full = joined.num_rows - joined.num_rows % batch_rows
            for start in range(0, full, batch_rows):
                yield joined.slice(start, batch_rows)
            waiting = [joined.slice(full)] if full < joined.num_rows else []
    if waiting:
        yield pa.concat_batches(waiting)


def _groups(blocks: Iterator[AvroBlock]) -> Iterator[list[AvroBlock]]:
    """Joins small blocks, so that what is done per call is done for many rows."""
    group: list[AvroBlock] = []
    num_rows = 0
    for block in blocks:
        if block.num_rows:
            group.append(block)
            num_rows += block.num_rows
        if num_rows >= _GROUP_ROWS:
            yield group
            group, num_rows = [], 0
    if group:
        yield group


class AvroWriter:
    """Writes batches of one schema into an Avro file; what Avro can hold reads back equal.

    Dictionary columns are written as their values, narrow integers as int or long, timestamps in
    seconds as milliseconds. A column whose field is nullable becomes a union with null.

    Args:
        file: open for writing; the caller closes it.
        schema: of every batch.
        codec: null, deflate, bzip2 or xz.

    Raises:
        ValueError: a column name that Avro does not allow.
        TypeError: a column of a type that Avro cannot hold.

    >>> import io
    >>> file = io.BytesIO()
    >>> AvroWriter(file, pa.schema([("my score", pa.float64())]))
    Traceback (most recent call last):
    ...
    ValueError: Avro does not allow the column name 'my score': a name holds only letters, digits \
and _ and starts with no digit. Rename the column, or write another format.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema, codec: str = "deflate"):
        fields = [field.with_type(storable_type(field.type)) for field in schema]
        self._schema = pa.schema(fields)
        self._stored = [stored_type(field.type) for field in fields]
        avro_schema = to_avro_schema(self._schema)
        self._writer = Writer(file, fastavro.parse_schema(avro_schema), codec, _SYNC_INTERVAL)

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds the rows of a batch.

        Raises:
            ValueError: other columns than the writer's, a null where the schema allows none, a
                map that repeats a key, or a value that Avro's type does not hold.
        """
        if batch.schema.names != self._schema.names:
            raise ValueError(
                f"the Avro file has the columns {self._schema.names}, the batch has "
                f"{batch.schema.names}"
            )
        columns = [
            _stored_column(column, field, stored)
            for column, field, stored in zip(batch.columns, self._schema, self._stored, strict=True)
        ]
        rows = pa.RecordBatch.from_arrays(columns, names=self._schema.names)
        for row in rows.to_pylist(maps_as_pydicts="strict"):
            self._writer.write(row)

    def close(self) -> None:
        """Writes what is still buffered; leaves the file open."""
        self._writer.flush()


def _stored_column(column: pa.Array, field: pa.Field, stored: pa.DataType) -> pa.Array:
    if column.null_count and not field.nullable:
        raise ValueError(f"column {field.name!r} holds a null, but the schema says it has none")
    column = decoded(column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(field.type).cast(stored)
