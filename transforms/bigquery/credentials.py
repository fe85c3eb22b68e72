"""Who this process is to BigQuery, and which project its calls are charged to.

| what | where it is said |
|---|---|
| the default: the login of gcloud, or the service account of the machine | nothing to say |
| a service-account file | GOOGLE_APPLICATION_CREDENTIALS |
| another service account, in whose name the calls are made | GOOGLE_IMPERSONATE_SERVICE_ACCOUNT |
| the project that is charged | GOOGLE_CLOUD_QUOTA_PROJECT |
| an emulator, which knows nobody | BIGQUERY_EMULATOR_HOST, BIGQUERY_STORAGE_EMULATOR_HOST |

They are variables, not flags: workers in other processes need them too, and no engine passes flags
of ours on.
"""

import os
from collections.abc import Sequence
from functools import lru_cache

import google.auth
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials, Credentials

from .errors import BigQueryError

REST_EMULATOR = "BIGQUERY_EMULATOR_HOST"
STORAGE_EMULATOR = "BIGQUERY_STORAGE_EMULATOR_HOST"
IMPERSONATE = "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"
QUOTA_PROJECT = "GOOGLE_CLOUD_QUOTA_PROJECT"
_FILE = "GOOGLE_APPLICATION_CREDENTIALS"

_SCOPES: Sequence[str] = ("https://www.googleapis.com/auth/bigquery",)
_IMPERSONATION_SCOPES: Sequence[str] = ("https://www.googleapis.com/auth/cloud-platform",)


def of() -> tuple[Credentials, str | None]:
    """The credentials of this process, and the project that its calls are charged to, if named.

    Raises:
        google.auth.exceptions.GoogleAuthError: there are none, or a file is none.
    """
    quota_project = os.environ.get(QUOTA_PROJECT) or None
    if emulator() or storage_emulator():
        return AnonymousCredentials(), quota_project
    account = os.environ.get(IMPERSONATE)
    credentials, _ = _default(os.environ.get(_FILE), bool(account))
    if account:
        credentials = _impersonated(credentials, account)
    if quota_project and hasattr(credentials, "with_quota_project"):
        credentials = credentials.with_quota_project(quota_project)
    return credentials, quota_project


def charged_project(fallback: str) -> str:
    """The project that jobs and read sessions run in, and that is charged for them.

    It is the one that GOOGLE_CLOUD_QUOTA_PROJECT names, else that of the credentials (which
    GOOGLE_CLOUD_PROJECT overrides), else the fallback: the project of the table.

    Raises:
        google.auth.exceptions.GoogleAuthError: there are no credentials.
    """
    named = os.environ.get(QUOTA_PROJECT)
    if named or emulator() or storage_emulator():
        return named or fallback
    _, own = _default(os.environ.get(_FILE), bool(os.environ.get(IMPERSONATE)))
    return own or fallback


@lru_cache(maxsize=4)
def _default(file: str | None, is_for_another: bool) -> tuple[Credentials, str | None]:
    """What google-auth finds; it asks the machine's metadata server, which takes seconds.

    Args:
        file: as the variable names it now: another one is another login.
        is_for_another: whether these credentials are to get those of another account.
    """
    del file  # google-auth reads the variable itself
    scopes = _IMPERSONATION_SCOPES if is_for_another else _SCOPES
    credentials, project = google.auth.default(scopes=scopes)
    return credentials, project


def _impersonated(source: Credentials, account: str) -> Credentials:
    """Acts in the name of the last account of a list with commas, through those before it."""
    *delegates, target = [name.strip() for name in account.split(",")]
    return impersonated_credentials.Credentials(
        source_credentials=source,
        target_principal=target,
        delegates=delegates,
        target_scopes=_SCOPES,
    )


def emulator() -> str | None:
    """The address of an emulator's REST interface, with its scheme; None for the service itself."""
    address = os.environ.get(REST_EMULATOR) or None
    return f"http://{address}" if address and "://" not in address else address


def storage_emulator() -> str | None:
    """Host and port of an emulator's Storage API; None for the service itself."""
    return os.environ.get(STORAGE_EMULATOR) or None


def check_emulators() -> None:
    """Checks that both interfaces are an emulator's, or none: half a job would go to the service.

    Raises:
        BigQueryError: only one is.
    """
    named = {REST_EMULATOR: emulator(), STORAGE_EMULATOR: storage_emulator()}
    missing = [name for name, address in named.items() if not address]
    if len(missing) == 1:
        (other,) = named.keys() - set(missing)
        raise BigQueryError(
            f"{other} names an emulator of BigQuery, and {missing[0]} does not: set both, or none "
            "for the service itself"
        )
