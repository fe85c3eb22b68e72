"""Rows that are on their way to a table, and what is left of them when some are refused."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

# A request that is refused as a whole is cut into so many parts, again and again; see
# models/scoring.py for why four.
_PARTS = 4


@dataclass(eq=False)
class Request:
    """Rows on their way.

    Attributes:
        wire: the columns that are sent.
        origin: the rows as they came, perhaps with many more columns.
        num_bytes: of memory that they hold until they are answered for.
        rows: `wire` serialised, until it is sent for the first time.
        offset: where in the stream they belong, once they are sent.
    """

    wire: pa.RecordBatch
    origin: pa.RecordBatch
    num_bytes: int
    rows: pa.Buffer | None = None
    offset: int = 0

    @property
    def num_rows(self) -> int:
        """How many rows they are."""
        return self.wire.num_rows

    def parts(self) -> list["Request"]:
        """The same rows in several requests."""
        step = -(-self.num_rows // _PARTS)
        size = -(-self.num_bytes // _PARTS)
        starts = range(0, self.num_rows, step)
        return [Request(self.wire.slice(i, step), self.origin.slice(i, step), size) for i in starts]

    def without(self, rows: Iterable[int]) -> list["Request"]:
        """The other rows as a request; none if there are no others."""
        kept = others(self.num_rows, rows)
        if not len(kept):
            return []
        return [Request(self.wire.take(kept), self.origin.take(kept), self.num_bytes)]


def others(num_rows: int, rows: Iterable[int]) -> pa.Array:
    """The numbers of all rows but some."""
    is_other = np.ones(num_rows, bool)
    is_other[list(rows)] = False
    return pa.array(np.flatnonzero(is_other))
