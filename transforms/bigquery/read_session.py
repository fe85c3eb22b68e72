"""Reads a table's snapshot as Arrow batches: read sessions of the Storage API and their streams."""

import random
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

from .credentials import charged_project
from .errors import BigQueryError, explain, in_words
from .names import TableName
from .storage_channel import routed, storage_channel

_SERVICE: Final = "/google.cloud.bigquery.storage.v1.BigQueryRead"
_CREATE_SECS: Final = 120.0  # the service plans the streams meanwhile
_STALL_SECS: Final = 120.0  # without an answer that somebody waits for: the connection is dead
_GIVE_UP_SECS: Final = 600.0  # without a row: an outage is longer than a job should hang
_CLOCK_SECS: Final = 600.0  # what our clock and the service's may differ by
_FIRST_PAUSE_SECS: Final = 0.1
_MAX_PAUSE_SECS: Final = 15.0

# After these a stream goes on at its offset. CANCELLED is our own doing, after a stall.
_BROKEN: Final = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)

_CreateRequest = types.CreateReadSessionRequest.pb()
_Session = types.ReadSession.pb()
_RowsRequest = types.ReadRowsRequest.pb()
_RowsResponse = types.ReadRowsResponse.pb()


@dataclass(frozen=True)
class ReadSession:
    """A snapshot of a table, cut into streams that can be read at the same time, for six hours.

    Attributes:
        schema: of the batches, serialised.
        streams: their names; each row is in one of them.
        num_bytes: of all rows, about; 0 if the service does not say.
        expires_at: the time (seconds since 1970) after which the service refuses to go on; None if
            it does not say. Six hours as of 2026-11.
    """

    schema: bytes
    streams: tuple[str, ...]
    num_bytes: int
    expires_at: float | None = None


def create_session(
    table: TableName,
    columns: Sequence[str] | None = None,
    row_filter: str | None = None,
    *,
    max_streams: int = 1,
) -> ReadSession:
    """Has the service take a snapshot of a table, and cut it into streams.

    Args:
        table: of rows, no view.
        columns: top-level columns; all if None.
        row_filter: a condition in SQL, as it stands after WHERE.
        max_streams: at most so many; the service gives fewer of a small table.

    Raises:
        BigQueryError: the table may not be read, or the filter is none.
    """
    options = types.ReadSession.TableReadOptions.pb()(
        selected_fields=list(columns or ()), row_restriction=row_filter or ""
    )
    wanted = _Session(
        table=table.path, data_format=int(types.DataFormat.ARROW), read_options=options
    )
    with in_words("read", table):
        request = _CreateRequest(
            parent=f"projects/{charged_project(table.project)}",
            read_session=wanted,
            max_stream_count=max_streams,
        )
        session = _created(request, table)
    return ReadSession(
        schema=session.arrow_schema.serialized_schema,
        streams=tuple(stream.name for stream in session.streams),
        num_bytes=session.estimated_total_bytes_scanned,
        expires_at=float(session.expire_time.seconds) or None,
    )


def _created(request: Any, table: TableName) -> Any:
    """A session that nobody reads costs nothing, so a lost answer is asked for again."""
    create = storage_channel().unary_unary(
        f"{_SERVICE}/CreateReadSession",
        request_serializer=_CreateRequest.SerializeToString,
        response_deserializer=_Session.FromString,
    )
    metadata = routed("read_session.table", table.path)
    patience = _Patience(_CREATE_SECS)
    while True:
        try:
            return create(request, timeout=_CREATE_SECS, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() not in _BROKEN or not patience.wait():
                raise


def read_stream(
    stream: str,
    schema: bytes,
    *,
    expires_at: float | None = None,
    stall_secs: float = _STALL_SECS,
    give_up_secs: float = _GIVE_UP_SECS,
) -> Iterator[pa.RecordBatch]:
    """Reads the batches of a stream in order; where it breaks, it goes on at its offset.

    Args:
        stream: its name.
        schema: of the session.
        expires_at: of the session, to say so when that is why a read fails.
        stall_secs: how long to wait for an answer before the connection is given up.
        give_up_secs: how long to go on trying without a row.

    Raises:
        BigQueryError: the session has expired, or the service did not answer for too long.
    """
    decoded = pa.ipc.read_schema(pa.py_buffer(schema))
    row = 0
    patience = _Patience(give_up_secs)
    while True:
        try:
            with closing(_responses(stream, row, stall_secs)) as responses:
                for response in responses:
                    message = pa.py_buffer(response.arrow_record_batch.serialized_record_batch)
                    batch = pa.ipc.read_record_batch(message, decoded)
                    patience.renew()
                    row += batch.num_rows
                    if batch.num_rows:
                        yield batch
            return
        except grpc.RpcError as error:
            if error.code() not in _BROKEN or not patience.wait():
                expiry = _expiry(error, expires_at)
                said = explain(error, "read", f"{stream} after row {row}", expiry)
                raise BigQueryError(said) from error


def _expiry(error: grpc.RpcError, expires_at: float | None) -> str | None:
    """That a session has expired, if that is why a read failed: the service may not say it."""
    if expires_at is None:
        return None
    is_gone = error.code() == grpc.StatusCode.NOT_FOUND
    if time.time() < expires_at - (_CLOCK_SECS if is_gone else 0):
        return None
    at = datetime.fromtimestamp(expires_at, UTC)
    return (
        f"the snapshot of the table could be read until {at:%Y-%m-%d %H:%M} UTC: BigQuery keeps "
        "one for some hours. Start again with more workers, with a filter (--row-filter), or with "
        "smaller pieces of the table in several runs"
    )


def _responses(stream: str, offset: int, stall_secs: float) -> Generator[Any, None, None]:
    """The answers of one connection, which ends when nobody wants more or nothing comes."""
    read = storage_channel().unary_stream(
        f"{_SERVICE}/ReadRows",
        request_serializer=_RowsRequest.SerializeToString,
        response_deserializer=_RowsResponse.FromString,
    )
    request = _RowsRequest(read_stream=stream, offset=offset)
    call = read(request, metadata=routed("read_stream", stream))
    watch = _Watch(call, stall_secs)
    try:
        while True:
            with watch:
                response = next(call, None)
            if response is None:
                return
            if response.HasField("arrow_record_batch"):
                yield response
    finally:
        watch.stop()
        call.cancel()


class _Watch:
    """Cancels a call when somebody has waited too long for its next answer.

    A deadline of the whole call would also count the time in which the consumer is busy: a model
    may well work for an hour on one stream.
    """

    def __init__(self, call: Any, secs: float):
        self._call = call
        self._secs = secs
        self._since: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="scoreline-watch", daemon=True)
        self._thread.start()

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._secs / 4):
            since = self._since
            if since is not None and time.monotonic() - since > self._secs:
                self._call.cancel()
                return


class _Patience:
    """Pauses between attempts that grow, until some seconds have brought nothing."""

    def __init__(self, secs: float):
        self._secs = secs
        self.renew()

    def renew(self) -> None:
        """Something came: from here on the seconds count anew."""
        self._failing_since: float | None = None
        self._pause = _FIRST_PAUSE_SECS

    def wait(self) -> bool:
        """Waits for a while; False at once if that would be too long in all."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if now + self._pause - self._failing_since > self._secs:
            return False
        time.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(2 * self._pause, _MAX_PAUSE_SECS)
        return True
