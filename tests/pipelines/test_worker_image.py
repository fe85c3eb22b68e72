import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scoreline.pipelines.worker_image import ImageFacts, ImageUnknownError, _parts, describe_image

CONFIG = {
    "config": {
        "Labels": {"scoreline.version": "0.1.0", "scoreline.extras": "onnx,skops"},
        "Env": ["PATH=/usr/bin", "PYTHON_VERSION=3.11.9"],
    }
}
PLATFORMS = [
    {"digest": "sha256:arm", "platform": {"os": "linux", "architecture": "arm64"}},
    {"digest": "sha256:amd", "platform": {"os": "linux", "architecture": "amd64"}},
]


@pytest.fixture
def registry() -> Iterator[Any]:
    """A server of what `answers` has; it notes what it is asked in `asked`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            answer = server.answers.get(self.path)
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        answers: dict[str, Any]
        asked: list[str]

    server = Server(("127.0.0.1", 0), Handler)
    server.answers, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_an_image_for_several_machines(registry: Any) -> None:
    host = f"127.0.0.1:{registry.server_port}"
    path = "/v2/p/scoreline"
    registry.answers = {
        f"{path}/manifests/1.0": {"manifests": PLATFORMS},
        f"{path}/manifests/sha256:amd": {"config": {"digest": "sha256:c"}},
        f"{path}/blobs/sha256:c": CONFIG,
    }
    facts = describe_image(f"{host}/p/scoreline:1.0")
    assert facts == ImageFacts("0.1.0", frozenset({"onnx", "skops"}), "3.11.9")
    assert registry.asked == list(registry.answers)


def test_an_image_that_says_nothing(registry: Any) -> None:
    host = f"127.0.0.1:{registry.server_port}"
    registry.answers = {
        "/v2/p/mine/manifests/sha256:m": {"config": {"digest": "sha256:c"}},
        "/v2/p/mine/blobs/sha256:c": {"config": {"Labels": None}},
    }
    facts = describe_image(f"{host}/p/mine@sha256:m")
    assert facts == ImageFacts(None, None, None)


def test_no_extras_is_not_nothing_said(registry: Any) -> None:
    host = f"127.0.0.1:{registry.server_port}"
    registry.answers = {
        "/v2/p/mine/manifests/latest": {"config": {"digest": "sha256:c"}},
        "/v2/p/mine/blobs/sha256:c": {"config": {"Labels": {"scoreline.extras": ""}}},
    }
    assert describe_image(f"{host}/p/mine").extras == frozenset()


def test_a_registry_that_does_not_have_it(registry: Any) -> None:
    host = f"127.0.0.1:{registry.server_port}"
    with pytest.raises(ImageUnknownError, match="HTTP 404 for p/none/manifests/latest"):
        describe_image(f"{host}/p/none")


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(ImageUnknownError, match=r"127\.0\.0\.1:1: URLError"):
        describe_image("127.0.0.1:1/p/none")


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("localhost/scoreline", ("localhost", "scoreline", "latest")),
        ("localhost:5000/a/b:c", ("localhost:5000", "a/b", "c")),
        ("apache/beam:2", ("registry-1.docker.io", "apache/beam", "2")),
        ("gcr.io/p/i:1@sha256:d", ("gcr.io", "p/i", "sha256:d")),
    ],
)
def test_the_parts_of_a_name(image: str, parts: tuple[str, str, str]) -> None:
    assert _parts(image) == parts
