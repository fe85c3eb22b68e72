"""A recording fake of Google Cloud on a loopback port: Dataflow, Cloud Storage, access tokens.

It is a registry of container images, too; and an HTTP proxy, so that a client with a made-up
endpoint (`DATAFLOW_ENDPOINT`) ends here. A host that nobody expects gets 502: nothing leaves the
machine.

    with fake_cloud("bucket") as cloud:
        monkeypatch.setenv(...)  # each of cloud.environment(folder)
        main(["run", ..., *cloud.flags])
        (job,) = cloud.jobs
        job.body["type"], job.options["sdk_container_image"], cloud.pipeline(job)
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from apache_beam.portability.api import beam_runner_api_pb2
from object_store import Answer, ObjectStore, Request

PROJECT, REGION, BUCKET = "my-project", "europe-west4", "my-bucket"
# With `sandbox` in it Beam talks REST; `localhost` would skip validation and change the job.
DATAFLOW_ENDPOINT = "http://dataflow.sandbox.test"

_JOBS = re.compile(
    r"/v1b3/projects/(?P<project>[^/]+)(/locations/(?P<region>[^/]+))?/jobs"
    r"(/(?P<job>[^/:]+)(/(?P<part>messages|metrics))?)?"
)
_LAUNCH = re.compile(
    r"/v1b3/projects/(?P<project>[^/]+)(/locations/(?P<region>[^/]+))?"
    r"/(?P<kind>flexTemplates|templates):launch"
)
_IMAGE = re.compile(r"/v2/(?P<path>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")
# As the service numbers them: bodies carry names or numbers.
_STATES = (
    *("UNKNOWN", "STOPPED", "RUNNING", "DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINING"),
    *("DRAINED", "PENDING", "CANCELLING", "QUEUED", "RESOURCE_CLEANING_UP"),
)
_ACTIVE = ("RUNNING", "DRAINING", "PENDING", "QUEUED", "CANCELLING")
_FILTERS = {"2": "TERMINATED", "3": "ACTIVE"}


@dataclass
class RecordedJob:
    """A job that somebody submitted.

    Attributes:
        id: what the service calls it.
        project: where it was sent to.
        region: where it was sent to.
        body: the request, as it came.
        state: RUNNING, DONE, FAILED, ...
        messages: (severity, text) that the service says of it: `JOB_MESSAGE_ERROR`, ...
    """

    id: str
    project: str
    region: str
    body: dict[str, Any]
    state: str = "RUNNING"
    messages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The job's name, which is unique among those that run."""
        return str(self.body["name"])

    @property
    def environment(self) -> dict[str, Any]:
        """What it asks of the service: workers, experiments, service options."""
        environment: dict[str, Any] = self.body["environment"]
        return environment

    @property
    def pool(self) -> dict[str, Any]:
        """Its workers: images, machine, packages."""
        pool: dict[str, Any] = self.environment["workerPools"][0]
        return pool

    @property
    def options(self) -> dict[str, Any]:
        """The pipeline's options, as the workers get them."""
        options: dict[str, Any] = self.environment["sdkPipelineOptions"]["options"]
        return options

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        labels: dict[str, str] = self.body.get("labels", {})
        return labels

    def as_json(self) -> dict[str, Any]:
        """What the service says of it."""
        head = {"id": self.id, "projectId": self.project, "location": self.region}
        return {**self.body, **head, "currentState": _STATES.index(self.state)}


class FakeCloud:
    """Answers on a loopback port of its own, from `start` to `stop`.

    Args:
        buckets: that there are.

    Attributes:
        store: the buckets' objects.
        jobs: that were submitted, in order.
        launches: (project, region, body) of the templates that were launched, in order.
        requests: (method, URL) of everything that was asked, in order.
        first_state: of a new job.
        images: the configuration of each container image in the registry, by `path:tag`.
        on_job: is called with each new job, in a thread of its own: it may run it.
    """

    def __init__(self, *buckets: str):
        self.store = ObjectStore(*buckets)
        self.jobs: list[RecordedJob] = []
        self.launches: list[tuple[str, str, dict[str, Any]]] = []
        self.requests: list[tuple[str, str]] = []
        self.first_state = "RUNNING"
        self.images: dict[str, dict[str, Any]] = {}
        self.on_job: Callable[[RecordedJob], None] | None = None
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def address(self) -> str:
        """http://HOST:PORT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def registry(self) -> str:
        """HOST:PORT of a registry of container images."""
        return self.address.removeprefix("http://")

    @property
    def flags(self) -> list[str]:
        """The flags of Beam's with which a job is sent here."""
        return [
            "--runner=DataflowRunner",
            f"--project={PROJECT}",
            f"--region={REGION}",
            f"--staging_location=gs://{BUCKET}/staging",
            f"--temp_location=gs://{BUCKET}/temp",
            f"--dataflow_endpoint={DATAFLOW_ENDPOINT}",
        ]

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables under which Google's clients find this instead of Google.

        Args:
            folder: for a file of credentials.
        """
        credentials = folder / "credentials.json"
        credentials.write_text(
            json.dumps(
                {
                    "type": "authorized_user",
                    "client_id": "fake",
                    "client_secret": "fake",
                    "refresh_token": "fake",
                    "token": "fake",
                    "expiry": "2099-01-01T00:00:00Z",
                    "quota_project_id": PROJECT,
                }
            )
        )
        return {
            "STORAGE_EMULATOR_HOST": self.address,
            "NO_GCE_CHECK": "true",
            "HTTP_PROXY": self.address,  # in capitals: gRPC reads the other spelling
            "NO_PROXY": "127.0.0.1",
            "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        }

    def start(self) -> "FakeCloud":
        """Answers from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def pipeline(self, job: RecordedJob | Mapping[str, Any]) -> beam_runner_api_pb2.Pipeline:
        """The graph that was submitted.

        Args:
            job: as it was recorded; or the job object of a template.
        """
        body = job.body if isinstance(job, RecordedJob) else job
        url = body["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        return beam_runner_api_pb2.Pipeline.FromString(self.store.get(url))

    def answer(self, request: Request, url: str) -> Answer:
        """What Google would say."""
        with self._lock:
            self.requests.append((request.method, url))
        stored = self.store.answer(request, self.address)
        if stored is not None:
            return stored
        if request.path in ("/token", "/oauth2/v4/token"):
            return Answer.of({"access_token": "fake", "expires_in": 3600, "token_type": "Bearer"})
        found = _JOBS.fullmatch(request.path)
        if found is not None:
            return self._jobs(request, found)
        found = _LAUNCH.fullmatch(request.path)
        if found is not None:
            return self._launch(request, found)
        found = _IMAGE.fullmatch(request.path)
        if found is not None:
            return self._image(found)
        return Answer.error(502, f"{request.method} {url}: nobody answers this here")

    def _jobs(self, request: Request, found: re.Match[str]) -> Answer:
        if found["job"] is None and request.method == "POST":
            body = json.loads(request.body)
            return Answer.of(self._create(found["project"], found["region"], body).as_json())
        if found["job"] is None:
            wanted = request.query.get("filter", "ALL")
            shown = [job for job in self.jobs if _is_shown(job, _FILTERS.get(wanted, wanted))]
            return Answer.of({"jobs": [job.as_json() for job in shown]})
        job = next((job for job in self.jobs if job.id == found["job"]), None)
        if job is None:
            return Answer.error(404, f"({found['job']}): Information about job could not be found")
        if found["part"] == "metrics":
            return Answer.of({"metrics": []})
        if found["part"] == "messages":
            return Answer.of({"jobMessages": list(_messages(job))})
        if request.method == "PUT":
            asked = json.loads(request.body)["requestedState"]
            job.state = _STATES[asked] if isinstance(asked, int) else asked[len("JOB_STATE_") :]
        return Answer.of(job.as_json())

    def _create(self, project: str, region: str | None, body: dict[str, Any]) -> RecordedJob:
        with self._lock:
            if "replaceJobId" not in body:
                for other in self.jobs:  # the service gives the job that has the name
                    if other.name == body["name"] and other.state in _ACTIVE:
                        return other
            number = len(self.jobs) + 1
            job_id = f"2026-01-31_00_00_00-{number}"
            job = RecordedJob(job_id, project, region or "us-central1", body, self.first_state)
            for other in self.jobs:
                if other.id == body.get("replaceJobId"):
                    other.state = "UPDATED"
            self.jobs.append(job)
        if self.on_job is not None:
            threading.Thread(target=self.on_job, args=(job,), daemon=True).start()
        return job

    def _image(self, found: re.Match[str]) -> Answer:
        """A manifest, or the configuration that it names by `TAG`."""
        config = self.images.get(f"{found['path']}:{found['reference']}")
        if config is None:
            return Answer.error(404, "manifest unknown")
        if found["kind"] == "blobs":
            return Answer.of({"config": config})
        return Answer.of({"schemaVersion": 2, "config": {"digest": found["reference"]}})

    def _launch(self, request: Request, found: re.Match[str]) -> Answer:
        body = json.loads(request.body)
        region = found["region"] or "us-central1"
        with self._lock:
            self.launches.append((found["project"], region, body))
            number = len(self.launches)
        name = body.get("launchParameter", body).get("jobName", "launched")
        job = {"id": f"2026-01-31_00_00_01-{number}", "name": name, "location": region}
        return Answer.of({"job": {**job, "projectId": found["project"]}})


@contextmanager
def fake_cloud(*buckets: str) -> Iterator[FakeCloud]:
    """A fake that answers while the block runs."""
    cloud = FakeCloud(*(buckets or (BUCKET,))).start()
    try:
        yield cloud
    finally:
        cloud.stop()


def _is_shown(job: RecordedJob, wanted: str) -> bool:
    if wanted in ("ACTIVE", "TERMINATED"):
        return (job.state in _ACTIVE) == (wanted == "ACTIVE")
    return True


def _messages(job: RecordedJob) -> Iterator[dict[str, str]]:
    for number, (importance, text) in enumerate(job.messages):
        time = f"2026-01-31T00:00:{number:02d}Z"
        yield {"time": time, "messageImportance": importance, "messageText": text}


def _handler(cloud: FakeCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request.of(self.command, self.path, dict(self.headers.items()), body)
            try:
                answer = cloud.answer(request, self.path)
            except Exception as error:  # a test should see what went wrong, not a closed connection
                answer = Answer.error(500, f"the fake failed: {error!r}")
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET

        def do_CONNECT(self) -> None:
            cloud.requests.append((self.command, self.path))
            self.send_error(502, "nothing leaves this machine")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler
