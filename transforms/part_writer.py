"""Writes batches into one Parquet file, in a thread, so that writing overlaps with predicting."""

import queue
import threading
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .storage import create

_DEPTH = 2  # batches in hand; a writer that cannot keep up slows the bundle down


class PartWriter:
    """One Parquet file in the making. Whoever writes or closes it gets the thread's error.

    Args:
        path: a new file on any Beam file system.
        schema: of every batch; one of another schema is cast, and refused if that loses a value.
    """

    def __init__(self, path: str, schema: pa.Schema):
        self.path = path
        self._schema = schema
        self._error: BaseException | None = None
        self._waiting: queue.Queue[pa.RecordBatch | None] = queue.Queue(_DEPTH)
        self._thread = threading.Thread(target=self._work, name="scoreline-writer", daemon=True)
        self._thread.start()

    def write(self, batch: pa.RecordBatch) -> None:
        """Hands a batch to the thread; waits while two are waiting already."""
        self._raise_error()
        self._waiting.put(batch if batch.schema.equals(self._schema) else batch.cast(self._schema))

    def close(self) -> None:
        """Waits until all is written."""
        self._waiting.put(None)
        self._thread.join()
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            with create(self.path) as file, _parquet_writer(file, self._schema) as writer:
                while (batch := self._waiting.get()) is not None:
                    writer.write_batch(batch)
        except BaseException as error:  # raised again in the bundle's own thread
            self._error = error
            # Whoever is waiting in `write` or `close` must not wait for ever.
            while self._waiting.get() is not None:
                pass


def _parquet_writer(file: Any, schema: pa.Schema) -> pq.ParquetWriter:
    # Parquet's default builds a dictionary for every column and drops it where values do not
    # repeat, as floats hardly ever do: 3 times the time to write, for a larger file.
    repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
    return pq.ParquetWriter(file, schema, compression="snappy", use_dictionary=repeating)
