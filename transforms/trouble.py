"""Says once when a service stops to answer, and once when it answers again."""

import logging
import threading
import time
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)

_MIN_WAIT_SECS = 0.1


class Trouble:
    """Whether a service answers, and the waits between attempts while it does not.

    Args:
        service: what stands in the log, such as a subscription's name.
        max_wait_secs: the longest wait between two attempts; the first is 0.1 s, and each one as
            long as the trouble has lasted, so it doubles, however many threads fail at a time.
        on_trouble: is told the reason of each failure, and "" at the end. That is one step with
            noting it: of threads that fail and succeed at a time, the last to be noted is told
            last. It must not come back here.
    """

    def __init__(
        self,
        service: str,
        max_wait_secs: float = 10.0,
        on_trouble: Callable[[str], object] = lambda _: None,
    ):
        self._service = service
        self._max_wait_secs = max_wait_secs
        self._on_trouble = on_trouble
        self._lock = threading.Lock()
        self._since: float | None = None
        self.reason = ""

    def failed(self, reason: str) -> float:
        """Notes a failed attempt; gives the seconds to wait before the next."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
                _LOGGER.warning("%s does not answer, retrying: %s", self._service, reason)
            self.reason = reason
            self._on_trouble(reason)
            return min(max(_MIN_WAIT_SECS, time.monotonic() - self._since), self._max_wait_secs)

    def succeeded(self) -> None:
        """Notes an attempt that succeeded."""
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
            self.reason = ""
            if since is not None:
                self._on_trouble("")
        if since is not None:
            secs = time.monotonic() - since
            _LOGGER.warning("%s answers again after %.1f s", self._service, secs)

    def secs(self) -> float:
        """How long the service has not answered; 0 if it does."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since
