"""The channel to BigQuery's Storage API, one for each process."""

from functools import lru_cache
from urllib.parse import quote

import grpc
from google.api_core import grpc_helpers

from . import credentials

_HOST = "bigquerystorage.googleapis.com:443"
_SCOPES = ("https://www.googleapis.com/auth/bigquery",)

# Requests have up to 10 MB and answers up to 128 MB: gRPC's own limit is 4 MB. A connection that
# a middlebox dropped is noticed by the keepalive.
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
)


@lru_cache(maxsize=1)
def storage_channel() -> grpc.Channel:
    """The channel of this process, to the service or to BIGQUERY_STORAGE_EMULATOR_HOST.

    Raises:
        google.auth.exceptions.GoogleAuthError: there are no credentials for the service.
    """
    emulator = credentials.storage_emulator()
    if emulator:
        return grpc.insecure_channel(emulator, options=_OPTIONS)
    own, quota_project = credentials.of()
    channel: grpc.Channel = grpc_helpers.create_channel(
        _HOST,
        credentials=own,
        quota_project_id=quota_project,
        default_scopes=_SCOPES,
        options=_OPTIONS,
    )
    return channel


def routed(key: str, value: str) -> tuple[tuple[str, str], ...]:
    """The metadata that routes a call to where its table is: in ASCII, which names need not be.

    >>> routed("parent", "projects/p/datasets/ml/tables/größe")
    (('x-goog-request-params', 'parent=projects/p/datasets/ml/tables/gr%C3%B6%C3%9Fe'),)
    """
    return (("x-goog-request-params", f"{key}={quote(value)}"),)
