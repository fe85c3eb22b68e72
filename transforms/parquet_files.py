"""Parquet files: what their footers say, and how their row groups are read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from .identity import identify
from .plain_types import plain_schema
from .storage import is_local, open_file

# Knee of the batch-size picture in docs/performance.md; the variable is for that benchmark.
_MAX_BATCH_ROWS = int(os.environ.get("SCORELINE_MAX_BATCH_ROWS", 65_536))
_MAX_BATCH_BYTES = 16 * 2**20  # a row group of wide rows in fewer rows; far below Arrow's 2 GiB
# What Arrow raises, as seen on files with random bytes changed: names may not even be text.
_CORRUPT = (pa.ArrowException, OSError, UnicodeDecodeError)

# Arrow's default reads a whole row group ahead: 590 MiB instead of 204 for 5,000,000 rows of 20
# floats, and no faster here.
_READ_BUFFER_BYTES = 2**20


class UnreadableFileError(Exception):
    """An input file that is not what its name says, or is cut short."""


@dataclass(frozen=True)
class RowGroup:
    """The size of one row group: rows, bytes as stored, bytes in memory (about)."""

    num_rows: int
    stored_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class ParquetInfo:
    """What the footer of one file says."""

    path: str
    schema: pa.Schema
    row_groups: tuple[RowGroup, ...]

    @property
    def num_rows(self) -> int:
        """The rows of the file."""
        return sum(group.num_rows for group in self.row_groups)

    def ranges(self) -> Iterator[tuple["RowGroupRange", int]]:
        """One range per row group that has rows, with its weight in bytes."""
        memory = sum(group.memory_bytes for group in self.row_groups)
        row_bytes = max(1, memory // max(1, self.num_rows))
        batch_rows = max(1, min(_MAX_BATCH_ROWS, _MAX_BATCH_BYTES // row_bytes))
        first_row = 0
        for index, group in enumerate(self.row_groups):
            if group.num_rows:
                range_ = RowGroupRange(self.path, (index,), first_row, group.num_rows, batch_rows)
                yield range_, group.stored_bytes
            first_row += group.num_rows


@dataclass(frozen=True)
class RowGroupRange:
    """Consecutive row groups of one file; `first_row` counts from the start of the file."""

    path: str
    row_groups: tuple[int, ...]
    first_row: int
    num_rows: int
    batch_rows: int

    def read(self, split: int, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
        """Reads the batches of the range in order, with row identity.

        Raises:
            UnreadableFileError: a row group is corrupt.
            ValueError: a column is not there, or twice.
        """
        row = self.first_row
        try:
            for batch in _read_range(self, columns):
                yield identify(batch, self.path, row, split)
                row += batch.num_rows
        except _CORRUPT as error:
            raise UnreadableFileError(
                f"cannot read {self.path} from row {row} on (row groups "
                f"{list(self.row_groups)}): {error}"
            ) from error
        if row - self.first_row != self.num_rows:
            raise UnreadableFileError(
                f"{self.path}: the footer promises {self.num_rows} rows from row "
                f"{self.first_row} on, but {row - self.first_row} came. Was it replaced?"
            )


@contextmanager
def open_parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Opens a file on any Beam file system; local ones without a detour through Python."""
    opened = nullcontext(path) if is_local(path) else open_file(path)
    with (
        opened as file,
        pq.ParquetFile(
            file, page_checksum_verification=True, pre_buffer=False, buffer_size=_READ_BUFFER_BYTES
        ) as parquet,
    ):
        yield parquet


def inspect_parquet(path: str) -> ParquetInfo:
    """Reads the footer of a file.

    Raises:
        UnreadableFileError: the file is empty, cut short, or no Parquet file.
    """
    try:
        with open_parquet(path) as parquet:
            metadata = parquet.metadata
            groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
            schema = plain_schema(parquet.schema_arrow)
            return ParquetInfo(path, schema, tuple(map(_row_group, groups)))
    except _CORRUPT as error:
        raise UnreadableFileError(
            f"cannot read {path} as Parquet: {str(error).rstrip('.')}. It may be empty, cut short, "
            "or of another format."
        ) from error


def _row_group(group: pq.RowGroupMetaData) -> RowGroup:
    stored = sum(group.column(index).total_compressed_size for index in range(group.num_columns))
    return RowGroup(group.num_rows, stored, group.total_byte_size)


def _read_range(range_: RowGroupRange, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
    with open_parquet(range_.path) as parquet:
        names = parquet.schema_arrow.names
        check_columns(columns or (), names, range_.path)
        is_plain = plain_schema(parquet.schema_arrow).equals(parquet.schema_arrow)
        for batch in parquet.iter_batches(
            batch_size=range_.batch_rows,
            row_groups=list(range_.row_groups),
            columns=None if columns is None else list(columns),
            use_threads=False,
        ):
            if columns is not None:
                # A name with a dot also selects nested columns: keep exactly what was asked for.
                batch = batch.select(list(columns))
            if batch.num_rows:
                yield batch if is_plain else batch.cast(plain_schema(batch.schema))


def check_columns(columns: tuple[str, ...], names: list[str], path: str) -> None:
    """Checks that a file has columns: Arrow leaves out one that is not there, and takes one of two.

    Raises:
        ValueError: one is not there, or twice.
    """
    wrong = [name for name in columns if names.count(name) != 1]
    if wrong:
        raise ValueError(f"{path} has the columns {names}, but {wrong} not exactly once")
