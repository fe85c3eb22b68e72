"""What a worker without an image of ours installs, in an environment that has nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from examples import ROOT, Example, examples
from fake_dataflow import FakeCloud, RecordedJob
from running import Ended

from scoreline import __version__

RUN = Path(__file__).with_name("run_submitted.py")
WHEEL = f"scoreline-{__version__}-py3-none-any.whl"

pytestmark = pytest.mark.dataflow


@pytest.fixture
def example(cloud: FakeCloud, tmp_path: Path) -> Example:
    """The smallest of all jobs."""
    return examples(cloud, tmp_path)["files.yaml"]


def test_a_worker_installs_what_was_staged_and_runs_the_graph(
    scoreline: Callable[..., Ended],
    cloud: FakeCloud,
    flags: list[str],
    example: Example,
    tmp_path: Path,
) -> None:
    ended = scoreline(*example.words, *flags, "--quiet", "--no_wait_until_finish")
    assert ended.code == 0, ended.err
    (job,) = cloud.jobs
    staged = fetch(cloud, job, tmp_path / "staged")
    python = str(environment(tmp_path / "worker"))
    # As Beam's boot does it: the image has Beam; then the requirements, then the packages.
    pip(python, f"apache-beam[gcp]=={version('apache-beam')}")
    pip(python, "--requirement", str(staged / "requirements.txt"))
    pip(python, str(staged / WHEEL))

    said = run(python, "-m", "pip", "check")
    assert "No broken requirements found" in said
    said = run(python, str(RUN), str(staged / "pipeline.pb"))

    assert f"scoreline is in {tmp_path / 'worker'}" in said
    assert example.predicted(cloud) == example.expected
    assert [name for name in cloud.store.names(ROOT) if name.endswith("_SUCCESS")]


def fetch(cloud: FakeCloud, job: RecordedJob, folder: Path) -> Path:
    """Puts what was staged for a job into a folder."""
    folder.mkdir()
    place = job.options["pipelineUrl"].rpartition("/")[0]
    for uri in cloud.store.names(f"{place}/"):
        (folder / uri.rpartition("/")[2]).write_bytes(cloud.store.get(uri))
    return folder


def environment(folder: Path) -> Path:
    """The Python of a new virtual environment."""
    run(sys.executable, "-m", "venv", str(folder))
    return folder / "bin" / "python"


def pip(python: str, *words: str) -> None:
    # The fake is no way to the package index.
    kept = {name: value for name, value in os.environ.items() if name != "HTTP_PROXY"}
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words, env=kept)


def run(*words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=1_200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
