"""A Flink cluster's REST interface, as far as we ask it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeFlink:
    """Answers on a loopback port of its own, from `start` to `stop`.

    Attributes:
        answers: what a path gives; another one gives 404.
        asked: (method, path) of every request.
    """

    def __init__(self, **overview: int):
        counts = {"taskmanagers": 2, "slots-total": 2, "slots-available": 2} | overview
        self.answers: dict[str, Any] = {
            "/v1/config": {"flink-version": "1.19.3"},
            "/v1/overview": counts,
            "/v1/jobmanager/config": [{"key": "parallelism.default", "value": "2"}],
            "/v1/jobs/overview": {"jobs": []},
        }
        self.asked: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def master(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self._server.server_port}"

    def start(self) -> "FakeFlink":
        """Answers from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.asked.append((self.command, self.path))
                answer = fake.answers.get(self.path)
                self.send_response(404 if answer is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_PATCH = do_GET

            def log_message(self, *_args: Any) -> None:
                """Nothing."""

        return Handler
