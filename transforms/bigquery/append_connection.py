"""One AppendRows call: requests go out as bytes, and each is answered, in the same order."""

import threading
from queue import Empty, SimpleQueue
from typing import Any

import grpc
from google.cloud.bigquery_storage_v1 import types

from .storage_channel import routed, storage_channel

_METHOD = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows"
_END_SECS = 1.0  # a server ends a call at once when no request will come any more

AppendAnswer = Any  # the protocol buffer of types.AppendRowsResponse


class NoAnswerError(Exception):
    """A connection ended, or was silent for too long, while an answer was due."""


class AppendConnection:
    """A connection to one write stream; whoever uses it counts what is still to be answered.

    Args:
        stream: the full name of the write stream; it routes the call to where its table is.
    """

    def __init__(self, stream: str):
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers: SimpleQueue[AppendAnswer | Exception] = SimpleQueue()
        append = storage_channel().stream_stream(
            _METHOD,
            request_serializer=None,  # they are bytes already
            response_deserializer=types.AppendRowsResponse.pb().FromString,
        )
        requests = iter(self._requests.get, None)
        self._call = append(requests, metadata=routed("write_stream", stream))
        self._thread = threading.Thread(target=self._read, name="scoreline-append", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether the server has not ended it, as far as is known."""
        return self._thread.is_alive()

    def send(self, request: bytes) -> None:
        """Has a request sent; whether it was is only known by its answer."""
        self._requests.put(request)

    def has_answer(self) -> bool:
        """Whether `receive` would not wait."""
        return not self._answers.empty()

    def receive(self, timeout_secs: float) -> AppendAnswer:
        """Waits for the next answer.

        Raises:
            grpc.RpcError: the call failed.
            NoAnswerError: nothing came in time, or the server ended the call.
        """
        try:
            answer = self._answers.get(timeout=timeout_secs)
        except Empty:
            raise NoAnswerError(f"no answer for {timeout_secs:g} s") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the call when all is answered."""
        self._requests.put(None)
        self._thread.join(_END_SECS)
        self.cancel()

    def cancel(self) -> None:
        """Ends the call at once; what is not answered by now may or may not have been appended."""
        self._call.cancel()
        self._thread.join()

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._answers.put(answer)
        except grpc.RpcError as error:
            self._answers.put(error)
        else:
            self._answers.put(NoAnswerError("the server ended the connection"))
        finally:
            self._requests.put(None)  # or gRPC's own thread would wait for a request for ever
