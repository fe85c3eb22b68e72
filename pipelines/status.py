"""How a stream is doing: a line for a person, and a file in the run folder for each process."""

import logging
import os
import socket
import threading
from collections import Counter
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from scoreline.transforms.storage import join, write_json
from scoreline.transforms.telemetry import PULLING, TELEMETRY, HasSnapshot, Snapshot

from .durations import duration_text

_LOGGER = logging.getLogger(__name__)

_JOIN_SECS = 5.0  # a file system that does not answer must not keep a drained stream from ending


def status_line(now: Snapshot, before: Snapshot) -> str:
    """Turns two moments of a process into one line about the time between them.

    Only dead letters are counted from the start: none may be overlooked.
    """
    latency = now.latency.since(before.latency)
    parts = [
        f"{now.rows_per_sec('read', before):,.0f} messages/s",
        f"p50 {duration_text(latency.quantile(0.5))}",
        f"p99 {duration_text(latency.quantile(0.99))}",
        f"oldest in hand {duration_text(now.oldest_age_secs)}",
        f"dead letters {now.rows['dead_lettered']:,}",
        f"model {now.model_version or '-'}",
    ]
    return _state(now) + ", ".join(parts)


def _state(now: Snapshot) -> str:
    """What is worth saying of the state: nothing while all is well."""
    if now.state == PULLING:
        return ""
    reason = f" ({' '.join(now.reason.split())})" if now.reason else ""
    return f"{now.state}{reason}: "


def status(now: Snapshot, before: Snapshot, head: dict[str, Any]) -> dict[str, Any]:
    """Turns two moments of a process into the status that others read; the keys are the report's.

    What only the end can tell is null: `unaccounted` and `exit_code`.

    Args:
        now: all counts are from the start until then.
        before: `recent` says what came after it.
        head: what the report says that is known before the run.
    """
    return {
        **head,
        "model": head.get("model", {}) | _version(now),
        "at": datetime.fromtimestamp(now.at, UTC).isoformat(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "state": now.state,
        "reason": now.reason,
        "duration_secs": round(now.elapsed_secs, 3),
        **counts(now),
        "recent": {
            "secs": round(now.elapsed_secs - before.elapsed_secs, 3),
            "rows_per_sec": round(now.rows_per_sec("read", before)),
            "latency": now.latency.since(before.latency).as_report(),
        },
        "in_hand": {"messages": now.messages_in_hand, "bytes": now.bytes_in_hand},
        "oldest_age_secs": _rounded(now.oldest_age_secs),
        "unaccounted": None,
        "exit_code": None,
    }


def counts(now: Snapshot) -> dict[str, Any]:
    """What the report of a stream says of rows, dead letters and latency, as counted until now."""
    return {
        "rows": {
            "read": now.rows["read"],
            "predicted": now.rows["predicted"],
            "dead_lettered": now.rows["dead_lettered"],
            "filtered": 0,
            "deduplicated": now.rows["deduplicated"],
        },
        "rows_per_sec": round(now.rows_per_sec("read")),
        "sink_rows": dict(now.sink_rows),
        "dead_letters": dict(Counter(now.codes).most_common()),
        "dead_letter_examples": dict(now.examples),
        "latency": now.latency.as_report(),
    }


def _version(now: Snapshot) -> dict[str, str]:
    return {"version": now.model_version} if now.model_version else {}


def _rounded(secs: float | None) -> float | None:
    return None if secs is None else round(secs, 3)


class StatusWriter:
    """Replaces `status-<host>-<pid>.json` in a run folder, from `start` to `stop`.

    The last one stays: it says in which state the process ended.

    Args:
        run_folder: of the run.
        every_secs: how often.
        head: what the report says that is known before the run: run_id, job, model, ...
        telemetry: of the process.
    """

    def __init__(
        self,
        run_folder: str,
        every_secs: float,
        head: dict[str, Any] | None = None,
        telemetry: HasSnapshot = TELEMETRY,
    ):
        if every_secs <= 0:
            raise ValueError(f"a status is written every few seconds, not every {every_secs:g}")
        self.path = join(run_folder, f"status-{socket.gethostname()}-{os.getpid()}.json")
        self._every_secs = every_secs
        self._head = head or {}
        self._telemetry = telemetry
        self._before = telemetry.snapshot()
        self._is_failing = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="scoreline-status", daemon=True)

    def start(self) -> None:
        """Writes the first status, then goes on in a thread."""
        self._write()
        self._thread.start()

    def stop(self) -> None:
        """Writes the last status."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECS)
        if not self._thread.is_alive():
            self._write()

    def __enter__(self) -> "StatusWriter":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _go_on(self) -> None:
        while not self._stopped.wait(self._every_secs):
            self._write()

    def _write(self) -> None:
        """Writes a status. That this fails is no reason to end a stream: it is tried again."""
        now = self._telemetry.snapshot()
        try:
            write_json(self.path, status(now, self._before, self._head))
        except Exception as error:  # whatever a file system raises
            if not self._is_failing:
                _LOGGER.warning("cannot write %s, trying again: %s", self.path, error)
            self._is_failing = True
            return
        if self._is_failing:
            _LOGGER.warning("%s is written again", self.path)
        self._is_failing = False
        self._before = now
