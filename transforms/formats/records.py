"""What every decoder returns: the good rows as one batch, the malformed records one by one.

Within a block of text every record has an *ordinal*: its 0-based number among the block's
records, good and malformed ones counted alike, blank lines not counted. `Decoded` accounts for
every ordinal exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

REJECTS_SCHEMA = pa.schema(
    [
        pa.field("ordinal", pa.int64(), nullable=False),
        pa.field("error_code", pa.string(), nullable=False),
        pa.field("error_class", pa.string(), nullable=False),
        pa.field("error_message", pa.string(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Reject:
    """One malformed record.

    Attributes:
        ordinal: the record's number in its block.
        error_code: snake_case reason, for counting: `malformed_json`, `wrong_type`, ...
        error_class: the Python or Arrow class of the error, for readers of logs.
        error_message: what was expected and what came.
        payload: the record's bytes as they stood in the source, without the line end.
    """

    ordinal: int
    error_code: str
    error_class: str
    error_message: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Rejects:
    """The malformed records of one block, in the order of their ordinals."""

    records: tuple[Reject, ...] = ()

    @classmethod
    def of(cls, records: Iterable[Reject]) -> Rejects:
        """Turns rejects in any order into `Rejects` in source order."""
        return cls(tuple(sorted(records, key=lambda reject: reject.ordinal)))

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Reject]:
        return iter(self.records)

    def to_batch(self) -> pa.RecordBatch:
        """Turns the rejects into one batch with `REJECTS_SCHEMA` (no rows when there are none)."""
        columns = [
            [getattr(reject, name) for reject in self.records] for name in REJECTS_SCHEMA.names
        ]
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, REJECTS_SCHEMA, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=REJECTS_SCHEMA)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The records of one block: good rows in `batch`, malformed records in `rejects`.

    Attributes:
        batch: the good rows in source order; None when there is none (a batch is never empty).
        ordinals: `ordinals[i]` is the ordinal of row i of `batch`; strictly increasing.
        rejects: the malformed records; their ordinals and `ordinals` together are
            0 .. num_records - 1, each exactly once.
    """

    batch: pa.RecordBatch | None
    ordinals: pa.Int64Array
    rejects: Rejects = Rejects()

    def __post_init__(self) -> None:
        num_rows = 0 if self.batch is None else self.batch.num_rows
        if num_rows != len(self.ordinals) or (self.batch is not None and num_rows == 0):
            raise ValueError(
                f"expected one ordinal per row, got {len(self.ordinals)} for {num_rows} rows"
            )

    @property
    def num_records(self) -> int:
        """The number of records in the block, good and malformed."""
        return len(self.ordinals) + len(self.rejects)


@dataclass(frozen=True, slots=True)
class Part:
    """Some good rows of a block: `batch` row i is the record with number `ordinals[i]`."""

    ordinals: npt.NDArray[np.int64]
    batch: pa.RecordBatch


def assemble(parts: Sequence[Part], rejects: Iterable[Reject]) -> Decoded:
    """Turns parts of a block, in any order, into one `Decoded` in source order.

    >>> late = pa.RecordBatch.from_pydict({"x": [2]})
    >>> early = pa.RecordBatch.from_pydict({"x": [0, 1]})
    >>> decoded = assemble([Part(np.array([3]), late), Part(np.array([0, 1]), early)], [])
    >>> decoded.batch.column("x").to_pylist(), decoded.ordinals.to_pylist()
    ([0, 1, 2], [0, 1, 3])
    """
    parts = [part for part in parts if part.batch.num_rows]
    if not parts:
        return Decoded(None, pa.array([], pa.int64()), Rejects.of(rejects))
    ordinals = np.concatenate([part.ordinals for part in parts]).astype(np.int64, copy=False)
    batch = concatenated([part.batch for part in parts])
    if (np.diff(ordinals) < 0).any():
        order = np.argsort(ordinals, kind="stable")
        ordinals, batch = ordinals[order], batch.take(pa.array(order))
    return Decoded(batch, pa.array(ordinals), Rejects.of(rejects))


def concatenated(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Turns non-empty batches of one schema into one batch."""
    if len(batches) == 1:
        return batches[0]
    return pa.concat_batches(batches)
