"""What is wrong with an engine is said within half a minute, before anything is written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import Cluster
from parts import JOB_SERVER
from processes import free_port
from running import Ended, files_below, numbers, write
from submitted import Submission

Start = Callable[..., Submission]

pytestmark = pytest.mark.timeout(300)

MOST_SECS = 60.0  # half a minute, on a machine that does other things too
JOB_SECS = 150.0  # where only the job on the cluster shows it: its jar has to get there first


@pytest.fixture
def refused(start: Start, workdir: Path) -> Callable[..., Ended]:
    """Runs a job that cannot start, and checks that it says so in time and leaves nothing."""
    source = write(workdir / "in.parquet", numbers(100))

    def run(*flags: str, code: int = 2, secs: float = MOST_SECS, **options: Path) -> Ended:
        words = ["--input", str(source), "--output", str(workdir / "out"), *flags]
        ended = start(*words, **options).wait(secs)
        assert ended.code == code, ended.err
        assert "Traceback" not in ended.err
        assert not list((workdir / "out").glob("part-*"))
        return ended

    return run


def without(flags: list[str], name: str) -> list[str]:
    return [flag for flag in flags if not flag.startswith(f"--{name}")]


def test_no_cluster(refused: Callable[..., Ended], flink_parts: None, workdir: Path) -> None:
    port = free_port("127.0.0.1")
    said = refused("--runner=FlinkRunner", f"--flink_master=127.0.0.1:{port}").err
    assert f"--flink_master=127.0.0.1:{port}: no Flink cluster answers there" in said
    assert files_below(workdir) == ["in.parquet", "stderr-0.txt"]


def test_no_pool(refused: Callable[..., Ended], cluster: Cluster) -> None:
    port = free_port("127.0.0.1")
    flags = without(cluster.flags(), "environment_config")
    said = refused(*flags, f"--environment_config=localhost:{port}").err
    assert f"no worker pool answers at localhost:{port} (--environment_config)" in said
    assert f"--service_port={port}" in said


def test_a_pool_that_dies_before_the_job_starts(
    refused: Callable[..., Ended], cluster: Cluster
) -> None:
    """The first pool answers the check; the job goes to the TaskManager whose pool is gone."""
    cluster.pods[1].pool.kill()
    cluster.pods[0].taskmanager.kill()
    cluster.jobmanager.wait_until(lambda: cluster.rest.slots() == 1, "one slot", 60)
    said = refused(*cluster.flags(), code=1, secs=JOB_SECS).err
    # Whichever comes first: no sign of a worker in time, or the last of the cluster's restarts.
    pool = f"localhost:{cluster.pool_port}"
    reasons = (f"worker pool listening at {pool} beside", f"found no worker pool at {pool}")
    assert any(reason in said for reason in reasons), said


def test_more_slots_than_there_are(refused: Callable[..., Ended], cluster: Cluster) -> None:
    said = refused(*cluster.flags("--parallelism=3")).err
    assert "the job needs 3 slots, and the cluster at" in said
    assert "has 2 free of 2" in said


def test_another_version_of_flink(refused: Callable[..., Ended], cluster: Cluster) -> None:
    flags = without(cluster.flags(), "flink_version")
    said = refused(*flags, "--flink_version=1.18").err
    assert "1.18" in said
    assert "1.19" in said


def test_no_jar(refused: Callable[..., Ended], cluster: Cluster, workdir: Path) -> None:
    flags = without(cluster.flags(), "flink_job_server_jar")
    said = refused(*flags, f"--flink_job_server_jar={workdir / 'no.jar'}").err
    assert "no.jar: there is no such file" in said
    (workdir / "no.jar").write_bytes(b"PK but no jar")
    said = refused(*flags, f"--flink_job_server_jar={workdir / 'no.jar'}").err
    assert "it is no jar" in said


def test_no_java(
    start: Start, workdir: Path, monkeypatch: pytest.MonkeyPatch, flink_parts: None
) -> None:
    write(workdir / "in.parquet", numbers(100))
    monkeypatch.setenv("PATH", str(workdir))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    flags = ["--runner=FlinkRunner", "--flink_master=[local]"]
    flags += [f"--flink_job_server_jar={JOB_SERVER.path}"]
    ended = start("--input", "in.parquet", "--output", "out", *flags).wait(MOST_SECS)
    assert ended.code == 2, ended.err
    assert "there is no java on PATH nor in JAVA_HOME" in ended.err


def test_a_stream_without_checkpoints(
    start: Start, flink_parts: None, cluster: Cluster, emulator_port: int
) -> None:
    words = ["--input", "pubsub://projects/p/subscriptions/s", "--output", "out"]
    ended = start(*words, *cluster.flags("--checkpointing_interval=-1")).wait(MOST_SECS)
    assert ended.code == 2, ended.err
    assert "--checkpointing_interval=-1: a stream on Flink acknowledges its messages" in ended.err


def test_workers_that_do_not_see_the_model(
    cluster: Cluster, refused: Callable[..., Ended], workdir: Path, classifier_file: Path
) -> None:
    """Workers have a working directory of their own: so they have what /proc/self names, too."""
    (workdir / "model.joblib").write_bytes(classifier_file.read_bytes())
    own = Path("/proc/self/cwd/model.joblib")
    said = refused(*cluster.flags(), code=1, secs=JOB_SECS, model=own).err
    assert f"cannot see {own}: name files that all workers can see" in said


def test_relative_paths_are_those_of_the_command(
    cluster: Cluster, start: Start, workdir: Path
) -> None:
    write(workdir / "in.parquet", numbers(100))
    ended = start("--input", "in.parquet", "--output", "out", *cluster.flags()).wait()
    assert ended.code == 0, ended.err
    assert list((workdir / "out").glob("part-*"))
    assert not (cluster.folder / "out").exists()
