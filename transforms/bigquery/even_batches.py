"""Turns answers of any size into batches of a size that models like."""

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

# The service sends some hundred kB at a time, or up to 128 MB. A model is faster on more rows, up
# to a point, and what it makes of them has to fit into memory, too.
_BATCH_ROWS: Final = 16_384
_BATCH_BYTES: Final = 8 * 2**20


def even_out(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Puts small batches together and cuts large ones, which copies nothing. Rows keep their order.

    What is given has fewer rows and bytes than twice the usual, unless single rows are larger.

    >>> rows = pa.record_batch({"x": range(40_000)})
    >>> [batch.num_rows for batch in even_out([rows, rows[:7], rows[:8]])]
    [13334, 13334, 13332, 15]
    """
    some: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        pieces = _cut(batch)
        if len(pieces) == 1:
            some.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            if rows < _BATCH_ROWS and size < _BATCH_BYTES:
                continue
            pieces = []
        if some:
            yield _one(some)
        yield from pieces
        some, rows, size = [], 0, 0
    if some:
        yield _one(some)


def _cut(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """A batch in as few pieces of about one size as it takes."""
    count = max(-(-batch.num_rows // _BATCH_ROWS), -(-batch.nbytes // _BATCH_BYTES))
    step = max(1, -(-batch.num_rows // max(1, count)))
    return [batch.slice(start, step) for start in range(0, batch.num_rows, step)]


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
