"""A double of BigQuery's write service, for what no emulator can be made to do.

It keeps streams and tables in memory, checks offsets and limits as the service does by its
documentation, and has faults to order: `double.faults` holds what becomes of the next requests to
append, one entry for each (None: nothing special).

    python tests/bigquery/write_double.py    # runs one that drops all rows, until SIGTERM
"""

import signal
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.cloud.bigquery_storage_v1 import types
from google.protobuf import any_pb2
from google.rpc import status_pb2

from scoreline.transforms.bigquery.storage_channel import storage_channel

SERVICE = "google.cloud.bigquery.storage.v1.BigQueryWrite"
MAX_REQUEST_BYTES = 10_000_000
MAX_STREAMS = 10_000

Request = types.AppendRowsRequest.pb()
Answer = types.AppendRowsResponse.pb()
Code = types.StorageError.StorageErrorCode
Status = grpc.StatusCode


@dataclass(frozen=True)
class Fault:
    """What becomes of a request.

    Attributes:
        status: the code of the error.
        ends: whether the connection ends with it; otherwise it stands in the answer.
        applied: whether the rows were appended before: the answer is lost.
        secs: how long the answer takes.
        storage_code: of the rich error that goes with it.
        silent: no answer ever comes.
    """

    status: grpc.StatusCode = Status.UNAVAILABLE
    ends: bool = False
    applied: bool = False
    secs: float = 0.0
    storage_code: int = 0
    silent: bool = False


SLOW = Fault(Status.OK, secs=0.3)


@dataclass
class Stream:
    """One write stream."""

    table: str
    kind: str  # pending or default
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    finalized: bool = False
    committed: bool = False


class WriteDouble:
    """The service: `address` is for BIGQUERY_STORAGE_EMULATOR_HOST.

    Attributes:
        tables: the paths of the tables that there are; all, if None.
        faults: of the next requests to append.
        call_faults: of the next calls of another method, by its name: (status, whether it is done).
        bad: says what is wrong with a row, None if nothing; None if all are good.
        forgets_schema: whether the schema of a request that is refused is not kept.
        keeps_rows: whether rows that are taken can be read; else they are only counted.
        says_rows: whether a refusal names the rows at fault, as the service does and emulators
            do not.
        commit_code: what a second commit of a stream is refused with.
        requests: (stream, offset, rows, bytes, whether it had a schema) of each request.
        commits: the streams of each commit that was tried.
        routes: the metadata that routes calls.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self.open_connections = 0
        self.reset()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(32),
            options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def reset(self) -> None:
        """Forgets all that was done and ordered, and lets go of whoever waits for an answer."""
        self._ended.set()
        self._ended = threading.Event()
        self.tables: set[str] | None = None
        self.faults: deque[Fault | None] = deque()
        self.call_faults: defaultdict[str, deque[tuple[grpc.StatusCode, bool]]] = defaultdict(deque)
        self.bad: Callable[[dict[str, Any]], str | None] | None = None
        self.forgets_schema = False
        self.keeps_rows = True
        self.says_rows = True
        self.commit_code = Code.STREAM_ALREADY_COMMITTED.value
        self.streams: dict[str, Stream] = {}
        self.requests: list[tuple[str, int | None, int, int, bool]] = []
        self.commits: list[list[str]] = []
        self.connections = 0
        self.routes: set[str] = set()

    def stop(self) -> None:
        self._ended.set()
        self._server.stop(None).wait(10)

    def table(self, path: str) -> pa.Table:
        """The rows that can be read from a table."""
        with self._lock:
            seen = [s for s in self.streams.values() if s.table == path and _is_seen(s)]
            batches = [batch for stream in seen for batch in stream.batches]
        tables = [pa.Table.from_batches([batch]) for batch in batches]
        return pa.concat_tables(tables) if tables else pa.table({})

    def pending(self) -> list[Stream]:
        """The streams whose rows cannot be read."""
        return [stream for stream in self.streams.values() if not _is_seen(stream)]

    def _handlers(self) -> grpc.GenericRpcHandler:
        unary = {
            "CreateWriteStream": (self._create, types.CreateWriteStreamRequest),
            "GetWriteStream": (self._get, types.GetWriteStreamRequest),
            "FinalizeWriteStream": (self._finalize, types.FinalizeWriteStreamRequest),
            "BatchCommitWriteStreams": (self._commit, types.BatchCommitWriteStreamsRequest),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._with_faults(name, method), request.pb().FromString, _bytes
            )
            for name, (method, request) in unary.items()
        }
        handlers["AppendRows"] = grpc.stream_stream_rpc_method_handler(
            self._append_rows, lambda data: data, _bytes
        )
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _with_faults(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self._note_route(context)
            waiting = self.call_faults[name]
            status, done = waiting.popleft() if waiting else (Status.OK, True)
            answer = method(request, context) if done else None
            if status != Status.OK:
                context.abort(status, "as the test wants it")
            return answer

        return handle

    def _create(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._check_table(request.parent, context)
        with self._lock:
            name = f"{request.parent}/streams/s{len(self.streams)}"
            self.streams[name] = Stream(request.parent, "pending")
        return types.WriteStream.pb()(name=name)

    def _get(self, request: Any, context: grpc.ServicerContext) -> Any:
        stream = self._found(request.name, context)
        answer = types.WriteStream.pb()(name=request.name)
        if stream.committed:
            answer.commit_time.GetCurrentTime()
        return answer

    def _finalize(self, request: Any, context: grpc.ServicerContext) -> Any:
        stream = self._found(request.name, context)
        stream.finalized = True
        return types.FinalizeWriteStreamResponse.pb()(row_count=stream.rows)

    def _commit(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._check_table(request.parent, context)
        names = list(request.write_streams)
        answer = types.BatchCommitWriteStreamsResponse.pb()()
        with self._lock:
            self.commits.append(names)
            if len(names) > MAX_STREAMS:
                context.abort(Status.INVALID_ARGUMENT, "too many streams")
            for name in names:
                if code := self._commit_code(name):
                    answer.stream_errors.add(code=code, entity=name, error_message="not this one")
            if not answer.stream_errors:
                for name in names:
                    self.streams[name].committed = True
                answer.commit_time.GetCurrentTime()
        return answer

    def _commit_code(self, name: str) -> int:
        stream = self.streams.get(name)
        if stream is None:
            return Code.STREAM_NOT_FOUND.value
        if stream.committed:
            return self.commit_code
        return 0 if stream.finalized else Code.INVALID_STREAM_STATE.value

    def _append_rows(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        with self._lock:
            self.connections += 1
            self.open_connections += 1
        self._note_route(context)
        context.add_callback(self._ended_connection)
        schema: pa.Schema | None = None
        for data in requests:
            request = Request.FromString(data)
            self._check_table(request.write_stream.split("/streams/")[0], context)
            if request.arrow_rows.HasField("writer_schema"):
                schema = _schema(request)
            if schema is None:
                yield _error(Status.INVALID_ARGUMENT, "there was no schema")
                continue
            answer = self._answer(request, len(data), schema, context)
            if self.forgets_schema and answer.error.code:
                schema = None
            yield answer

    def _note_route(self, context: grpc.ServicerContext) -> None:
        self.routes.add(str(dict(context.invocation_metadata())["x-goog-request-params"]))

    def _ended_connection(self) -> None:
        with self._lock:
            self.open_connections -= 1

    def _answer(
        self, request: Any, num_bytes: int, schema: pa.Schema, context: grpc.ServicerContext
    ) -> Any:
        fault = self.faults.popleft() if self.faults else None
        if fault is None:
            return self._append(request, num_bytes, schema)
        self._ended.wait(fault.secs)
        done = self._append(request, num_bytes, schema) if fault.applied else None
        if fault.silent:
            self._ended.wait(60)
            context.abort(Status.CANCELLED, "too late")
        if fault.status == Status.OK:
            return done or self._append(request, num_bytes, schema)
        if fault.ends:
            context.abort_with_status(_Rich(fault))
        return _error(fault.status, "as the test wants it", fault.storage_code)

    def _append(self, request: Any, num_bytes: int, schema: pa.Schema) -> Any:
        name = request.write_stream
        rows = pa.ipc.read_record_batch(request.arrow_rows.rows.serialized_record_batch, schema)
        offset = request.offset.value if request.HasField("offset") else None
        has_schema = request.arrow_rows.HasField("writer_schema")
        with self._lock:
            self.requests.append((name, offset, rows.num_rows, num_bytes, has_schema))
            if name.endswith("/_default") and name not in self.streams:
                self.streams[name] = Stream(name.split("/streams/")[0], "default")
            stream = self.streams[name]
            if num_bytes > MAX_REQUEST_BYTES:
                return _error(Status.INVALID_ARGUMENT, "the request is too large")
            if stream.finalized:
                return _error(Status.FAILED_PRECONDITION, "finalized", Code.STREAM_FINALIZED.value)
            if offset is not None and offset < stream.rows:
                return _error(Status.ALREADY_EXISTS, f"the stream ends at {stream.rows}")
            if offset is not None and offset > stream.rows:
                return _error(Status.OUT_OF_RANGE, f"the stream ends at {stream.rows}")
            return self._judged(rows) or self._kept(stream, rows, offset)

    def _judged(self, rows: pa.RecordBatch) -> Any:
        if self.bad is None:
            return None
        judged = enumerate(map(self.bad, rows.to_pylist()))
        found = [(index, why) for index, why in judged if why]
        if not found:
            return None
        answer = _error(Status.INVALID_ARGUMENT, "errors found while processing rows")
        for index, why in found if self.says_rows else ():
            code = types.RowError.RowErrorCode.FIELDS_ERROR.value
            answer.row_errors.add(index=index, code=code, message=why)
        return answer

    def _kept(self, stream: Stream, rows: pa.RecordBatch, offset: int | None) -> Any:
        stream.rows += rows.num_rows
        if self.keeps_rows:
            stream.batches.append(rows)
        answer = Answer()
        answer.append_result.SetInParent()
        if offset is not None:
            answer.append_result.offset.value = offset
        return answer

    def _check_table(self, path: str, context: grpc.ServicerContext) -> None:
        if self.tables is not None and path not in self.tables:
            context.abort(Status.NOT_FOUND, f"no such table: {path}")

    def _found(self, name: str, context: grpc.ServicerContext) -> Stream:
        if name not in self.streams:
            context.abort(Status.NOT_FOUND, f"no such stream: {name}")
        return self.streams[name]


class _Rich(grpc.Status):
    """How a connection ends: a code, a text, and a rich error behind them."""

    def __init__(self, fault: Fault):
        self.code = fault.status
        self.details = "as the test wants it"
        status = _status(fault.status, self.details, fault.storage_code)
        self.trailing_metadata = (("grpc-status-details-bin", status.SerializeToString()),)


@contextmanager
def write_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteDouble]:
    """A running double, as the service of this process."""
    double = WriteDouble()
    monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", double.address)
    storage_channel.cache_clear()
    try:
        yield double
    finally:
        double.stop()
        storage_channel.cache_clear()


def eventually(condition: Callable[[], bool], secs: float = 5.0) -> bool:
    """Waits for what another thread does; gives whether it came."""
    deadline = time.monotonic() + secs
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _is_seen(stream: Stream) -> bool:
    return stream.kind == "default" or stream.committed


def _schema(request: Any) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(request.arrow_rows.writer_schema.serialized_schema))


def _status(status: grpc.StatusCode, message: str, storage_code: int = 0) -> Any:
    made = status_pb2.Status(code=status.value[0], message=message)
    if storage_code:
        detail = any_pb2.Any()
        detail.Pack(types.StorageError.pb()(code=storage_code, error_message=message))
        made.details.append(detail)
    return made


def _error(status: grpc.StatusCode, message: str, storage_code: int = 0) -> Any:
    answer = Answer()
    answer.error.CopyFrom(_status(status, message, storage_code))
    return answer


def _bytes(message: Any) -> bytes:
    serialised: bytes = message.SerializeToString()
    return serialised


def main() -> None:
    """Runs a double that drops all rows until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    double = WriteDouble()
    double.keeps_rows = False
    print(f"export BIGQUERY_STORAGE_EMULATOR_HOST={double.address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
