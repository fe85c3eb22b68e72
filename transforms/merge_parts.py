"""Merges staged parts into one file, for an output that is one file."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa

from .file_formats import delimiter_of, format_of
from .formats.avro_files import inspect_avro, read_avro_batches
from .formats.compressed_text import compress_into, compression_of, open_compressed
from .formats.csv_dialect import CsvDialect, sniff_header
from .parquet_files import open_parquet
from .part_writer import PartWriter
from .receipts import Receipt
from .storage import create, open_file

_COPY_BYTES = 2**20
_AVRO_ROWS = 16_384


def merge_parts(parts: Iterable[Receipt], path: str) -> Receipt:
    """Turns staged parts of one kind and format into one file, in order of their splits; they stay.

    Args:
        parts: at least one; the schema is that of the first.
        path: a new file on any Beam file system, of the same format.

    Returns:
        The receipt of the file, with the rows and codes of all.
    """
    ordered = sorted(parts, key=lambda part: (part.split, part.codes, part.path))
    sources = [str(part.path) for part in ordered]
    if format_of(path) in ("json", "csv"):
        _join_texts(sources, path)
    else:
        _join_batches(sources, path)
    first = ordered[0]
    codes = tuple(code for part in ordered for code in part.codes)
    rows = sum(part.rows for part in ordered)
    return Receipt(first.kind, first.split, rows, path, codes, first.sink)


def _join_batches(sources: Sequence[str], path: str) -> None:
    writer: PartWriter | None = None
    try:
        for source in sources:
            with _open_batches(source) as (schema, batches):
                writer = writer or PartWriter(path, schema)
                for batch in batches:
                    writer.write(batch)
        assert writer is not None
        writer.close()
    finally:
        if writer is not None:
            writer.abort()


@contextmanager
def _open_batches(path: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema and the batches of a Parquet or Avro file."""
    if format_of(path) == "avro":
        with open_file(path) as head:
            schema = inspect_avro(head).schema
        with open_file(path) as file:
            yield schema, read_avro_batches(file, _AVRO_ROWS)
    else:
        with open_parquet(path) as parquet:
            yield parquet.schema_arrow, parquet.iter_batches(use_threads=False)


def _join_texts(sources: Sequence[str], path: str) -> None:
    """Joins the lines of all files; of CSV, the names stand only once."""
    codec = compression_of(path)
    with ExitStack() as stack:
        target: Any = stack.enter_context(create(path))
        if codec is not None:
            target = stack.enter_context(compress_into(target, codec))
        for number, source in enumerate(sources):
            with open_file(source) as file:
                text = open_compressed(file, source)
                data = text.read(_COPY_BYTES)
                if number and format_of(path) == "csv":
                    data = data[_names_end(data, path) :]
                while data:
                    target.write(data)
                    data = text.read(_COPY_BYTES)


def _names_end(start: bytes, path: str) -> int:
    """Where the first record starts in CSV that we wrote."""
    return sniff_header(start, CsvDialect(delimiter=delimiter_of(path))).num_bytes
