"""Writes batches into one file, in a thread, so that writing overlaps with predicting."""

import queue
import threading
from contextlib import closing

import pyarrow as pa

from .encoders import open_encoder, write_all
from .storage import create

_DEPTH = 2  # batches in hand; a writer that cannot keep up slows the bundle down
_POLL_SECS = 0.1  # how soon whoever waits for the thread notices that it failed


class PartWriter:
    """One file in the making, in the format that its extension names.

    Whoever writes or closes it gets the thread's error.

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
        if not self._put(cast_batch(batch, self._schema, self.path)):
            raise self._error or ValueError(f"{self.path} is closed")

    def close(self) -> None:
        """Waits until all is written."""
        self.abort()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Ends the thread, whatever became of the file; it does nothing once that has ended."""
        self._put(None)
        self._thread.join()

    def _put(self, batch: pa.RecordBatch | None) -> bool:
        """False if the thread has ended: nobody may wait for it any more."""
        while self._thread.is_alive():
            try:
                self._waiting.put(batch, timeout=_POLL_SECS)
            except queue.Full:
                continue
            return True
        return False

    def _work(self) -> None:
        try:
            with (
                create(self.path) as file,
                closing(open_encoder(self.path, file, self._schema)) as encoder,
            ):
                write_all(encoder, iter(self._waiting.get, None))
        except BaseException as error:  # raised again in the bundle's own thread
            self._error = error


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema, path: str) -> pa.RecordBatch:
    """Gives a batch the schema of its file.

    Raises:
        ValueError: that would lose a value.
    """
    if batch.schema.equals(schema):
        return batch
    try:
        if batch.schema.names == schema.names:  # a cast of floats is never called unsafe by Arrow
            for field in schema:
                _check_width(field, batch.schema.field(field.name))
        return batch.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(
            f"{path}: all batches of a file need the columns of its first one, but in a later one "
            f"they differ and cannot be cast without loss: {error}"
        ) from error


def _check_width(wanted: pa.Field, came: pa.Field) -> None:
    floats = pa.types.is_floating(wanted.type) and pa.types.is_floating(came.type)
    if floats and came.type.bit_width > wanted.type.bit_width:
        raise ValueError(f"column {wanted.name!r} came as {came.type} for {wanted.type}")
