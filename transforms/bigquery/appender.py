"""Appends batches to a write stream, until every row is appended or refused."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import grpc
import numpy as np
import pyarrow as pa

from ..trouble import Trouble
from .append_connection import AppendConnection, NoAnswerError
from .append_failures import AppendFailure, answered, lost
from .append_requests import MAX_ROWS_BYTES, append_request, cut, schema_bytes
from .errors import BigQueryError, explain
from .names import TableName
from .wire_rows import Misfit, WireCast

# A connection takes some MB a second, and answers within a second or so: more would only be memory.
_MAX_BYTES_OUT = 24_000_000
_MAX_REQUESTS_OUT = 100
_ANSWER_SECS = 60.0  # the first append to a stream has been seen to take 25 s
_MAX_BROKEN = 100  # connections in a row that BigQuery ends because of what rows hold
# A request that is refused as a whole is cut into so many parts, again and again; see
# models/scoring.py for why four.
_PARTS = 4
# Somebody may mend these while a stream waits.
_WAITABLE = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)


@dataclass(frozen=True)
class Refused:
    """Rows that BigQuery does not take.

    Attributes:
        rows: of the batches that came with those to append.
        code: `row_refused`, `row_too_large` or `unsafe_cast`.
        error_class: the name of the status, or of what is wrong.
        messages: why, for each row.
    """

    rows: pa.RecordBatch
    code: str
    error_class: str
    messages: list[str]


@dataclass(eq=False)
class _Request:
    """Rows on their way. `rows` holds them serialised until they are sent for the first time."""

    wire: pa.RecordBatch
    origin: pa.RecordBatch
    rows: pa.Buffer | None = None
    num_bytes: int = 0
    offset: int = 0

    @property
    def num_rows(self) -> int:
        return self.wire.num_rows

    def parts(self) -> list["_Request"]:
        step = -(-self.num_rows // _PARTS)
        starts = range(0, self.num_rows, step)
        return [_Request(self.wire.slice(i, step), self.origin.slice(i, step)) for i in starts]

    def without(self, rows: Iterable[int]) -> list["_Request"]:
        """The other rows as a request; none if there are no others."""
        kept = _others(self.num_rows, rows)
        return [_Request(self.wire.take(kept), self.origin.take(kept))] if len(kept) else []


class Appender:
    """One write stream and the requests on their way to it.

    With offsets each row is appended exactly once, whatever becomes of requests and answers: an
    append that is repeated finds its rows there. Without, an append whose answer was lost is
    repeated all the same.

    Args:
        table: that the stream is of, for errors.
        stream: its full name.
        offsets: whether to say where in the stream each row belongs. Nobody else may append then.
        retry_secs: how long to try while nothing is appended.
        on_accepted: is called with the rows that were appended, as they came with them.
        on_trouble: is called with a reason when an append is tried again, and with an empty one
            when it succeeds after that.
    """

    def __init__(
        self,
        table: TableName,
        stream: str,
        *,
        offsets: bool,
        retry_secs: float,
        on_accepted: Callable[[pa.RecordBatch], None],
        on_trouble: Callable[[str], None] | None = None,
    ):
        self._table = table
        self._stream = stream
        self._offsets = offsets
        self._retry_secs = retry_secs
        self._on_accepted = on_accepted
        self._on_trouble = on_trouble
        self._cast = WireCast()
        self._trouble = Trouble(str(table))
        self._connection: AppendConnection | None = None
        self._sent_schema: pa.Schema | None = None  # of the last request
        self._known_schema: pa.Schema | None = None  # of the last one that was accepted
        self._waiting: deque[_Request] = deque()
        self._out: deque[_Request] = deque()  # sent and not answered, in order
        self._bytes_out = 0
        self._next = 0  # the offset of the next row to be sent
        self._broken = 0
        self._refused: list[Refused] = []

    def append(self, columns: pa.RecordBatch, origin: pa.RecordBatch) -> list[Refused]:
        """Has rows appended; waits while too much is on its way.

        Args:
            columns: what is appended.
            origin: as many rows, which are given back with what became of them.

        Returns:
            What is known by now of refused rows, of this and of earlier batches.

        Raises:
            BigQueryError: the stream takes no rows at all, or did not for too long.
        """
        wire, misfits = self._cast.rows(columns)
        if misfits:
            self._refuse_misfits(origin, misfits)
            origin = origin.take(_others(origin.num_rows, (misfit.row for misfit in misfits)))
        for piece in cut(wire) if wire.num_rows else ():
            length = piece.stop - piece.start
            request = _Request(
                wire.slice(piece.start, length), origin.slice(piece.start, length), piece.rows
            )
            if piece.rows.size > MAX_ROWS_BYTES:
                self._refuse_too_large(request.origin, piece.rows.size)
            else:
                self._waiting.append(request)
                self._pump(_MAX_BYTES_OUT)
        return self._take_refused()

    def flush(self) -> list[Refused]:
        """Waits until all rows are appended or refused; gives those that are.

        Raises:
            BigQueryError: as `append`.
        """
        self._pump(-1)
        return self._take_refused()

    def close(self) -> None:
        """Ends the connection; all was flushed or abandoned. Another append makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abandon(self) -> None:
        """Forgets what is on its way, and what became of it: nobody waits for it any more."""
        if self._out:
            self._drop_connection()
        self._waiting.clear()
        self._refused = []

    def _pump(self, max_bytes_out: int) -> None:
        """Sends what waits, and takes answers until no more than so much is on its way."""
        while True:
            while self._waiting and not self._is_full():
                self._send(self._waiting.popleft())
            if not self._out:
                return
            has_answer = self._connection is not None and self._connection.has_answer()
            if not has_answer and not self._waiting and self._bytes_out <= max_bytes_out:
                return
            self._receive()

    def _is_full(self) -> bool:
        return self._bytes_out > _MAX_BYTES_OUT or len(self._out) >= _MAX_REQUESTS_OUT

    def _send(self, request: _Request) -> None:
        connection = self._connect()
        rows = request.wire.serialize() if request.rows is None else request.rows
        schema = self._unknown_schema(request.wire.schema)
        request.offset, self._next = self._next, self._next + request.num_rows
        offset = request.offset if self._offsets else None
        connection.send(append_request(self._stream, offset, schema, rows))
        request.rows, request.num_bytes = None, rows.size
        self._out.append(request)
        self._bytes_out += request.num_bytes

    def _unknown_schema(self, schema: pa.Schema) -> bytes:
        """The schema, serialised, unless the connection surely knows it; then nothing.

        Not every server keeps the schema of a request that it refuses.
        """
        is_known = all(
            known is not None and schema.equals(known)
            for known in (self._sent_schema, self._known_schema)
        )
        self._sent_schema = schema
        return b"" if is_known else schema_bytes(schema)

    def _connect(self) -> AppendConnection:
        """BigQuery ends a connection that is idle for too long: that is no trouble."""
        if self._connection is not None and not self._out and not self._connection.is_open:
            self._drop_connection()
        if self._connection is None:
            self._connection = AppendConnection(self._stream)
            self._sent_schema = self._known_schema = None
        return self._connection

    def _receive(self) -> None:
        assert self._connection is not None
        try:
            answer = self._connection.receive(_ANSWER_SECS)
        except (grpc.RpcError, NoAnswerError) as error:
            self._restart(lost(error))
            return
        failure = answered(answer)
        request = self._out.popleft()
        self._bytes_out -= request.num_bytes
        if failure is None or self._was_there(failure):
            self._accept(request)
        else:
            self._fail(request, failure)

    def _was_there(self, failure: AppendFailure) -> bool:
        """Whether the rows had been appended before, and only the answer was lost."""
        return self._offsets and failure.status == grpc.StatusCode.ALREADY_EXISTS

    def _accept(self, request: _Request) -> None:
        self._broken = 0
        self._known_schema = request.wire.schema
        if self._trouble.reason:
            self._trouble.succeeded()
            self._tell("")
        self._on_accepted(request.origin)

    def _fail(self, request: _Request, failure: AppendFailure) -> None:
        """With offsets, what was sent behind these rows leaves a gap, and is refused as well."""
        behind = self._await_the_rest() if self._offsets else []
        self._next = request.offset
        self._send_again([*self._resolve(request, failure), *behind])

    def _await_the_rest(self) -> list[_Request]:
        """Takes all further answers, so that no earlier request can come in between later ones."""
        assert self._connection is not None
        behind = list(self._out)
        try:
            for _ in behind:
                self._connection.receive(_ANSWER_SECS)
        except (grpc.RpcError, NoAnswerError):
            self._drop_connection()
        self._out.clear()
        self._bytes_out = 0
        return behind

    def _restart(self, failure: AppendFailure) -> None:
        """Sends again what was not answered when a connection ended."""
        first, *behind = self._out
        self._drop_connection()
        self._next = first.offset
        if failure.is_of_rows and not failure.is_of_all:
            self._broken += 1
            if self._broken > _MAX_BROKEN:
                raise self._given_up(failure)
        self._send_again([*self._resolve(first, failure), *behind])

    def _send_again(self, requests: list[_Request]) -> None:
        self._waiting.extendleft(reversed(requests))

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.cancel()
            self._connection = None
        self._out.clear()
        self._bytes_out = 0

    def _resolve(self, request: _Request, failure: AppendFailure) -> list[_Request]:
        """What is left to send of a request that failed, when it is time to send it."""
        if not failure.is_of_rows:
            self._wait(failure)
            return [request]
        at_fault = {row: why for row, why in failure.row_errors.items() if row < request.num_rows}
        if failure.is_of_all or (not at_fault and request.num_rows == 1):
            at_fault = dict.fromkeys(range(request.num_rows), failure.message)
        if not at_fault:
            return request.parts()
        self._refuse_rows(request, at_fault, failure.status.name)
        return request.without(at_fault)

    def _wait(self, failure: AppendFailure) -> None:
        """Waits until an append may be tried again; raises if that is no use."""
        if not failure.is_transient and (self._offsets or failure.status not in _WAITABLE):
            raise self._given_up(failure)
        wait_secs = self._trouble.failed(failure.reason)
        if self._trouble.secs() + wait_secs > self._retry_secs:
            raise BigQueryError(
                f"{self._table} took no rows for {self._retry_secs:g} s: {failure.reason}"
            ) from failure.error
        self._tell(failure.reason)
        time.sleep(wait_secs)

    def _tell(self, reason: str) -> None:
        if self._on_trouble is not None:
            self._on_trouble(reason)

    def _given_up(self, failure: AppendFailure) -> BigQueryError:
        error = BigQueryError(explain(failure.error, "write to", self._table))
        error.__cause__ = failure.error
        return error

    def _refuse_rows(self, request: _Request, at_fault: Mapping[int, str], status: str) -> None:
        rows = sorted(at_fault)
        messages = [at_fault[row] for row in rows]
        refused = request.origin.take(pa.array(rows, pa.int64()))
        self._refused.append(Refused(refused, "row_refused", status, messages))

    def _refuse_misfits(self, origin: pa.RecordBatch, misfits: list[Misfit]) -> None:
        rows = origin.take(pa.array([misfit.row for misfit in misfits]))
        messages = [misfit.message for misfit in misfits]
        self._refused.append(Refused(rows, "unsafe_cast", "ArrowInvalid", messages))

    def _refuse_too_large(self, row: pa.RecordBatch, num_bytes: int) -> None:
        message = (
            f"it has {num_bytes:,} bytes, a request to BigQuery at most {MAX_ROWS_BYTES:,}: keep "
            "fewer columns"
        )
        self._refused.append(Refused(row, "row_too_large", "RowTooLarge", [message]))

    def _take_refused(self) -> list[Refused]:
        refused, self._refused = self._refused, []
        return refused


def _others(num_rows: int, rows: Iterable[int]) -> pa.Array:
    """The numbers of all rows but some."""
    is_other = np.ones(num_rows, bool)
    is_other[list(rows)] = False
    return pa.array(np.flatnonzero(is_other))
