"""A Flink cluster as its REST interface shows it: what it is, and how a job on it fares."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

LOCAL_MASTERS = ("[local]", "[auto]")
_TIMEOUT_SECS = 5.0
_POLL_SECS = 0.5
_SILENCE_SECS = 300.0  # a JobManager may be replaced in that time
_ENDED = ("FINISHED", "FAILED", "CANCELED", "SUSPENDED")


class FlinkError(Exception):
    """The cluster does not answer, or not as one does."""


@dataclass(frozen=True)
class FlinkCluster:
    """A cluster by the address of its JobManager, `http://HOST:PORT`."""

    url: str

    @classmethod
    def at(cls, master: str) -> "FlinkCluster":
        """The cluster that `--flink_master` names."""
        bare = master.strip().rstrip("/")
        return cls(bare if "://" in bare else f"http://{bare}")

    def version(self) -> str:
        """Its version, such as `1.19.3`."""
        return str(self._get("config")["flink-version"])

    def slots(self) -> tuple[int, int, int]:
        """TaskManagers, all slots, free slots."""
        found = self._get("overview")
        return found["taskmanagers"], found["slots-total"], found["slots-available"]

    def default_parallelism(self) -> int:
        """What a job gets that does not say how parallel it is to run."""
        entries = {each["key"]: each["value"] for each in self._get("jobmanager/config")}
        return int(entries.get("parallelism.default", 1))

    def job_named(self, name: str, timeout_secs: float = 60.0) -> str:
        """The id of a job that was just submitted.

        Raises:
            FlinkError: there is none of this name.
        """
        deadline = time.monotonic() + timeout_secs
        while True:
            jobs = self._get("jobs/overview")["jobs"]
            found = [job for job in jobs if job["name"] == name]
            if found:
                return str(max(found, key=lambda job: job["start-time"])["jid"])
            if time.monotonic() > deadline:
                raise FlinkError(f"{self.url} has no job named {name}")
            time.sleep(_POLL_SECS)

    def state(self, job_id: str) -> str:
        """`RUNNING`, `FINISHED`, `FAILED`, `CANCELED`, `RESTARTING`, ..."""
        return str(self._get(f"jobs/{job_id}")["state"])

    def wait(self, job_id: str) -> str:
        """Waits until a job has ended, however long; gives its last state.

        Raises:
            FlinkError: the cluster has not answered for five minutes.
        """
        heard = time.monotonic()
        while True:
            try:
                state = self.state(job_id)
            except FlinkError:
                if time.monotonic() - heard > _SILENCE_SECS:
                    raise
            else:
                heard = time.monotonic()
                if state in _ENDED:
                    return state
            time.sleep(_POLL_SECS)

    def cause(self, job_id: str) -> str:
        """Why a job failed, as the cluster says it; the last of several failures."""
        history = self._get(f"jobs/{job_id}/exceptions").get("exceptionHistory", {})
        entries = history.get("entries", [])
        return str(entries[0]["stacktrace"]) if entries else ""

    def cancel(self, job_id: str) -> None:
        """Asks for the end of a job, at once."""
        self._ask(f"jobs/{job_id}?mode=cancel", method="PATCH")

    def _get(self, path: str) -> Any:
        return json.loads(self._ask(path))

    def _ask(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self.url}/v1/{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECS) as answer:
                body: bytes = answer.read()
                return body
        except (OSError, ValueError) as error:
            raise FlinkError(f"{self.url} does not answer: {error}") from error
