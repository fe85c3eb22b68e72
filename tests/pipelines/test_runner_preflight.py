import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_flink import FakeFlink

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.runner_preflight import check_runner


@pytest.fixture
def fake() -> Iterator[FakeFlink]:
    fake = FakeFlink().start()
    yield fake
    fake.stop()


@pytest.fixture
def pool() -> Iterator[str]:
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def on(fake: FakeFlink, *flags: str) -> list[str]:
    return ["--runner=FlinkRunner", f"--flink_master={fake.master}", *flags]


def refused(flags: list[str], *, is_stream: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        check_runner(flags, is_stream=is_stream)
    return str(caught.value)


def jar(path: Path, version: str) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"META-INF/maven/org.apache.beam/beam-runners-flink-{version}/pom.xml", "")
    return str(path)


def test_a_cluster_that_is_there(fake: FakeFlink, pool: str) -> None:
    profile = check_runner(on(fake, f"--environment_config={pool}"), is_stream=True)
    assert profile.value("flink_version") == "1.19"
    assert profile.num_readers == 2


def test_no_cluster() -> None:
    said = refused(["--runner=FlinkRunner", "--flink_master=127.0.0.1:9"])
    assert "--flink_master=127.0.0.1:9: no Flink cluster answers there" in said
    assert "asked http://127.0.0.1:9/v1/config for 5 s" in said


def test_something_else_answers_there(fake: FakeFlink) -> None:
    fake.answers["/v1/config"] = {"name": "another"}
    assert "no Flink cluster answers there" in refused(on(fake))


def test_no_task_manager() -> None:
    fake = FakeFlink(taskmanagers=0).start()
    try:
        assert "the cluster has no TaskManager" in refused(on(fake))
    finally:
        fake.stop()


def test_too_few_slots(fake: FakeFlink) -> None:
    said = refused(on(fake, "--parallelism=3"))
    assert "needs 3 slots, and the cluster" in said
    assert "has 2 free of 2" in said


def test_no_pool(fake: FakeFlink) -> None:
    said = refused(on(fake, "--environment_config=localhost:9"))
    assert "no worker pool answers at localhost:9" in said
    assert "worker_pool_main --service_port=9" in said
    assert "expected HOST:PORT" in refused(on(fake, "--environment_config=localhost:x"))


def test_a_pool_elsewhere_cannot_be_looked_at(fake: FakeFlink) -> None:
    check_runner(on(fake, "--environment_config=pool.example:50000"), is_stream=False)
    check_runner(on(fake, "--environment_type=PROCESS"), is_stream=False)


def test_a_jar(fake: FakeFlink, pool: str, tmp_path: Path) -> None:
    config = f"--environment_config={pool}"
    missing = tmp_path / "missing.jar"
    assert "there is no such file" in refused(on(fake, config, f"--flink_job_server_jar={missing}"))
    broken = tmp_path / "broken.jar"
    broken.write_text("no jar")
    assert "it is no jar" in refused(on(fake, config, f"--flink_job_server_jar={broken}"))
    other = jar(tmp_path / "other.jar", "2.0")
    said = refused(on(fake, config, f"--flink_job_server_jar={other}"))
    assert "is for Flink 2.0, but the cluster is Flink 1.19" in said
    fits = jar(tmp_path / "fits.jar", "1.19")
    check_runner(on(fake, config, f"--flink_job_server_jar={fits}"), is_stream=False)
    check_runner(on(fake, config, "--flink_job_server_jar=https://x.example/a.jar"), is_stream=True)


def test_a_version_that_the_cluster_has_not(fake: FakeFlink, pool: str) -> None:
    said = refused(on(fake, f"--environment_config={pool}", "--flink_version=1.20"))
    assert "--flink_version=1.20, but the cluster at" in said
    assert "is Flink 1.19. Leave the flag out" in said


def test_a_local_job_server_takes_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert "there is no java on PATH nor in JAVA_HOME" in refused(["--runner=FlinkRunner"])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/java").touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    fits = jar(tmp_path / "fits.jar", "1.19")
    flags = ["--runner=FlinkRunner", f"--flink_job_server_jar={fits}"]
    assert check_runner(flags, is_stream=False).value("flink_version") == "1.19"


def test_a_job_server(pool: str) -> None:
    assert "needs --job_endpoint=HOST:PORT" in refused(["--runner=PortableRunner"])
    nobody = refused(["--runner=PortableRunner", "--job_endpoint=localhost:9"])
    assert "--job_endpoint=localhost:9: no job server answers there" in nobody
    check_runner(["--runner=PortableRunner", f"--job_endpoint={pool}"], is_stream=False)


def test_prism(tmp_path: Path) -> None:
    missing = tmp_path / "prism"
    flags = ["--runner=PrismRunner", f"--prism_location={missing}"]
    assert "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v" in refused(flags)
    missing.write_text("#!/bin/sh\n")
    assert f"chmod +x {missing}" in refused(flags)
    missing.chmod(0o755)
    check_runner(flags, is_stream=True)
    check_runner(["--runner=PrismRunner"], is_stream=True)


@pytest.mark.parametrize("master", ["[local]", "[auto]"])
def test_a_flink_of_its_own_has_no_address(
    master: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/java").touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    flags = ["--runner=FlinkRunner", f"--flink_master={master}"]
    with_jar = [*flags, f"--flink_job_server_jar={jar(tmp_path / 'a.jar', '1.19')}"]
    assert check_runner(with_jar, is_stream=False).value("environment_type") == "LOOPBACK"
    external = [*with_jar, "--environment_type=EXTERNAL", "--environment_config=localhost:9"]
    assert "no worker pool answers at localhost:9" in refused(external)
