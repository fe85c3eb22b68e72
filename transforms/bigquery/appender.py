"""Appends batches to a write stream, until every row is appended or refused."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc
import pyarrow as pa

from ..trouble import Trouble
from .append_connection import AppendConnection, NoAnswerError
from .append_failures import AppendFailure, answered, lost
from .append_requests import MAX_ROWS_BYTES, append_request, cut, schema_bytes
from .append_rows import Request, others
from .errors import BigQueryError, explain
from .names import TableName
from .wire_rows import Misfit, WireCast

# A connection takes some MB a second, and answers within a second or so: more would only be memory.
# It is that of the rows as they came, which are kept until they are answered for.
_MAX_BYTES_OUT = 24_000_000
_MAX_REQUESTS_OUT = 100
_ANSWER_SECS = 60.0  # the first append to a stream has been seen to take 25 s
_MAX_BROKEN = 100  # connections in a row that BigQuery ends because of what rows hold
_MAX_ALONE = 1_000  # rows in a row that are refused one by one, and none taken
# A column that was just added takes minutes until the service's own copies of the schema have it.
_SCHEMA_SECS = 300.0
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
        self._waiting: deque[Request] = deque()
        self._out: deque[Request] = deque()  # sent and not answered, in order
        self._bytes_out = 0
        self._next = 0  # the offset of the next row to be sent
        self._broken = 0
        self._alone = 0  # rows refused one by one since any was taken
        self._lacking_since: float | None = None  # when the table was first said to lack a column
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
            origin = origin.take(others(origin.num_rows, (misfit.row for misfit in misfits)))
        bytes_per_row = origin.nbytes / max(1, origin.num_rows)
        for piece in cut(wire) if wire.num_rows else ():
            length = piece.stop - piece.start
            request = Request(
                wire.slice(piece.start, length),
                origin.slice(piece.start, length),
                max(piece.rows.size, int(bytes_per_row * length)),
                piece.rows,
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
        if self._lacking_since is not None:
            return bool(self._out)  # one at a time, until one is taken
        return self._bytes_out > _MAX_BYTES_OUT or len(self._out) >= _MAX_REQUESTS_OUT

    def _send(self, request: Request) -> None:
        connection = self._connect()
        rows = request.wire.serialize() if request.rows is None else request.rows
        schema = self._unknown_schema(request.wire.schema)
        request.offset, self._next = self._next, self._next + request.num_rows
        offset = request.offset if self._offsets else None
        connection.send(append_request(self._stream, offset, schema, rows))
        request.rows = None
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

    def _accept(self, request: Request) -> None:
        self._broken = self._alone = 0
        self._lacking_since = None
        self._known_schema = request.wire.schema
        if self._trouble.reason:
            self._trouble.succeeded()
            self._tell("")
        self._on_accepted(request.origin)

    def _fail(self, request: Request, failure: AppendFailure) -> None:
        """With offsets, what was sent behind these rows leaves a gap, and is refused as well."""
        behind = self._await_the_rest() if self._offsets else []
        self._next = request.offset
        self._send_again([*self._resolve(request, failure), *behind])

    def _await_the_rest(self) -> list[Request]:
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

    def _send_again(self, requests: list[Request]) -> None:
        self._waiting.extendleft(reversed(requests))

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.cancel()
            self._connection = None
        self._out.clear()
        self._bytes_out = 0

    def _resolve(self, request: Request, failure: AppendFailure) -> list[Request]:
        """What is left to send of a request that failed, when it is time to send it."""
        if not failure.is_of_rows:
            self._wait(failure)
            return [request]
        if failure.is_of_all:
            return self._without_columns(request, failure)
        at_fault = {row: why for row, why in failure.row_errors.items() if row < request.num_rows}
        if not at_fault and request.num_rows > 1:
            return request.parts()
        if not at_fault:
            self._count_alone(failure)
            at_fault = {0: failure.message}
        self._refuse_rows(request, at_fault, failure.status.name)
        return request.without(at_fault)

    def _without_columns(self, request: Request, failure: AppendFailure) -> list[Request]:
        """What is left to send of rows with a column that the table lacks, or seems to lack.

        The columns were compared before the start. So it was added a moment ago, and is not known
        everywhere yet; or it was removed since, and waiting does not help.
        """
        if self._lacking_since is None:
            self._lacking_since = time.monotonic()
        if time.monotonic() - self._lacking_since < min(_SCHEMA_SECS, self._retry_secs):
            if not self._out:
                self._pause(f"{failure.reason} (a new column takes minutes to be known everywhere)")
                self._drop_connection()  # it may have the old columns as long as it is open
            return [request]
        at_fault = dict.fromkeys(range(request.num_rows), failure.message)
        self._refuse_rows(request, at_fault, failure.status.name)
        return []

    def _count_alone(self, failure: AppendFailure) -> None:
        """Raises if row after row is refused by itself: a run would take days to find them all.

        A stream goes on: what comes next may be good.
        """
        self._alone += 1
        if self._offsets and self._alone > _MAX_ALONE:
            raise BigQueryError(
                f"{self._table} refused {_MAX_ALONE:,} rows one after the other and took none in "
                f"between: {failure.message}. Compare its columns to what is written (scoreline "
                "check shows it)"
            ) from failure.error

    def _wait(self, failure: AppendFailure) -> None:
        """Waits until an append may be tried again; raises if that is no use."""
        if not failure.is_transient and (self._offsets or failure.status not in _WAITABLE):
            raise self._given_up(failure)
        if self._trouble.secs() + self._trouble.failed(failure.reason) > self._retry_secs:
            raise BigQueryError(
                f"{self._table} took no rows for {self._retry_secs:g} s: {failure.reason}"
            ) from failure.error
        self._pause(failure.reason)

    def _pause(self, reason: str) -> None:
        """Waits for as long as it has not worked, at most for some seconds."""
        wait_secs = self._trouble.failed(reason)
        self._tell(reason)
        time.sleep(wait_secs)

    def _tell(self, reason: str) -> None:
        if self._on_trouble is not None:
            self._on_trouble(reason)

    def _given_up(self, failure: AppendFailure) -> BigQueryError:
        error = BigQueryError(explain(failure.error, "write to", self._table))
        error.__cause__ = failure.error
        return error

    def _refuse_rows(self, request: Request, at_fault: Mapping[int, str], status: str) -> None:
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
