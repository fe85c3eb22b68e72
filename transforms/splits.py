"""Splits: the pieces of the input that workers read and parts hold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from .file_formats import FileInfo
from .prefetch import prefetch

_MAX_SPLIT_BYTES = 64 * 2**20  # as stored: a part file of a usual size, enough splits for a cluster
_MIN_FILE_BYTES = 2**20  # what opening a file costs, in bytes read: bounds the files of a split


class Range(Protocol):
    """Consecutive rows of one file."""

    @property
    def path(self) -> str:
        """The file."""

    @property
    def num_rows(self) -> int | None:
        """How many rows; None if nobody knows before they are read."""

    def read(self, split: int, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
        """Reads the batches in order, with row identity."""


@dataclass(frozen=True)
class Split:
    """Consecutive rows of the input that one worker reads and one part holds."""

    number: int
    ranges: tuple[Range, ...]

    @property
    def num_rows(self) -> int | None:
        """The rows of the split; None if that is only known when they have been read."""
        known = [range_.num_rows for range_ in self.ranges]
        return None if None in known else sum(rows for rows in known if rows is not None)


def plan_splits(files: Iterable[FileInfo], *, single: bool = False) -> list[Split]:
    """Cuts files, in order, into splits; `single` makes one split of all.

    Without a row there is one split of no rows, so that a run reads something and commits.
    """
    splits: list[Split] = []
    ranges: list[Range] = []
    size = 0
    for info in files:
        for number, (range_, stored) in enumerate(info.ranges()):
            weight = max(stored, _MIN_FILE_BYTES) if number == 0 else stored
            if ranges and not single and size + weight > _MAX_SPLIT_BYTES:
                splits.append(Split(len(splits), tuple(ranges)))
                ranges, size = [], 0
            ranges.append(range_)
            size += weight
    return [*splits, Split(len(splits), tuple(ranges))] if ranges or not splits else splits


def read_split(split: Split, columns: tuple[str, ...] | None = None) -> Iterator[pa.RecordBatch]:
    """Reads the batches of a split in order, with row identity; a thread reads ahead.

    Records of text that are malformed come as batches of their own, which say `rejected`.

    Args:
        split: made by `plan_splits`.
        columns: the top-level columns to read, all if None.

    Raises:
        UnreadableFileError: the content of a file is corrupt.
        ValueError: a column is not there, or twice.
    """
    yield from prefetch(_batches(split, columns))


def _batches(split: Split, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
    for range_ in split.ranges:
        yield from range_.read(split.number, columns)
