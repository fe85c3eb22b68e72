"""Avro input: one worker streams each file, as its blocks can only be found one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from .formats.avro_files import CorruptAvroError, inspect_avro, read_avro_batches
from .identity import identify
from .parquet_files import UnreadableFileError, check_columns
from .storage import open_file, size_of

_BATCH_ROWS = 16_384  # rows pass through Python objects one group at a time: more gains nothing


@dataclass(frozen=True)
class AvroFile:
    """A whole Avro file, as a range to read."""

    path: str

    num_rows = None  # the header does not say

    def read(self, split: int, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
        """Reads the batches of the file, with row identity.

        Raises:
            UnreadableFileError: a block is damaged or cut short.
            ValueError: a column is not there.
        """
        row = 0
        try:
            with open_file(self.path) as file:
                for batch in read_avro_batches(file, _BATCH_ROWS):
                    check_columns(columns or (), batch.schema.names, self.path)
                    wanted = batch if columns is None else batch.select(list(columns))
                    yield identify(wanted, self.path, row, split)
                    row += batch.num_rows
        except (CorruptAvroError, OSError) as error:
            raise UnreadableFileError(f"cannot read {self.path}: {error}") from error


@dataclass(frozen=True)
class AvroInfo:
    """What the header of an Avro file says: its path, size and columns."""

    path: str
    num_bytes: int
    schema: pa.Schema

    num_rows = None
    is_sequential = True

    def ranges(self) -> Iterator[tuple[AvroFile, int]]:
        """The file, with its weight in bytes."""
        yield AvroFile(self.path), self.num_bytes


def inspect_avro_file(path: str) -> AvroInfo:
    """Reads the header of a file.

    Raises:
        UnreadableFileError: it is empty, cut short, of another format, or of types or a codec that
            cannot be read here.
    """
    try:
        num_bytes = size_of(path)
        with open_file(path) as file:
            return AvroInfo(path, num_bytes, inspect_avro(file).schema)
    except (CorruptAvroError, OSError, TypeError, ImportError) as error:
        raise UnreadableFileError(f"cannot read {path} as Avro: {error}") from error
