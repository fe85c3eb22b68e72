"""Why an append failed: whether rows are at fault, and which, or whether to try again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.api_core import exceptions as api
from google.cloud.bigquery_storage_v1 import types
from google.rpc import status_pb2

from .errors import status_of

# What the service says of itself, not of what was asked: the same call may succeed later.
TRANSIENT: Final = frozenset(
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
_STATUSES: Final = {status.value[0]: status for status in grpc.StatusCode}
_StorageError: Final = types.StorageError.pb()
_EXTRA_FIELDS: Final = int(types.StorageError.StorageErrorCode.SCHEMA_MISMATCH_EXTRA_FIELDS)
_RICH: Final = "grpc-status-details-bin"


@dataclass(frozen=True)
class AppendFailure:
    """Why rows were not appended.

    Attributes:
        error: an exception that says it.
        status: its code.
        message: what BigQuery says, in one line.
        row_errors: what is wrong with each row that is at fault, by its number in the request;
            empty if BigQuery does not say which rows those are.
        is_of_all: whether what is wrong is so with every row of the request.
    """

    error: Exception
    status: grpc.StatusCode
    message: str
    row_errors: Mapping[int, str] = field(default_factory=dict)
    is_of_all: bool = False

    @property
    def is_of_rows(self) -> bool:
        """Whether rows are at fault: to send them again would change nothing."""
        return bool(self.row_errors) or self.status == grpc.StatusCode.INVALID_ARGUMENT

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return not self.is_of_rows and self.status in TRANSIENT

    @property
    def reason(self) -> str:
        """The code and what BigQuery says."""
        return f"{self.status.name}: {self.message}"


def answered(answer: Any) -> AppendFailure | None:
    """Why the rows of a request were not appended, by its answer; None if they were."""
    if not answer.error.code and not answer.row_errors:
        return None
    status = _STATUSES.get(answer.error.code, grpc.StatusCode.UNKNOWN)
    said = _line(answer.error.message) or "some rows are at fault"
    row_errors = {each.index: _line(each.message) or said for each in answer.row_errors}
    error = api.from_grpc_status(status, said)
    return AppendFailure(error, status, said, row_errors, _is_of_all(answer.error.details))


def lost(error: Exception) -> AppendFailure:
    """Why a connection ended, by what was raised.

    Args:
        error: a grpc.RpcError, or another one where the service just fell silent.
    """
    if not isinstance(error, grpc.RpcError):
        silent = api.ServiceUnavailable(str(error))
        return AppendFailure(silent, grpc.StatusCode.UNAVAILABLE, str(error))
    details = error.details() if isinstance(error, grpc.Call) else str(error)
    status = status_of(error)
    if status == grpc.StatusCode.ALREADY_EXISTS:
        status = grpc.StatusCode.ABORTED  # both are 409: only an answer says it of some rows
    return AppendFailure(error, status, _line(details), {}, _is_of_all(_details(error)))


def _details(error: grpc.RpcError) -> Iterable[Any]:
    """The parts of a rich error; none if it is a plain one."""
    sent = error.trailing_metadata() or () if isinstance(error, grpc.Call) else ()
    rich = (value for key, value in sent if key == _RICH)
    return [detail for value in rich for detail in status_pb2.Status.FromString(value).details]


def _is_of_all(details: Iterable[Any]) -> bool:
    """Whether the schema is at fault: all rows have a column that the table lacks."""
    found = _StorageError()
    return any(detail.Unpack(found) and found.code == _EXTRA_FIELDS for detail in details)


def _line(text: str | None) -> str:
    return " ".join((text or "").split())
