"""The client of BigQuery's REST interface, for tables and jobs: one for each process."""

from functools import lru_cache
from typing import Final

from google.api_core.client_options import ClientOptions
from google.cloud import bigquery
from google.cloud.bigquery import DEFAULT_RETRY

from .credentials import charged_project, emulator, of

CALL_SECS: Final = 30.0  # of one request
# A person waits for most of these calls; what takes longer is a job, which is asked for its state.
RETRY: Final = DEFAULT_RETRY.with_timeout(60.0)

_NO_PROJECT = "unknown"  # every call names the project of its table or job


def rest() -> bigquery.Client:
    """The client of this process, for the service or the emulator of BIGQUERY_EMULATOR_HOST.

    Raises:
        google.auth.exceptions.GoogleAuthError: there are no credentials.
    """
    return _client(emulator())


@lru_cache(maxsize=4)
def _client(address: str | None) -> bigquery.Client:
    credentials, _ = of()
    return bigquery.Client(
        project=charged_project(_NO_PROJECT),
        credentials=credentials,
        client_options=ClientOptions(api_endpoint=address) if address else None,
    )
