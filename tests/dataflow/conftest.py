"""Fixtures of tests without the cloud: a recording fake that is taken for Google."""

import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_dataflow import BUCKET, PROJECT, FakeCloud, fake_cloud

sys.path.append(str(Path(__file__).parents[1] / "bigquery"))  # its emulator


@pytest.fixture
def flags(cloud: FakeCloud) -> list[str]:
    """What sends a job to the fake; Beam does not ask pip each time what is installed here."""
    return [*cloud.flags, "--experiments=disable_logging_submission_environment"]


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """A fake with an empty bucket. Nothing in Beam is replaced: it only has to look anew."""
    from apache_beam.internal.gcp.auth import _Credentials

    from scoreline.pipelines import dataflow

    # What this process found of credentials before, it must not know here, nor keep.
    monkeypatch.setattr(_Credentials, "_credentials_init", False)
    monkeypatch.setattr(_Credentials, "_credentials", None)
    monkeypatch.setattr(dataflow, "_POLL_SECS", 0.1)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxy of its first use
    with fake_cloud(BUCKET) as cloud:
        for name, value in cloud.environment(tmp_path).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("BUCKET", f"gs://{BUCKET}")
        monkeypatch.setenv("PROJECT", PROJECT)
        yield cloud
