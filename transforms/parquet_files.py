"""Parquet files: what their footers say, how they are cut into splits, and how a split is read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from .identity import identify
from .plain_types import plain_schema
from .prefetch import prefetch
from .storage import is_local, open_file

# Knee of the batch-size picture in docs/performance.md; the variable is for that benchmark.
_MAX_BATCH_ROWS = int(os.environ.get("SCORELINE_MAX_BATCH_ROWS", 65_536))
_MAX_BATCH_BYTES = 16 * 2**20  # a row group of wide rows in fewer rows; far below Arrow's 2 GiB
_MAX_SPLIT_BYTES = 64 * 2**20  # as stored: a part file of a usual size, enough splits for a cluster
_MIN_FILE_BYTES = 2**20  # what opening a file costs, in bytes read: bounds the files of a split
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


@dataclass(frozen=True)
class RowGroupRange:
    """Consecutive row groups of one file; `first_row` counts from the start of the file."""

    path: str
    row_groups: tuple[int, ...]
    first_row: int
    num_rows: int
    batch_rows: int


@dataclass(frozen=True)
class Split:
    """Consecutive rows of the input that one worker reads and one part holds."""

    number: int
    ranges: tuple[RowGroupRange, ...]

    @property
    def num_rows(self) -> int:
        """The rows of the split."""
        return sum(range_.num_rows for range_ in self.ranges)


@contextmanager
def open_parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Opens a file on any Beam file system; local ones without a detour through Python."""
    opened = nullcontext(path) if is_local(path) else open_file(path)
    with (
        opened as file,
        pq.ParquetFile(file, pre_buffer=False, buffer_size=_READ_BUFFER_BYTES) as parquet,
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
            f"cannot read {path} as Parquet: {error}. It may be empty, cut short, or of another "
            "format."
        ) from error


def _row_group(group: pq.RowGroupMetaData) -> RowGroup:
    stored = sum(group.column(index).total_compressed_size for index in range(group.num_columns))
    return RowGroup(group.num_rows, stored, group.total_byte_size)


def plan_splits(files: list[ParquetInfo], *, single: bool = False) -> list[Split]:
    """Cuts files, in order, into splits of whole row groups; `single` makes one split of all.

    Without a row there is one split of no rows, so that a run reads something and commits.
    """
    splits: list[Split] = []
    ranges: list[RowGroupRange] = []
    size = 0
    for info in files:
        for range_, stored in _ranges(info):
            if ranges and not single and size + stored > _MAX_SPLIT_BYTES:
                splits.append(Split(len(splits), tuple(ranges)))
                ranges, size = [], 0
            ranges.append(range_)
            size += stored
    return [*splits, Split(len(splits), tuple(ranges))] if ranges or not splits else splits


def _ranges(info: ParquetInfo) -> Iterator[tuple[RowGroupRange, int]]:
    """One range per row group that has rows, with its weight in bytes."""
    memory = sum(group.memory_bytes for group in info.row_groups)
    row_bytes = max(1, memory // max(1, info.num_rows))
    batch_rows = max(1, min(_MAX_BATCH_ROWS, _MAX_BATCH_BYTES // row_bytes))
    first_row = 0
    weight = max(1, _MIN_FILE_BYTES // max(1, len(info.row_groups)))
    for index, group in enumerate(info.row_groups):
        if group.num_rows:
            range_ = RowGroupRange(info.path, (index,), first_row, group.num_rows, batch_rows)
            yield range_, max(weight, group.stored_bytes)
        first_row += group.num_rows


def read_split(split: Split, columns: tuple[str, ...] | None = None) -> Iterator[pa.RecordBatch]:
    """Reads the batches of a split in order, with row identity; a thread reads ahead.

    Args:
        split: made by `plan_splits`.
        columns: the top-level columns to read, all if None.

    Raises:
        UnreadableFileError: a row group is corrupt.
        ValueError: a column is not there, or twice.
    """
    yield from prefetch(_batches(split, columns))


def _batches(split: Split, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
    for range_ in split.ranges:
        row = range_.first_row
        try:
            for batch in _read_range(range_, columns):
                yield identify(batch, range_.path, row, split.number)
                row += batch.num_rows
        except _CORRUPT as error:
            raise UnreadableFileError(
                f"cannot read {range_.path} from row {row} on (row groups "
                f"{list(range_.row_groups)}): {error}"
            ) from error
        if row - range_.first_row != range_.num_rows:
            raise UnreadableFileError(
                f"{range_.path}: the footer promises {range_.num_rows} rows from row "
                f"{range_.first_row} on, but {row - range_.first_row} came. Was it replaced?"
            )


def _read_range(range_: RowGroupRange, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
    with open_parquet(range_.path) as parquet:
        names = parquet.schema_arrow.names
        _check_columns(columns or (), names, range_.path)
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


def _check_columns(columns: tuple[str, ...], names: list[str], path: str) -> None:
    """Arrow leaves out a column that is not there, and takes the wrong one of two."""
    wrong = [name for name in columns if names.count(name) != 1]
    if wrong:
        raise ValueError(f"{path} has the columns {names}, but {wrong} not exactly once")
