"""Asks Pub/Sub for the parts of a job before the start, and says what is wrong with them.

Who asked for the wrong thing is told at once. A service that does not answer is no mistake of
theirs: it is asked again for a while, and then the run ends so that a supervisor starts it anew.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import google.auth.exceptions
import grpc

from scoreline.transforms.leases import is_transient, reason
from scoreline.transforms.pubsub_client import Subscription, client

from .errors import NoAnswerError, UsageError

_LOGGER = logging.getLogger(__name__)

_RETRY_SECS = 60.0  # a restart of a proxy or of a credential server is over by then
_MIN_WAIT_SECS = 0.5
_MAX_WAIT_SECS = 10.0

T = TypeVar("T")


def ask_pubsub(flag: str, roles: str, ask: Callable[[], T]) -> T:
    """Asks for a part of the job, again for a minute while the service does not answer.

    Args:
        flag: that names the part.
        roles: that asking for it takes.
        ask: asks the service once.

    Raises:
        UsageError: it is not there, or may not be seen.
        NoAnswerError: the service did not answer for a minute.
    """
    started = time.monotonic()
    has_said = False
    while True:
        try:
            return ask()
        except Exception as error:  # no credentials, no network: whatever a library raises
            if not _may_pass(error):
                raise UsageError(f"{flag}: {_said(error, roles)}") from None
            secs = time.monotonic() - started
            wait_secs = min(max(_MIN_WAIT_SECS, secs), _MAX_WAIT_SECS)
            if secs + wait_secs > _RETRY_SECS:
                raise NoAnswerError(
                    f"{flag}: Pub/Sub did not answer for {secs:.0f} s: {_why(error)}. Nothing was "
                    "started: give the same command again when it answers."
                ) from None
            if not has_said:
                _LOGGER.warning(
                    "%s: Pub/Sub does not answer, trying again for %g s: %s",
                    flag,
                    _RETRY_SECS,
                    _why(error),
                )
                has_said = True
        time.sleep(wait_secs)


@dataclass(frozen=True)
class Need:
    """A permission that the run takes: on what, which flag names that, which role grants it."""

    flag: str
    path: str
    permission: str
    role: str


def check_permissions(needs: Sequence[Need]) -> None:
    """Checks that we may do what we are going to do; an emulator lets everybody do everything.

    Raises:
        UsageError: some permissions are missing; names them all.
        NoAnswerError: the service did not answer for a minute.
    """
    missing = [
        f"{need.flag}: no permission {need.permission}: grant {need.role} on {need.path} to the "
        "account that runs this."
        for need in needs
        if _may(need) is False
    ]
    if missing:
        raise UsageError("\n".join(missing))


def _may(need: Need) -> bool | None:
    return ask_pubsub(need.flag, need.role, lambda: client().may(need.path, need.permission))


def check_pulled(flag: str, path: str, found: Subscription) -> None:
    """Checks that messages can be pulled from a subscription.

    Raises:
        UsageError: it was detached, or the service takes its messages somewhere itself.
    """
    create = f"gcloud pubsub subscriptions create NAME --topic {found.topic}"
    if found.is_detached:
        raise UsageError(
            f"{flag}: it was detached from its topic: nothing comes, and what it held is gone. "
            f"Make another one: {create}"
        )
    if found.delivers_to:
        turn = ""
        if found.delivers_to == "an endpoint":
            turn = (
                ", or have this one pulled from: gcloud pubsub subscriptions modify-push-config "
                f"{path} --push-endpoint="
            )
        raise UsageError(
            f"{flag}: the service pushes its messages to {found.delivers_to}: nothing can be "
            f"pulled. Make one of the type pull: {create}{turn}"
        )


def _may_pass(error: Exception) -> bool:
    """Whether the same question may be answered a little later."""
    if isinstance(error, grpc.RpcError):
        return is_transient(error)
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        is_transport = isinstance(error, google.auth.exceptions.TransportError)
        return is_transport or bool(error.retryable)
    return isinstance(error, ConnectionError | TimeoutError)


def _why(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        return reason(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".")


def _said(error: Exception, roles: str) -> str:
    code = error.code() if isinstance(error, grpc.Call) else None
    if code == grpc.StatusCode.NOT_FOUND:
        return "there is none of this name. Create it, or check project and spelling."
    if code == grpc.StatusCode.PERMISSION_DENIED:
        return f"no permission: it takes {roles}. {_why(error)}"
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return f"no such name is possible: {_why(error)}"
    if code is not None and code != grpc.StatusCode.UNAUTHENTICATED:
        return f"Pub/Sub refuses: {_why(error)}"
    return (
        f"cannot talk to Pub/Sub: {_why(error)}. For the emulator, set PUBSUB_EMULATOR_HOST; else "
        "log in with gcloud auth application-default login."
    )
