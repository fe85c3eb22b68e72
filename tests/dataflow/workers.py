"""Runs what was submitted as workers would: with nothing but what they get."""

import base64
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fake_dataflow import BUCKET, FakeCloud, RecordedJob
from google.pubsub_v1 import types

RUN = Path(__file__).with_name("run_submitted.py")


def write_messages(payloads: Sequence[bytes], path: Path) -> Path:
    """Writes messages as the service's own source would give them, for `run_submitted.py`."""
    path.write_text("".join(f"{line}\n" for line in map(_as_sent, enumerate(payloads))))
    return path


def save(cloud: FakeCloud, job: RecordedJob, path: Path) -> Path:
    """Writes the very graph that was staged for a job."""
    path.write_bytes(cloud.store.get(job.options["pipelineUrl"]))
    return path


def installed(cloud: FakeCloud, folder: Path) -> Path:
    """A folder with nothing but what workers install of ours and of the user's."""
    for uri in cloud.store.names(f"gs://{BUCKET}/staging"):
        if uri.endswith(".whl"):
            with zipfile.ZipFile(io.BytesIO(cloud.store.get(uri))) as wheel:
                wheel.extractall(folder)
    return folder


def _as_sent(numbered: tuple[int, bytes]) -> str:
    number, payload = numbered
    message = types.PubsubMessage(
        data=payload,
        attributes={"region": "north"},
        message_id=str(number),
        publish_time="2026-01-31T12:00:00Z",
    )
    return base64.b64encode(types.PubsubMessage.serialize(message)).decode()


def run(words: list[str], package: Path, cwd: Path) -> str:
    """Runs graphs without this environment's scoreline: -S leaves out what links to it."""
    libraries = [one for one in sys.path if one.endswith("-packages")]
    path = os.pathsep.join([str(package), *libraries])
    done = subprocess.run(
        [sys.executable, "-S", str(RUN), *words],
        cwd=cwd,
        env={**_only_what_workers_have(), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _only_what_workers_have() -> Mapping[str, str]:
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST")
    kept += ("BIGQUERY_EMULATOR_HOST", "BIGQUERY_STORAGE_EMULATOR_HOST")
    kept += ("GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK", "HTTP_PROXY", "NO_PROXY")
    return {name: os.environ[name] for name in kept if name in os.environ}
