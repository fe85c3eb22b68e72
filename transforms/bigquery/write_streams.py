"""Write streams: made by the workers, sealed and committed by the last step of a run.

BigQuery keeps a pending stream for 24 hours, and one that is finalized and not committed for 4
(https://cloud.google.com/bigquery/docs/write-api-batch, 2026-11). So streams are finalized right
before they are committed, not when a worker is done with them: a run may take longer than 4 hours.

| limit (https://cloud.google.com/bigquery/quotas#write-api-limits, 2026-11) | |
|---|---|
| streams of a commit, which is atomic | 10,000 |
| bytes of a commit | 10 TB in the US and EU, 1 TB elsewhere |
| streams made in an hour, by project and region | 10,000 |

A run with more streams than a commit may have is committed in several: each is atomic, and what
reads the table in between sees a part of the run. One that was interrupted is finished by the same
call with the same streams.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import grpc
from google.cloud.bigquery_storage_v1 import types

from ..trouble import Trouble
from .append_failures import TRANSIENT
from .errors import BigQueryError, explain, status_of
from .names import TableName
from .storage_channel import routed, storage_channel

MAX_STREAMS: Final = 10_000  # of a commit

_SERVICE: Final = "/google.cloud.bigquery.storage.v1.BigQueryWrite/"
_CALL_SECS: Final = 60.0  # streams have been seen to take 25 s to be made when many are
_NEW_TABLE_SECS: Final = 30.0  # how long a table that was just made may seem not to be there
_SEAL_THREADS: Final = 8

_Codes: Final = types.StorageError.StorageErrorCode
_COMMITTED: Final = int(_Codes.STREAM_ALREADY_COMMITTED)
_ODD_STATE: Final = int(_Codes.INVALID_STREAM_STATE)
_NOT_FOUND: Final = int(_Codes.STREAM_NOT_FOUND)
_GONE: Final = (_NOT_FOUND, int(_Codes.TABLE_NOT_FOUND), _ODD_STATE)
_EMULATOR_SAYS_COMMITTED: Final = "state=COMMITTED"  # it keeps no time of the commit


class StreamsLostError(BigQueryError):
    """Streams can never be committed any more, or were, so long ago that nobody knows of it."""


def default_stream(table: TableName) -> str:
    """The name of the stream that every table has, whose rows are there when they are appended.

    >>> default_stream(TableName.parse("p.ml.scores"))
    'projects/p/datasets/ml/tables/scores/streams/_default'
    """
    return f"{table.path}/streams/_default"


def create_stream(table: TableName, retry_secs: float = 600.0) -> str:
    """Makes a pending stream of a table; gives its name.

    Raises:
        BigQueryError: there is no such table, it may not be written to, or nobody answers.
    """
    request = types.CreateWriteStreamRequest.pb()(parent=table.path)
    request.write_stream.type_ = int(types.WriteStream.Type.PENDING)
    created = _call("CreateWriteStream", request, types.WriteStream, table, retry_secs)
    name: str = created.name
    return name


def seal_streams(rows: Mapping[str, int], retry_secs: float = 600.0) -> None:
    """Finalizes streams: nothing can be appended to them any more. It bears repetition.

    Args:
        rows: how many rows each stream must have, by its name.
        retry_secs: how long to try for each.

    Raises:
        BigQueryError: a stream has another number of rows, or cannot be finalized.
    """
    with ThreadPoolExecutor(_SEAL_THREADS, "scoreline-seal") as pool:
        for _ in pool.map(partial(_seal, retry_secs=retry_secs), rows.keys(), rows.values()):
            pass


def commit_streams(table: TableName, streams: Sequence[str], retry_secs: float = 600.0) -> None:
    """Has the rows of sealed streams appear in their table, all at once. It bears repetition.

    Args:
        table: that the streams are of.
        streams: their names; more than 10,000 take several commits, one after the other.
        retry_secs: how long to try for each commit.

    Raises:
        StreamsLostError: a stream is not there any more. As far as BigQuery knows it was never
            committed; but it forgets a stream some time after that.
        BigQueryError: the table is not there, may not be written to, or nobody answers.
    """
    for start in range(0, len(streams), MAX_STREAMS):
        _commit(table, streams[start : start + MAX_STREAMS], retry_secs)


def _seal(stream: str, rows: int, retry_secs: float) -> None:
    request = types.FinalizeWriteStreamRequest.pb()(name=stream)
    answer = types.FinalizeWriteStreamResponse
    found = _call("FinalizeWriteStream", request, answer, _table_of(stream), retry_secs, stream)
    if found.row_count != rows:
        raise BigQueryError(
            f"{_table_of(stream)}: {rows:,} rows were appended to the stream {stream}, but it has "
            f"{found.row_count:,}. Nothing was committed; start the run anew"
        )


def _commit(table: TableName, streams: Sequence[str], retry_secs: float) -> None:
    """One commit; streams that were committed before are left out of it until it succeeds."""
    left = list(streams)
    while left:
        request = types.BatchCommitWriteStreamsRequest.pb()(parent=table.path, write_streams=left)
        answer = types.BatchCommitWriteStreamsResponse
        found = _call("BatchCommitWriteStreams", request, answer, table, retry_secs)
        if not found.stream_errors:
            return
        done = {e.entity for e in found.stream_errors if _is_committed(e, table, retry_secs)}
        if not done.intersection(left):
            said = "; ".join(error.error_message for error in list(found.stream_errors)[:3])
            kind = _lost_or_refused(found.stream_errors)
            raise kind(
                f"{table}: {len(found.stream_errors)} of {len(left)} streams could not be "
                f"committed: {said}"
            )
        left = [stream for stream in left if stream not in done]


def _lost_or_refused(errors: Sequence[Any]) -> type[BigQueryError]:
    return StreamsLostError if any(error.code in _GONE for error in errors) else BigQueryError


def _is_committed(error: Any, table: TableName, retry_secs: float) -> bool:
    """Whether a stream is refused because its rows are in the table already.

    Not every server tells that from other odd states, such as of a stream that has expired, and
    one that is not there for commits may still be known; but a stream says when it was committed.
    """
    if error.code not in (_ODD_STATE, _NOT_FOUND):
        return bool(error.code == _COMMITTED)
    if _EMULATOR_SAYS_COMMITTED in error.error_message:
        return True
    request = types.GetWriteStreamRequest.pb()(name=error.entity)
    try:
        found = _call("GetWriteStream", request, types.WriteStream, table, retry_secs, error.entity)
    except BigQueryError as lost:
        if _is_unknown(lost):
            return False
        raise
    return bool(found.HasField("commit_time"))


def _is_unknown(error: BigQueryError) -> bool:
    """Whether a stream is asked for that nobody knows; a server may call its name invalid then."""
    cause = error.__cause__
    status = status_of(cause) if isinstance(cause, Exception) else None
    return status in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


def _call(
    method: str,
    request: Any,
    answer: Any,
    table: TableName | str,
    retry_secs: float,
    stream: str = "",
) -> Any:
    """Calls the service, again and again for so long while it does not answer."""
    call = storage_channel().unary_unary(
        _SERVICE + method,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.pb().FromString,
    )
    metadata = routed("name", stream) if stream else routed("parent", request.parent)
    trouble = Trouble(f"{method} of {table}")
    while True:
        try:
            found = call(request, _CALL_SECS, metadata)
        except grpc.RpcError as error:
            _wait(error, method, table, trouble, retry_secs)
        else:
            trouble.succeeded()
            return found


def _wait(
    error: grpc.RpcError, method: str, table: TableName | str, trouble: Trouble, retry_secs: float
) -> None:
    status = status_of(error)
    if method == "CreateWriteStream" and status == grpc.StatusCode.NOT_FOUND:
        retry_secs = min(retry_secs, _NEW_TABLE_SECS)
    elif status not in TRANSIENT:
        kind = StreamsLostError if status == grpc.StatusCode.NOT_FOUND else BigQueryError
        raise kind(explain(error, "write to", table)) from error
    wait_secs = trouble.failed(" ".join(str(error.details()).split()))
    if trouble.secs() + wait_secs > retry_secs:
        raise BigQueryError(explain(error, "write to", table)) from error
    time.sleep(wait_secs)


def _table_of(stream: str) -> str:
    """The table of a stream, as a person names it."""
    parts = stream.split("/")
    return ".".join(parts[1:6:2])
