"""Writes batches in the format that a file's extension names."""

import io
from collections.abc import Iterable
from contextlib import closing
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from .file_formats import delimiter_of, format_of
from .formats.avro_files import AvroWriter
from .formats.compressed_text import compress_into, compression_of
from .formats.encode_csv import encode_csv
from .formats.encode_json import encode_json_lines
from .prefetch import prefetch


class Encoder(Protocol):
    """Turns batches of one schema into the bytes of one file."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds the rows of a batch."""

    def close(self) -> None:
        """Writes what is still to come; the file itself stays open."""


def open_encoder(path: str, file: BinaryIO, schema: pa.Schema) -> Encoder:
    """The encoder for a file of this name; whoever opened the file closes it.

    Raises:
        ValueError, TypeError: the format cannot hold these columns.
    """
    format_ = format_of(path)
    if format_ == "avro":
        return AvroWriter(file, schema)
    if format_ in ("json", "csv"):
        return _TextEncoder(path, file, schema, is_csv=format_ == "csv")
    return _ParquetEncoder(file, schema)


def check_encodable(path: str, schema: pa.Schema) -> None:
    """Raises ValueError or TypeError if the format of a file of this name cannot hold columns.

    >>> check_encodable("out.avro", pa.schema({"x": pa.float64()}))
    """
    # Of no row text has nothing; a row of null might be refused where it has to hold something.
    count = 1 if format_of(path) in ("json", "csv") else 0
    for field in schema:
        row = pa.record_batch([pa.nulls(count, field.type)], [field.name])
        try:
            with closing(open_encoder(path, io.BytesIO(), row.schema)) as encoder:
                encoder.write(row)
        except pa.ArrowNotImplementedError:  # of Parquet: it does not name the column
            raise TypeError(
                f"column {field.name!r}: Parquet has no type for {field.type}. Cast it, or drop it "
                "with keep."
            ) from None


def write_all(encoder: Encoder, batches: Iterable[pa.RecordBatch]) -> None:
    """Adds the rows of all batches.

    Text is encoded in a thread while what came before is written: half of what writing 500 MB of
    it takes is the kernel's work.
    """
    if isinstance(encoder, _TextEncoder):
        with closing(prefetch(map(encoder.encode, batches))) as texts:
            for text in texts:
                encoder.write_text(text)
    else:
        for batch in batches:
            encoder.write(batch)


class _ParquetEncoder:
    def __init__(self, file: BinaryIO, schema: pa.Schema):
        # Parquet's default builds a dictionary for every column and drops it where values do not
        # repeat, as floats hardly ever do: 3 times the time to write, for a larger file.
        repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
        self._writer = pq.ParquetWriter(
            file, schema, compression="snappy", use_dictionary=repeating
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _TextEncoder:
    def __init__(self, path: str, file: BinaryIO, schema: pa.Schema, *, is_csv: bool):
        self._is_csv = is_csv
        self._delimiter = delimiter_of(path)
        codec: Any = compression_of(path)
        self._stream = None if codec is None else compress_into(file, codec)
        self._out: Any = self._stream or file
        if is_csv:
            self._out.write(self._header(schema))

    def _header(self, schema: pa.Schema) -> bytes:
        return encode_csv(_no_rows(schema), header=True, delimiter=self._delimiter)

    def encode(self, batch: pa.RecordBatch) -> bytes:
        if self._is_csv:
            return encode_csv(batch, header=False, delimiter=self._delimiter)
        return encode_json_lines(batch)

    def write_text(self, text: bytes) -> None:
        self._out.write(text)

    def write(self, batch: pa.RecordBatch) -> None:
        self.write_text(self.encode(batch))

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array([], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
