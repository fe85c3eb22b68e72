"""Merges staged parts into one file, for an output that is one file."""

from collections.abc import Iterable

from .parquet_files import open_parquet
from .part_writer import PartWriter
from .receipts import Receipt


def merge_parts(parts: Iterable[Receipt], path: str) -> Receipt:
    """Turns staged Parquet parts of one kind into one file, in order of their splits; they stay.

    Args:
        parts: at least one; the schema is that of the first.
        path: a new file on any Beam file system.

    Returns:
        The receipt of the file, with the rows and codes of all.
    """
    ordered = sorted(parts, key=lambda part: (part.split, part.codes, part.path))
    first = ordered[0]
    writer: PartWriter | None = None
    try:
        for part in ordered:
            with open_parquet(str(part.path)) as parquet:
                writer = writer or PartWriter(path, parquet.schema_arrow)
                for batch in parquet.iter_batches(use_threads=False):
                    writer.write(batch)
        assert writer is not None
        writer.close()
    finally:
        if writer is not None:
            writer.abort()
    codes = tuple(code for part in ordered for code in part.codes)
    rows = sum(part.rows for part in ordered)
    return Receipt(first.kind, first.split, rows, path, codes, first.sink)
