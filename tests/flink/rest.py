"""What is asked of a Flink cluster over its REST interface.

flink = Rest("127.0.0.1:8081")
job = flink.wait_for_job(set())
flink.cancel(job)
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

ENDED = ("FINISHED", "FAILED", "CANCELED", "SUSPENDED")
_CALL_SECS = 20.0
_POLL_SECS = 0.1


class Rest:
    """Calls to a JobManager.

    Args:
        address: host and port.
    """

    def __init__(self, address: str):
        self.address = address

    def get(self, path: str) -> Any:
        """What stands at a path, such as "jobs/overview"."""
        return self._call("GET", path)

    def answers(self) -> bool:
        """Whether it is up."""
        with suppress(OSError, RuntimeError):  # it says 503 while it elects itself
            self.get("overview")
            return True
        return False

    def slots(self) -> int:
        """How many slots all registered TaskManagers have."""
        return int(self.get("overview")["slots-total"])

    def jobs(self) -> dict[str, str]:
        """The state of each job by its id: those that have ended, too."""
        return {job["jid"]: job["state"] for job in self.get("jobs/overview")["jobs"]}

    def state(self, job: str) -> str:
        """The state of a job."""
        return str(self.get(f"jobs/{job}")["state"])

    def times(self, job: str) -> tuple[float, float]:
        """When a job started and ended on the cluster, in seconds since 1970."""
        found = self.get(f"jobs/{job}")
        return float(found["start-time"]) / 1_000, float(found["end-time"]) / 1_000

    def is_running(self, job: str) -> bool:
        """Whether all tasks of a job run."""
        found = self.get(f"jobs/{job}")
        states = {vertex["status"] for vertex in found["vertices"]}
        return found["state"] == "RUNNING" and states <= {"RUNNING", "FINISHED"}

    def exceptions(self, job: str) -> list[str]:
        """What has failed in a job, the newest first."""
        found = self.get(f"jobs/{job}/exceptions")
        return [entry["stacktrace"] for entry in found["exceptionHistory"]["entries"]]

    def checkpoints(self, job: str) -> dict[str, Any]:
        """The checkpoint statistics of a job: `counts`, `latest`, `history`."""
        found: dict[str, Any] = self.get(f"jobs/{job}/checkpoints")
        return found

    def cancel(self, job: str) -> None:
        """Ends a job at once, without a savepoint."""
        self._call("PATCH", f"jobs/{job}?mode=cancel")

    def stop(self, job: str, secs: float = 60.0) -> str:
        """Ends a job with a savepoint, and gives where it is.

        Raises:
            RuntimeError: the savepoint failed, or took too long.
        """
        request = self._call("POST", f"jobs/{job}/stop", {"drain": False})["request-id"]
        deadline = time.monotonic() + secs
        while time.monotonic() < deadline:
            found = self.get(f"jobs/{job}/savepoints/{request}")
            if found["status"]["id"] == "COMPLETED":
                operation = found["operation"]
                if "location" not in operation:
                    raise RuntimeError(f"no savepoint: {operation['failure-cause']}")
                return str(operation["location"])
            time.sleep(_POLL_SECS)
        raise RuntimeError(f"no savepoint of {job} within {secs:g} s")

    def wait_for_job(self, known: Iterable[str], secs: float = 60.0) -> str:
        """Waits for a job that is not among those that are known; gives its id."""
        deadline = time.monotonic() + secs
        while time.monotonic() < deadline:
            new = self.jobs().keys() - set(known)
            if new:
                return min(new)
            time.sleep(_POLL_SECS)
        raise RuntimeError(f"no job came to {self.address} within {secs:g} s")

    def wait_for_state(self, job: str, states: Iterable[str], secs: float = 60.0) -> str:
        """Waits until a job is in one of some states; gives which."""
        wanted = tuple(states)
        deadline = time.monotonic() + secs
        while (state := self.state(job)) not in wanted:
            if time.monotonic() > deadline:
                raise RuntimeError(f"job {job} is {state}, not one of {wanted}, after {secs:g} s")
            time.sleep(_POLL_SECS)
        return state

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.address}/v1/{path}",
            data,
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_CALL_SECS) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:2_000]
            raise RuntimeError(f"{method} {path}: {error.code}: {said}") from error
