"""Reads files into batches with row identity."""

from collections.abc import Iterator
from typing import Final, Literal

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from .match_files import match_files
from .metrics import RowCounter
from .parquet_files import ParquetInfo, Split, inspect_parquet, plan_splits, read_split
from .receipts import Receipt

BATCHES: Final = "batches"
RECEIPTS: Final = "receipts"


class ReadFiles(beam.PTransform[beam.pvalue.PBegin, beam.PCollection[pa.RecordBatch]]):
    """Reads the Parquet files that a path or glob names into batches.

    Row groups are read in parallel. Rows keep their order within a batch; batches of one split
    come in order. Every batch carries its row identity.

    Args:
        pattern: a path, glob or folder on any Beam file system; it is matched when the pipeline
            runs, which fails if there is no such file or if two of them differ in their columns.
        columns: the top-level columns to read, all if None.
    """

    def __init__(self, pattern: str, columns: tuple[str, ...] | None = None):
        super().__init__()
        self._pattern = pattern
        self._columns = columns

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[pa.RecordBatch]:
        """Footers are read in one place, splits in parallel."""
        read = beam.ParDo(_ReadFn(self._columns)).with_outputs(RECEIPTS, main=BATCHES)
        splits = pbegin | "Pattern" >> beam.Create([self._pattern]) | "Plan" >> beam.FlatMap(_plan)
        return (splits | "Spread" >> beam.Reshuffle() | "Read" >> read)[BATCHES]


class ReadSplits(beam.PTransform[beam.pvalue.PBegin, beam.pvalue.DoOutputsTuple]):
    """Reads splits that were planned before the pipeline was built.

    Gives batches under `BATCHES` and, under `RECEIPTS`, one receipt per split of the rows read.

    Args:
        splits: made by `plan_splits`.
        columns: the top-level columns to read, all if None.
    """

    def __init__(self, splits: list[Split], columns: tuple[str, ...] | None = None):
        super().__init__()
        self._splits = splits
        self._columns = columns

    @no_annotations
    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.pvalue.DoOutputsTuple:
        """`Create` spreads the splits over the workers."""
        read = beam.ParDo(_ReadFn(self._columns)).with_outputs(RECEIPTS, main=BATCHES)
        return pbegin | "Splits" >> beam.Create(self._splits) | "Read" >> read


def _plan(pattern: str) -> list[Split]:
    infos = [inspect_parquet(path) for path in match_files(pattern)]
    if not infos:
        raise FileNotFoundError(f"no file matches {pattern}")
    first = infos[0]
    for info in infos[1:]:
        if not info.schema.equals(first.schema):
            raise ValueError(
                f"all files need the same columns, but those of {first.path} and {info.path} "
                f"differ: {_columns(first)} and {_columns(info)}. Read them apart."
            )
    return plan_splits(infos)


def _columns(info: ParquetInfo) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in info.schema)


_TaggedReceipt = beam.pvalue.TaggedOutput[Literal["receipts"], Receipt]


class _ReadFn(beam.DoFn):
    def __init__(self, columns: tuple[str, ...] | None):
        self._columns = columns
        self._read = RowCounter("read")

    def process(self, split: Split) -> Iterator[pa.RecordBatch | _TaggedReceipt]:
        rows = 0
        for batch in read_split(split, self._columns):
            rows += batch.num_rows
            self._read.add(batch.num_rows)
            yield batch
        yield beam.pvalue.TaggedOutput(RECEIPTS, Receipt("read", split.number, rows))
