"""Google Cloud Storage's JSON API in memory, as far as Beam, Google's client and gcloud use it."""

import base64
import email
import email.policy
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import google_crc32c

_PATH = re.compile(r"(?P<how>/upload|/resumable/upload|/download)?/storage/v1/b(?P<rest>/.*)?")
_COPY = re.compile(
    r"/o/(?P<source>[^/]+)/(?P<how>copyTo|rewriteTo)/b/(?P<bucket>[^/]+)/o/(?P<to>.+)"
)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True)
class Answer:
    """What a server says."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(value: Any, status: int = 200, **headers: str) -> "Answer":
        """A JSON document."""
        head = {"Content-Type": "application/json; charset=UTF-8", **headers}
        return Answer(status, json.dumps(value).encode(), head)

    @staticmethod
    def error(status: int, message: str) -> "Answer":
        """An error as Google's services write it."""
        return Answer.of({"error": {"code": status, "message": message, "errors": []}}, status)


@dataclass(frozen=True)
class Request:
    """What a client asks, without scheme and host."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @staticmethod
    def of(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> "Request":
        """Takes a URL, absolute or not, apart; the path keeps its escapes."""
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        lower = {name.lower(): value for name, value in headers.items()}
        return Request(method, parts.path, query, lower, body)


@dataclass
class _Upload:
    """A resumable upload that goes on."""

    bucket: str
    name: str
    content_type: str
    data: bytes = b""


class ObjectStore:
    """Buckets and their objects.

    Args:
        buckets: those that there are.

    Attributes:
        objects: the content of each, by `bucket/name`.
    """

    def __init__(self, *buckets: str):
        self.buckets = set(buckets)
        self.objects: dict[str, bytes] = {}
        self._types: dict[str, str] = {}
        self._generations: dict[str, int] = {}
        self._uploads: dict[str, _Upload] = {}
        self._lock = threading.RLock()

    def put(self, path: str, data: bytes, content_type: str = "application/octet-stream") -> str:
        """Stores an object under `bucket/name`; gives its gs:// path."""
        with self._lock:
            self.objects[path] = data
            self._types[path] = content_type
            self._generations[path] = self._generations.get(path, 0) + 1
        return f"gs://{path}"

    def get(self, uri: str) -> bytes:
        """The content of a gs:// path."""
        return self.objects[uri.removeprefix("gs://")]

    def names(self, prefix: str = "") -> list[str]:
        """The gs:// paths of all objects that start with a gs:// path, sorted."""
        below = prefix.removeprefix("gs://")
        return sorted(f"gs://{path}" for path in self.objects if path.startswith(below))

    def answer(self, request: Request, address: str) -> Answer | None:
        """What the service says to a request; None if it is not for this service.

        Args:
            request: of a client.
            address: of this server, for uploads that go on.
        """
        if request.path == "/batch/storage/v1":
            return self._batch(request, address)
        found = _PATH.fullmatch(request.path)
        if found is None:
            return None
        with self._lock:
            rest = (found["rest"] or "").lstrip("/")
            if not rest:
                return self._bucket_list(request)
            bucket, _, below = rest.partition("/")
            return self._in_bucket(request, unquote(bucket), f"/{below}", found["how"], address)

    def _bucket_list(self, request: Request) -> Answer:
        if request.method == "POST":
            name = json.loads(request.body)["name"]
            self.buckets.add(name)
            return Answer.of(_bucket(name))
        return Answer.of({"kind": "storage#buckets", "items": list(map(_bucket, self.buckets))})

    def _in_bucket(
        self, request: Request, bucket: str, below: str, how: str | None, address: str
    ) -> Answer:
        if bucket not in self.buckets:
            return Answer.error(404, f"The specified bucket does not exist: {bucket}.")
        if how in ("/upload", "/resumable/upload"):
            return self._upload(request, bucket, f"{address}{request.path}")
        if below in ("/", "/storageLayout"):
            return Answer.of(_bucket(bucket))
        if below in ("/o", "/o/"):
            return self._list(request, bucket)
        copy = _COPY.fullmatch(below)
        if copy is not None:
            return self._copy(bucket, copy)
        return self._object(request, f"{bucket}/{unquote(below.removeprefix('/o/'))}")

    def _list(self, request: Request, bucket: str) -> Answer:
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter")
        items, prefixes = [], set()
        for path in sorted(self.objects):
            name = path.removeprefix(f"{bucket}/")
            if path == name or not name.startswith(prefix):
                continue
            if delimiter and delimiter in name[len(prefix) :]:
                prefixes.add(prefix + name[len(prefix) :].split(delimiter)[0] + delimiter)
            else:
                items.append(self._metadata(path))
        return Answer.of({"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

    def _object(self, request: Request, path: str) -> Answer:
        if path not in self.objects:
            return Answer.error(404, f"No such object: {path}")
        if request.method == "DELETE":
            del self.objects[path]
            return Answer(204)
        if request.method == "GET" and request.query.get("alt") == "media":
            return self._content(path, request.headers.get("range", ""))
        return Answer.of(self._metadata(path))

    def _content(self, path: str, wanted: str) -> Answer:
        data, found = self.objects[path], _RANGE.fullmatch(wanted)
        headers = {
            "Content-Type": self._types[path],
            "X-Goog-Hash": f"crc32c={_crc32c(data)},md5={_md5(data)}",
            "X-Goog-Generation": str(self._generations[path]),
        }
        if found is None:
            return Answer(200, data, headers)
        start, end = int(found[1]), min(int(found[2] or len(data) - 1), len(data) - 1)
        if start >= len(data):
            return Answer.error(416, "Requested range not satisfiable")
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        return Answer(206, data[start : end + 1], headers)

    def _copy(self, bucket: str, copy: re.Match[str]) -> Answer:
        source = f"{bucket}/{unquote(copy['source'])}"
        if source not in self.objects:
            return Answer.error(404, f"No such object: {source}")
        target = f"{unquote(copy['bucket'])}/{unquote(copy['to'])}"
        self.put(target, self.objects[source], self._types[source])
        size = str(len(self.objects[target]))
        resource = self._metadata(target)
        if copy["how"] == "copyTo":
            return Answer.of(resource)
        done = {"done": True, "totalBytesRewritten": size, "objectSize": size}
        return Answer.of({"kind": "storage#rewriteResponse", **done, "resource": resource})

    def _upload(self, request: Request, bucket: str, url: str) -> Answer:
        upload_id = request.query.get("upload_id")
        if upload_id is not None:
            return self._go_on(request, upload_id)
        how = request.query.get("uploadType", "media")
        if how == "multipart":
            head, content_type, data = _related(request)
            return self._store(request, bucket, str(head["name"]), data, content_type)
        if how == "resumable":
            head = json.loads(request.body or b"{}")
            name = str(head.get("name") or request.query["name"])
            refused = self._refused(request, f"{bucket}/{name}")
            if refused is not None:
                return refused
            upload_id = str(len(self._uploads) + 1)
            kind = request.headers.get("x-upload-content-type", "application/octet-stream")
            self._uploads[upload_id] = _Upload(bucket, name, head.get("contentType", kind))
            return Answer.of({}, Location=f"{url}?uploadType=resumable&upload_id={upload_id}")
        kind = request.headers.get("content-type", "application/octet-stream")
        return self._store(request, bucket, request.query["name"], request.body, kind)

    def _go_on(self, request: Request, upload_id: str) -> Answer:
        upload = self._uploads[upload_id]
        found = _CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
        if found is None or found[1] is None:
            upload.data += request.body
        else:
            upload.data = upload.data[: int(found[1])] + request.body
        if found is not None and found[2] == "*":
            return Answer(308, headers={"Range": f"bytes=0-{len(upload.data) - 1}"})
        path = f"{upload.bucket}/{upload.name}"
        self.put(path, upload.data, upload.content_type)
        return Answer.of(self._metadata(path))

    def _store(
        self, request: Request, bucket: str, name: str, data: bytes, content_type: str
    ) -> Answer:
        path = f"{bucket}/{name}"
        refused = self._refused(request, path)
        if refused is not None:
            return refused
        self.put(path, data, content_type)
        return Answer.of(self._metadata(path))

    def _refused(self, request: Request, path: str) -> Answer | None:
        """The answer to a write whose condition does not hold."""
        wanted = request.query.get("ifGenerationMatch")
        there = self._generations[path] if path in self.objects else 0
        if wanted is None or int(wanted) == there:
            return None
        return Answer.error(412, "At least one of the pre-conditions you specified did not hold.")

    def _batch(self, request: Request, address: str) -> Answer:
        """Several requests in one, as the Python client deletes."""
        answers = []
        for number, part in enumerate(_parts(request), start=1):
            lines = part.strip().replace(b"\r\n", b"\n")
            first, _, rest = lines.partition(b"\n")
            method, url = first.decode().split(" ")[:2]
            one = self.answer(Request.of(method, url, {}, rest.partition(b"\n\n")[2]), address)
            assert one is not None, f"no request of storage: {url}"
            head = f"Content-Type: application/http\r\nContent-ID: <response-{number}>\r\n\r\n"
            body = one.body.decode()
            kind = "Content-Type: application/json; charset=UTF-8\r\n" if body else ""
            answers.append(f"{head}HTTP/1.1 {one.status} X\r\n{kind}\r\n{body}\r\n")
        text = "".join(f"--together\r\n{one}" for one in answers) + "--together--\r\n"
        return Answer(200, text.encode(), {"Content-Type": "multipart/mixed; boundary=together"})

    def _metadata(self, path: str) -> dict[str, Any]:
        bucket, _, name = path.partition("/")
        data, generation = self.objects[path], str(self._generations[path])
        return {
            "kind": "storage#object",
            "id": f"{path}/{generation}",
            "selfLink": f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}",
            "name": name,
            "bucket": bucket,
            "generation": generation,
            "metageneration": "1",
            "contentType": self._types[path],
            "storageClass": "STANDARD",
            "size": str(len(data)),
            "md5Hash": _md5(data),
            "crc32c": _crc32c(data),
            "etag": f"etag-{generation}",
            "timeCreated": "2026-01-31T00:00:00.000Z",
            "updated": "2026-01-31T00:00:00.000Z",
        }


def _bucket(name: str) -> dict[str, Any]:
    return {"kind": "storage#bucket", "id": name, "name": name, "location": "US"}


def _related(request: Request) -> tuple[dict[str, Any], str, bytes]:
    """Metadata, content type and content of an upload in two parts."""
    head, content = _parts(request, strip_headers=False)
    described, data = (part.partition(_blank_line(part)) for part in (head, content))
    found = re.search(rb"content-type:\s*([^\r\n]+)", data[0], re.IGNORECASE)
    kind = found[1].decode() if found else "application/octet-stream"
    metadata: dict[str, Any] = json.loads(described[2])
    metadata.setdefault("name", request.query.get("name"))
    return metadata, metadata.get("contentType", kind), data[2]


def _blank_line(part: bytes) -> bytes:
    found = re.search(rb"\r?\n\r?\n", part)
    assert found is not None, "a part has headers, a blank line, and a body"
    return found[0]


def _parts(request: Request, *, strip_headers: bool = True) -> list[bytes]:
    """The parts of a multipart body, byte for byte."""
    kind = email.message_from_string(
        f"Content-Type: {request.headers['content-type']}\n\n", policy=email.policy.HTTP
    )
    boundary = b"--" + str(kind.get_boundary()).encode()
    parts = request.body.split(boundary)[1:-1]
    parts = [re.sub(rb"\A\r?\n|\r?\n\Z", b"", part) for part in parts]
    return [part.partition(_blank_line(part))[2] for part in parts] if strip_headers else parts


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
