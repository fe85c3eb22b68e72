"""The real gcloud, talking to a fake of the service."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_dataflow import PROJECT, FakeCloud

_SECS = 120.0


def require_gcloud() -> str:
    """The program's path; skips the test if there is none, unless services are required."""
    program = shutil.which("gcloud")
    if program is None:
        reason = "there is no gcloud on PATH: install Google's Cloud SDK"
        if os.environ.get("SCORELINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


def gcloud(cloud: FakeCloud, folder: Path, *words: str) -> str:
    """Calls gcloud, which finds the fake where Google would be; gives what it prints.

    Args:
        cloud: the fake.
        folder: for its configuration, so that it neither reads nor changes the user's.
        words: behind the name of the program.
    """
    token = folder / "token"
    token.write_text("fake")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAFLOW": f"{cloud.address}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{cloud.address}/storage/v1/",
    }
    done = subprocess.run(
        [require_gcloud(), *words], env=env, capture_output=True, text=True, timeout=_SECS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
