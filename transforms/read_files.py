"""Reads files into batches with row identity."""

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.typehints.decorators import no_annotations

from .metrics import RowCounter
from .parquet_files import Split, inspect_parquet, plan_splits, read_split
from .receipts import Receipt

BATCHES = "batches"
RECEIPTS = "receipts"


def match_files(pattern: str) -> list[str]:
    """The files that a path or glob names, sorted, without those that start with `_` or `.`."""
    metadata = FileSystems.match([pattern])[0].metadata_list
    paths = (entry.path for entry in metadata)
    return sorted(path for path in paths if not path.rsplit("/", 1)[-1].startswith(("_", ".")))


class ReadFiles(beam.PTransform):  # type: ignore[misc]
    """Reads the Parquet files that a path or glob names into batches.

    Row groups are read in parallel. Rows keep their order within a batch; batches of one split
    come in order. Every batch carries its row identity.

    Args:
        pattern: a path or glob on any Beam file system; it is matched when the pipeline runs.
        columns: the top-level columns to read, all if None.
    """

    def __init__(self, pattern: str, columns: tuple[str, ...] | None = None):
        super().__init__()
        self._pattern = pattern
        self._columns = columns

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Footers are read in one place, splits in parallel."""
        read = beam.ParDo(_ReadFn(self._columns)).with_outputs(RECEIPTS, main=BATCHES)
        splits = pbegin | "Pattern" >> beam.Create([self._pattern]) | "Plan" >> beam.FlatMap(_plan)
        return (splits | "Spread" >> beam.Reshuffle() | "Read" >> read)[BATCHES]


class ReadSplits(beam.PTransform):  # type: ignore[misc]
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
    return plan_splits([inspect_parquet(path) for path in match_files(pattern)])


@beam.typehints.with_output_types(pa.RecordBatch, **{RECEIPTS: Receipt})
class _ReadFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, columns: tuple[str, ...] | None):
        self._columns = columns
        self._read = RowCounter("read")

    def process(self, split: Split) -> Iterator[pa.RecordBatch]:
        rows = 0
        for batch in read_split(split, self._columns):
            rows += batch.num_rows
            self._read.add(batch.num_rows)
            yield batch
        yield beam.pvalue.TaggedOutput(RECEIPTS, Receipt("read", split.number, rows))
