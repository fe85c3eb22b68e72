"""A small double of BigQuery's REST interface, for what the emulator does not do.

It keeps tables as they were asked for, gives what a test tells it to say of queries, and fails as a
test wants it to. It runs no SQL: a statement that it is given is noted as run, and the table that a
statement makes is there, without rows.
"""

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PREFIX = "/bigquery/v2/projects/"


@dataclass
class Fault:
    """What becomes of the requests that match, as often as it says.

    Attributes:
        method: such as GET.
        path: a regular expression that the path after the project must match.
        status: of the answer; None drops the connection once the request has taken effect.
        reason: in BigQuery's words, such as accessDenied.
        message: for a person.
        times: how often.
    """

    method: str
    path: str
    status: int | None
    reason: str = ""
    message: str = ""
    times: int = 1


@dataclass
class RestDouble:
    """A server with datasets, tables and jobs.

    Attributes:
        datasets: by `project.dataset`.
        tables: by `project.dataset.table`, as they were asked for.
        plans: what a dry run says of a statement that holds a text, by that text.
        failures: why jobs fail whose statement holds a text, by that text: one after the other.
        polls: how often a job is still running when it is asked for.
        requests: of each: method, path, headers, body.
        executed: the statements that were run, by job.
        projects: those in which jobs were run, one for each job.
    """

    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)
    polls: int = 0
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    executed: dict[str, str] = field(default_factory=dict)
    projects: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._faults: list[Fault] = []
        self._jobs: dict[tuple[str, str], dict[str, Any]] = {}
        self._etags = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "RestDouble":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail(self, method: str, path: str, status: int | None, **rest: Any) -> None:
        """Has requests fail; see `Fault`."""
        self._faults.append(Fault(method, path, status, **rest))

    def add_dataset(self, name: str, location: str = "EU") -> None:
        """Makes a dataset, `project.dataset`."""
        self.datasets[name] = {"location": location}

    def add_table(self, name: str, *columns: tuple[str, str], **more: Any) -> None:
        """Makes a table, `project.dataset.table`, with columns of a name and a type."""
        fields = [{"name": column, "type": type_} for column, type_ in columns]
        self._put(name, {"type": "TABLE", "schema": {"fields": fields}, **more})

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> "Answer":
        """Does what a request asks for."""
        with self._lock:
            self.requests.append((method, path, headers, body))
            project, _, rest = path.removeprefix(_PREFIX).partition("/")
            fault = self._fault(method, rest)
            if fault is not None and fault.status is not None:
                return _error(fault.status, fault.reason, fault.message)
            answer = self._route(method, project, rest, headers, body)
            return Answer(0, {}) if fault is not None else answer

    def _fault(self, method: str, rest: str) -> Fault | None:
        for fault in self._faults:
            if fault.times and fault.method == method and re.search(fault.path, rest):
                fault.times -= 1
                return fault
        return None

    def _route(
        self, method: str, project: str, rest: str, headers: dict[str, str], body: Any
    ) -> "Answer":
        parts = rest.split("/")
        if parts[0] == "jobs":
            is_new = method == "POST"
            return self._insert(project, body) if is_new else self._job((project, parts[1]))
        dataset = f"{project}.{parts[1]}"
        if dataset not in self.datasets:
            return _error(404, "notFound", f"Not found: Dataset {dataset}")
        if len(parts) == 2:
            reference = {"projectId": project, "datasetId": parts[1]}
            return Answer(200, {"datasetReference": reference, **self.datasets[dataset]})
        if method == "POST":
            return self._create(f"{dataset}.{body['tableReference']['tableId']}", body)
        return self._on_table(method, f"{dataset}.{parts[3]}", headers, body)

    def _create(self, name: str, body: Any) -> "Answer":
        if name in self.tables:
            return _error(409, "duplicate", f"Already Exists: Table {name}")
        return Answer(200, self._put(name, {"type": "TABLE", **body}))

    def _on_table(self, method: str, name: str, headers: dict[str, str], body: Any) -> "Answer":
        if name not in self.tables:
            return _error(404, "notFound", f"Not found: Table {name}")
        found = self.tables[name]
        if method == "DELETE":
            return Answer(204, self.tables.pop(name))
        if method == "PATCH":
            if headers.get("If-Match") not in (None, found["etag"]):
                return _error(412, "conditionNotMet", "Precondition Failed")
            return Answer(200, self._put(name, {**found, **body}))
        return Answer(200, found)

    def _put(self, name: str, resource: dict[str, Any]) -> dict[str, Any]:
        self._etags += 1
        project, dataset, table = name.split(".")
        reference = {"projectId": project, "datasetId": dataset, "tableId": table}
        own = {"tableReference": reference, "etag": str(self._etags)}
        location = self.datasets.get(f"{project}.{dataset}", {}).get("location")
        times = {"lastModifiedTime": str(1_700_000_000_000 + self._etags)}
        self.tables[name] = {"location": location, **times, **resource, **own}
        return self.tables[name]

    def _insert(self, project: str, body: Any) -> "Answer":
        query = body["configuration"]["query"]["query"]
        name = body.get("jobReference", {}).get("jobId", "dry")
        if body["configuration"].get("dryRun"):
            plan = next((plan for text, plan in self.plans.items() if text in query), {})
            return Answer(200, {**body, "status": {"state": "DONE"}, "statistics": plan})
        if (project, name) in self._jobs:
            return _error(409, "duplicate", f"Already Exists: Job {project}:{name}")
        status: dict[str, Any] = {"state": "DONE"}
        messages = next((left for text, left in self.failures.items() if text in query), [])
        if not messages:
            self.executed[name] = query
            self._made_by(query)
            self.projects.append(project)
        else:
            message = messages.pop(0)
            error = {"reason": "backendError", "message": message}
            status |= {"errorResult": error, "errors": [error]}
        self._jobs[project, name] = {**body, "status": status, "statistics": {}}
        return Answer(200, self._running((project, name)))

    def _made_by(self, query: str) -> None:
        made = re.match("CREATE TABLE `(.+)`", query)
        if made and made[1] not in self.tables:
            plan = next((plan for text, plan in self.plans.items() if text in query), {})
            self._put(made[1], {"type": "TABLE", "schema": plan["query"]["schema"]})

    def _job(self, job: tuple[str, str]) -> "Answer":
        if job not in self._jobs:
            return _error(404, "notFound", f"Not found: Job {job[0]}:{job[1]}")
        if self.polls:
            self.polls -= 1
            return Answer(200, self._running(job))
        return Answer(200, self._jobs[job])

    def _running(self, job: tuple[str, str]) -> dict[str, Any]:
        return {**self._jobs[job], "status": {"state": "RUNNING"}}


@dataclass(frozen=True)
class Answer:
    """A status, 0 for none at all, and a body."""

    status: int
    body: Any


def _error(status: int, reason: str, message: str) -> Answer:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return Answer(status, {"error": error})


def _handler_of(double: RestDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.partition("?")[0]
            answer = double.answer(self.command, path, dict(self.headers), body)
            if not answer.status:
                self.close_connection = True
                return
            payload = b"" if answer.status == 204 else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            pass

    return Handler
