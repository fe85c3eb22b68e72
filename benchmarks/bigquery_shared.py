"""What a pipeline takes from its program and gives back to it, in one process.

Beam pickles functions; those of an imported module by their name, so that they see the same lists.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

GIVEN: list[pa.RecordBatch] = []
NOTED: list[Any] = []


def given(_: object) -> Iterator[pa.RecordBatch]:
    """Gives the batches that were made before the clock started."""
    yield from GIVEN


def dicts(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Turns a batch into dicts that JSON can hold."""
    for row in batch.to_pylist():
        row["placed_at"] = row["placed_at"].isoformat()
        yield row


def note(element: object) -> None:
    """Keeps an element for the program."""
    NOTED.append(element)


def num_rows(batch: pa.RecordBatch) -> int:
    """Counts the rows of a batch."""
    return int(batch.num_rows)
