"""A Flink cluster and Prism for the tests of this folder, and real commands that use them."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, free_port, require_emulator

sys.path.append(str(Path(__file__).parents[1] / "crash"))  # the publisher, and its account

from cluster import Cluster
from parts import FLINK, JOB_SERVER, PRISM, Part
from rows import write_wide
from submitted import Submission, submit

_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is here: it takes parts that are not in the virtual environment."""
    for item in items:
        if item.path.parent == _FOLDER and item.get_closest_marker("flink_soak") is None:
            item.add_marker("flink")


def require_parts(*parts: Part) -> None:
    """Skips a test whose parts are not here; fails it where services are required."""
    missing = [reason for part in parts if (reason := part.missing())]
    if not missing:
        return
    if os.environ.get("SCORELINE_REQUIRE_SERVICES") == "1":
        pytest.fail("; ".join(missing))
    pytest.skip("; ".join(missing))


@pytest.fixture(scope="session")
def emulator_port() -> int:
    """Where the Pub/Sub emulator will be: the cluster's workers know before it is started."""
    return free_port()


@pytest.fixture(scope="session")
def emulator(emulator_port: int) -> Iterator[Emulator]:
    """A Pub/Sub emulator that the cluster's workers know."""
    require_emulator()
    with Emulator(port=emulator_port) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def flink_parts() -> None:
    """Flink and the job server are here."""
    require_parts(FLINK, JOB_SERVER)


@pytest.fixture(scope="session")
def flink_cluster(
    flink_parts: None, emulator_port: int, tmp_path_factory: Any
) -> Iterator[Cluster]:
    """A cluster for all tests."""
    env = {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{emulator_port}"}
    with Cluster(tmp_path_factory.mktemp("flink"), env) as cluster:
        yield cluster


@pytest.fixture
def cluster(flink_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with all its processes, and without a running job; so it is left, too."""
    _mend(flink_cluster)
    yield flink_cluster
    for job, state in flink_cluster.rest.jobs().items():
        if state not in ("FINISHED", "FAILED", "CANCELED"):
            flink_cluster.rest.cancel(job)
            flink_cluster.rest.wait_for_state(job, ["CANCELED", "FINISHED", "FAILED"])


def _mend(cluster: Cluster) -> None:
    """Replaces what the test before has ended."""
    for pod in cluster.pods:
        if not pod.pool.is_alive():
            cluster.replace_pool(pod)
        if not pod.taskmanager.is_alive():
            cluster.replace_taskmanager(pod)
    cluster.wait_for_slots()


@pytest.fixture(scope="session")
def prism() -> Path:
    """The program."""
    require_parts(PRISM)
    return PRISM.path


@pytest.fixture
def start(
    workdir: Path, classifier_file: Path, emulator_port: int
) -> Iterator[Callable[..., Submission]]:
    """Starts `scoreline score` with the classifier in `workdir`; it does not outlive the test."""
    started: list[Submission] = []

    def run(*words: str | os.PathLike[str], model: Path = classifier_file) -> Submission:
        command = ["score", "--model", str(model), "--allow-pickle", *map(os.fspath, words)]
        env = {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{emulator_port}"}
        err = workdir / f"stderr-{len(started)}.txt"
        started.append(submit(command, workdir, err, env))
        return started[-1]

    yield run
    for submission in started:
        submission.end()


@pytest.fixture(scope="session")
def million(tmp_path_factory: Any) -> Path:
    """A million rows, wide enough to be several splits: there is work for both slots."""
    return write_wide(tmp_path_factory.mktemp("million") / "in.parquet", 1_000_000)
