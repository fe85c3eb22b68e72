"""What BigQuery refused, in a line that says what to do: which role is missing, for one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

import grpc
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from requests import exceptions as http

Action = Literal["look at", "read", "query", "write to", "create", "alter", "replace", "delete"]

_ROLES: Final[dict[Action, str]] = {
    "look at": "roles/bigquery.metadataViewer or roles/bigquery.dataViewer on the table",
    "read": (
        "roles/bigquery.dataViewer on the table and roles/bigquery.readSessionUser on the project"
    ),
    "query": (
        "roles/bigquery.jobUser on the project and roles/bigquery.dataViewer on the tables that "
        "the query reads"
    ),
    "write to": "roles/bigquery.dataEditor on the table",
    "create": "roles/bigquery.dataEditor on the dataset",
    "alter": "roles/bigquery.dataEditor on the table",
    "replace": (
        "roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the project"
    ),
    "delete": "roles/bigquery.dataEditor on the dataset",
}
# Permissions that come with a role of their own, whatever was being done: BigQuery names them.
_ROLE_OF_PERMISSION: Final = {
    "bigquery.jobs.create": "roles/bigquery.jobUser on the project",
    "bigquery.readsessions.": "roles/bigquery.readSessionUser on the project",
    "serviceusage.services.use": (
        "roles/serviceusage.serviceUsageConsumer on the quota project, or unset "
        "GOOGLE_CLOUD_QUOTA_PROJECT"
    ),
    "iam.serviceAccounts.getAccessToken": (
        "roles/iam.serviceAccountTokenCreator on the service account that is impersonated"
    ),
}
_STATUS_OF_ERROR: Final[tuple[tuple[type[Exception], grpc.StatusCode], ...]] = (
    (api.Unauthorized, grpc.StatusCode.UNAUTHENTICATED),
    (api.Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (api.NotFound, grpc.StatusCode.NOT_FOUND),
    (api.Conflict, grpc.StatusCode.ALREADY_EXISTS),
    (api.TooManyRequests, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (api.BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (api.GatewayTimeout, grpc.StatusCode.DEADLINE_EXCEEDED),
    (api.RetryError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (http.Timeout, grpc.StatusCode.DEADLINE_EXCEEDED),
    (api.ServerError, grpc.StatusCode.UNAVAILABLE),
    (auth.TransportError, grpc.StatusCode.UNAVAILABLE),
    (auth.GoogleAuthError, grpc.StatusCode.UNAUTHENTICATED),
    (http.RequestException, grpc.StatusCode.UNAVAILABLE),
)
# Of a REST answer with the status 403 that is about how much was asked, not about who asks.
_QUOTA_REASONS: Final = frozenset({"quotaExceeded", "rateLimitExceeded"})

# What the calls to BigQuery raise, whichever way they go.
FAILURES: Final = (
    api.GoogleAPIError,
    grpc.RpcError,
    auth.GoogleAuthError,
    http.RequestException,
)


class BigQueryError(Exception):
    """BigQuery refused something or cannot be reached, in words for the person who runs the job."""


@contextmanager
def in_words(action: Action, what: object) -> Iterator[None]:
    """Turns what the calls inside raise into a `BigQueryError` that says what to do.

    Args:
        action: what is being done, to name the role that allows it.
        what: it is done to; a table's name.

    Raises:
        BigQueryError: from any of `FAILURES`.
    """
    try:
        yield
    except FAILURES as error:
        raise BigQueryError(explain(error, action, what)) from error


def explain(error: Exception, action: Action, what: object, known_cause: str | None = None) -> str:
    """Says in one line what BigQuery refused, and what to do.

    Args:
        error: one of `FAILURES`.
        action: what was being done.
        what: it was done to.
        known_cause: with advice, from whoever knows more than the status of the call says.

    >>> said = explain(api.Forbidden("Access Denied"), "write to", "p.ml.scores")
    >>> said.split(" to the account")[0]
    'cannot write to p.ml.scores: permission denied. Grant roles/bigquery.dataEditor on the table'
    """
    status = status_of(error)
    said = _said(error)
    if known_cause is not None:
        advice = known_cause
    elif status == grpc.StatusCode.PERMISSION_DENIED:
        role = next((r for key, r in _ROLE_OF_PERMISSION.items() if key in said), _ROLES[action])
        advice = f"permission denied. Grant {role} to the account that this runs as"
    elif status == grpc.StatusCode.UNAUTHENTICATED:
        advice = (
            "no valid credentials. Run `gcloud auth application-default login`, or name a "
            "service-account file in GOOGLE_APPLICATION_CREDENTIALS"
        )
    elif status == grpc.StatusCode.NOT_FOUND:
        advice = "it is not there, or may not be seen. Check the project, the dataset and the name"
    elif status == grpc.StatusCode.RESOURCE_EXHAUSTED:
        advice = "a quota is used up. Wait, or have it raised"
    elif status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        advice = "BigQuery does not answer. Check the network, and try again later"
    else:
        advice = "it was refused"
    return f"cannot {action} {what}: {advice}. BigQuery says: {said}"


def status_of(error: Exception) -> grpc.StatusCode:
    """The status of a failed call, in gRPC's words also where it went over REST.

    >>> status_of(api.NotFound("no such table"))
    <StatusCode.NOT_FOUND: (5, 'not found')>
    """
    if isinstance(error, grpc.RpcError) and callable(getattr(error, "code", None)):
        status: grpc.StatusCode = error.code()
        return status
    if reasons_of(error) & _QUOTA_REASONS:
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    own: grpc.StatusCode | None = getattr(error, "grpc_status_code", None)
    if own is not None:
        return own
    found = (status for type_, status in _STATUS_OF_ERROR if isinstance(error, type_))
    return next(found, grpc.StatusCode.UNKNOWN)


def reasons_of(error: Exception) -> set[str]:
    """The reasons in the answer of a call over REST, such as `accessDenied`."""
    return {entry["reason"] for entry in _entries(error) if "reason" in entry}


def _entries(error: Exception) -> list[Mapping[str, str]]:
    found = getattr(error, "errors", None) or ()
    return [entry for entry in found if isinstance(entry, Mapping)]


def _said(error: Exception) -> str:
    """What the service says, in one line; the client adds the request to what came over REST."""
    if isinstance(error, grpc.RpcError) and callable(getattr(error, "details", None)):
        text = error.details() or str(error.code())
    else:
        bare = next((entry["message"] for entry in _entries(error) if "message" in entry), None)
        text = bare or getattr(error, "message", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
