"""A double of BigQuery's read service on a port of this machine, with faults at will.

The emulator ignores at which offset a stream is to go on, so how a broken stream resumes is shown
here: over real gRPC, with the messages of the installed library.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

_SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"
_CreateRequest = types.CreateReadSessionRequest.pb()
_RowsRequest = types.ReadRowsRequest.pb()
_RowsResponse = types.ReadRowsResponse.pb()
_Session = types.ReadSession.pb()


@dataclass(frozen=True)
class Break:
    """What becomes of one connection to a stream.

    Attributes:
        after: so many responses it goes well.
        code: what the call ends with; OK as if there were no more rows; None leaves it hanging.
    """

    after: int
    code: grpc.StatusCode | None


@dataclass
class ReadDouble:
    """A server with tables; every response has `batch_rows` rows.

    Attributes:
        batch_rows: of one response.
        max_streams: of one session, however many are asked for.
        sessions: every request for a session.
        reads: the number of the stream and the offset of each request for rows.
        metadata: of each request.
        before_session: called before a session is made.
        expires_at: when sessions expire, in seconds since 1970; 0 if it does not say.
    """

    batch_rows: int = 10
    max_streams: int = 3
    sessions: list[Any] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    before_session: Callable[[], None] | None = None
    expires_at: int = 0

    def __post_init__(self) -> None:
        self._tables: dict[str, pa.Table] = {}
        self._streams: dict[str, pa.Table] = {}
        self._breaks: dict[int, deque[Break]] = defaultdict(deque)
        self._refusals: deque[tuple[grpc.StatusCode, str]] = deque()
        self._released = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self._handlers(),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"

    def __enter__(self) -> "ReadDouble":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.stop(0).wait(5)

    def add(self, path: str, rows: pa.Table) -> None:
        """Has it serve a table, `projects/P/datasets/D/tables/T`."""
        self._tables[path] = rows.combine_chunks()

    def break_stream(self, number: int, *breaks: Break) -> None:
        """Has the next connections to a stream break, one after the other."""
        self._breaks[number].extend(breaks)

    def refuse_session(self, code: grpc.StatusCode, details: str) -> None:
        """Has it refuse the next request for a session."""
        self._refusals.append((code, details))

    def _handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                "CreateReadSession": grpc.unary_unary_rpc_method_handler(
                    self._create,
                    request_deserializer=_CreateRequest.FromString,
                    response_serializer=_Session.SerializeToString,
                ),
                "ReadRows": grpc.unary_stream_rpc_method_handler(
                    self._read,
                    request_deserializer=_RowsRequest.FromString,
                    response_serializer=_RowsResponse.SerializeToString,
                ),
            },
        )

    def _create(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.sessions.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.before_session is not None:
            self.before_session()
        if self._refusals:
            context.abort(*self._refusals.popleft())
        wanted = request.read_session
        if wanted.table not in self._tables:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Table {wanted.table}")
        rows = self._tables[wanted.table]
        names = set(wanted.read_options.selected_fields) or set(rows.column_names)
        rows = rows.select([name for name in rows.column_names if name in names])
        count = min(request.max_stream_count, self.max_streams, rows.num_rows)
        base = f"{request.parent}/locations/eu/sessions/s{len(self.sessions)}"
        session = _Session(name=base, table=wanted.table, data_format=wanted.data_format)
        session.arrow_schema.serialized_schema = rows.schema.serialize().to_pybytes()
        session.estimated_total_bytes_scanned = rows.nbytes
        session.expire_time.seconds = self.expires_at
        for number in range(count):
            start, stop = (rows.num_rows * i // count for i in (number, number + 1))
            name = f"{base}/streams/{number}"
            self._streams[name] = rows.slice(start, stop - start)
            session.streams.add(name=name)
        return session

    def _read(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        number = int(request.read_stream.rsplit("/", 1)[-1])
        self.reads.append((number, request.offset))
        self.metadata.append(dict(context.invocation_metadata()))
        if request.read_stream not in self._streams:
            context.abort(grpc.StatusCode.NOT_FOUND, "the session has expired")
        rows = self._streams[request.read_stream].slice(request.offset)
        fault = self._breaks[number].popleft() if self._breaks[number] else None
        batches = rows.combine_chunks().to_batches(max_chunksize=self.batch_rows)
        for index, batch in enumerate([*batches, None]):
            if fault is not None and index == fault.after:
                if fault.code is grpc.StatusCode.OK:
                    return
                if fault.code is not None:
                    context.abort(fault.code, "a fault of this test")
                self._released.wait(30)
                return
            if batch is not None:
                response = _RowsResponse(row_count=batch.num_rows)
                message = batch.serialize().to_pybytes()
                response.arrow_record_batch.serialized_record_batch = message
                yield response
