"""Reads files into batches with row identity."""

from collections.abc import Iterator, Mapping
from itertools import count, groupby
from typing import Final, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.decorators import no_annotations

from scoreline.models.reserved import OFFSET_KEY, POSITION, REJECTED_KEY, metadata_of

from .dead_letters import Reasons, raw_dead_letters
from .file_formats import FileFormat, format_of, inspector
from .formats.csv_dialect import CsvDialect
from .identity import source_of
from .match_files import match_files
from .metrics import RowCounter
from .outcome import DEAD_LETTERS, TaggedDeadLetters
from .receipts import Receipt
from .schemas import with_one_schema
from .splits import Split, plan_splits, read_split

BATCHES: Final = "batches"
RECEIPTS: Final = "receipts"


class ReadFiles(beam.PTransform[beam.pvalue.PBegin, beam.pvalue.DoOutputsTuple]):
    """Reads the files that a path, glob or folder names.

    Gives batches under `BATCHES` and, under `DEAD_LETTERS`, the records of text files that could
    not be decoded. Files are read in parallel, large ones in pieces. Rows keep their order within a
    batch; batches of one split come in order. Every batch carries its row identity.

    Args:
        pattern: a path, glob or folder on any Beam file system; it is matched when the pipeline
            runs, which fails if there is no such file or if two of them differ in their columns.
        columns: the top-level columns to read, all if None.
        format: of the files; told from their extensions if None.
        dialect: of CSV files.
        run_id: stands on every dead letter.
    """

    def __init__(
        self,
        pattern: str,
        columns: tuple[str, ...] | None = None,
        *,
        format: FileFormat | None = None,  # noqa: A002  the field's word, as in the job file
        dialect: CsvDialect | None = None,
        run_id: str = "",
    ):
        super().__init__()
        self._pattern = pattern
        self._plan = _Plan(format, dialect or CsvDialect())
        self._read = _ReadFn(columns, {}, None, run_id)

    @no_annotations
    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.pvalue.DoOutputsTuple:
        """Heads are read in one place, splits in parallel."""
        pattern = pbegin | "Pattern" >> beam.Create([self._pattern])
        splits = pattern | "Plan" >> beam.FlatMap(self._plan) | "Spread" >> beam.Reshuffle()
        return splits | "Read" >> beam.ParDo(self._read).with_outputs(
            RECEIPTS, DEAD_LETTERS, main=BATCHES
        )


class ReadSplits(beam.PTransform[beam.pvalue.PBegin, beam.pvalue.DoOutputsTuple]):
    """Reads splits that were planned before the pipeline was built.

    Gives batches under `BATCHES`, dead letters of malformed records under `DEAD_LETTERS`, and one
    receipt per split of the rows read under `RECEIPTS`.

    Args:
        splits: made by `plan_splits`.
        columns: the top-level columns to read, by their names in the files; all if None.
        rename: new names of columns, by their names in the files.
        limit: how many rows to read of each split, at least 1; all if None.
        run_id: stands on every dead letter.

    Raises:
        ValueError: a limit below 1.
    """

    def __init__(
        self,
        splits: list[Split],
        columns: tuple[str, ...] | None = None,
        *,
        rename: Mapping[str, str] | None = None,
        limit: int | None = None,
        run_id: str = "",
    ):
        super().__init__()
        if limit is not None and limit < 1:
            raise ValueError(f"limit: expected at least 1 row, got {limit}")
        self._splits = splits
        self._read = _ReadFn(columns, dict(rename or {}), limit, run_id)

    @no_annotations
    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.pvalue.DoOutputsTuple:
        """`Create` spreads the splits over the workers."""
        return (
            pbegin
            | "Splits" >> beam.Create(self._splits)
            | "Read" >> beam.ParDo(self._read).with_outputs(RECEIPTS, DEAD_LETTERS, main=BATCHES)
        )


class _Plan:
    """Turns a pattern into splits, where the pipeline runs."""

    def __init__(self, format_: FileFormat | None, dialect: CsvDialect):
        self._format = format_
        self._dialect = dialect

    def __call__(self, pattern: str) -> list[Split]:
        paths = match_files(pattern)
        if not paths:
            raise FileNotFoundError(f"no file matches {pattern}")
        inspect = inspector(self._format or _common_format(paths), self._dialect)
        return plan_splits(with_one_schema([inspect(path) for path in paths]))


def _common_format(paths: list[str]) -> FileFormat:
    found = {format_of(path): path for path in reversed(paths)}
    if None in found:
        raise ValueError(f"the extension of {found[None]} names no format: give it as `format`")
    if len(found) > 1:
        raise ValueError(f"files of several formats, such as {sorted(found.values())[:2]}")
    return next(format_ for format_ in found if format_ is not None)


_TaggedReceipt = beam.pvalue.TaggedOutput[Literal["receipts"], Receipt]


class _ReadFn(beam.DoFn):
    def __init__(
        self,
        columns: tuple[str, ...] | None,
        rename: dict[str, str],
        limit: int | None,
        run_id: str,
    ):
        self._columns = columns
        self._rename = rename
        self._limit = limit
        self._run_id = run_id
        self._read = RowCounter("read")
        self._dead_lettered = RowCounter("dead_lettered")

    def process(
        self, split: Split
    ) -> Iterator[pa.RecordBatch | TaggedDeadLetters | _TaggedReceipt]:
        rows = 0
        for batch in _up_to(read_split(split, self._columns), self._limit):
            rows += batch.num_rows
            self._read.add(batch.num_rows)
            if metadata_of(batch, REJECTED_KEY):
                self._dead_lettered.add(batch.num_rows)
                yield _tagged(_dead_letters(batch, self._run_id))
            else:
                yield _renamed(batch, self._rename)
        yield _tagged_receipt(Receipt("read", split.number, rows))


def _tagged(dead_letters: pa.RecordBatch) -> TaggedDeadLetters:
    return beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)


def _tagged_receipt(receipt: Receipt) -> _TaggedReceipt:
    return beam.pvalue.TaggedOutput(RECEIPTS, receipt)


def _up_to(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    """The first rows, as they stand in the file: a block's malformed records come behind its rows.

    >>> rows = [pa.record_batch({"x": [1, 2]}), pa.record_batch({"x": [3, 4]})]
    >>> [batch.num_rows for batch in _up_to(iter(rows), 3)]
    [2, 1]
    """
    if limit is None:
        yield from batches
        return
    for _, block in groupby(batches, _BlockKey()):
        parts = list(block)
        first = _first_of_block(parts, limit)
        yield from first
        limit -= sum(part.num_rows for part in first)
        if limit == 0:
            return


class _BlockKey:
    """Tells the blocks of text apart; batches of other files are blocks of their own."""

    def __init__(self) -> None:
        self._others = count()

    def __call__(self, batch: pa.RecordBatch) -> tuple[str, str | int]:
        return source_of(batch), metadata_of(batch, OFFSET_KEY) or next(self._others)


def _first_of_block(parts: list[pa.RecordBatch], limit: int) -> list[pa.RecordBatch]:
    if len(parts) == 1:
        return [parts[0].slice(0, limit)]
    ordinals = np.sort(np.concatenate([part.column(POSITION).to_numpy() for part in parts]))
    last = ordinals[min(limit, len(ordinals)) - 1]
    kept = [part.filter(pc.less_equal(part.column(POSITION), last)) for part in parts]
    return [part for part in kept if part.num_rows]


def _renamed(batch: pa.RecordBatch, rename: Mapping[str, str]) -> pa.RecordBatch:
    if not rename:
        return batch
    fields = [field.with_name(rename.get(field.name, field.name)) for field in batch.schema]
    schema = pa.schema(fields, batch.schema.metadata)  # rename_columns would lose the metadata
    return pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _dead_letters(rejected: pa.RecordBatch, run_id: str) -> pa.RecordBatch:
    reasons = Reasons(
        "decode",
        codes=rejected.column("error_code").to_pylist(),
        classes=rejected.column("error_class").to_pylist(),
        messages=rejected.column("error_message").to_pylist(),
    )
    return raw_dead_letters(rejected, reasons, run_id)
