"""The session cluster of templates/flink, with the configuration and the arguments of its pods.

One JobManager and one TaskManager run here as processes. What only Kubernetes has is replaced: high
availability, the bucket, and the ports, as other clusters run on this machine too.
"""

import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from parts import BOOT, FLINK, JOB_SERVER
from processes import Running, free_port, listens
from rest import Rest
from running import numbers, write

sys.path.append(str(Path(__file__).parents[1] / "templates"))
import kustomize
from manifests import Manifest, arguments, named, pods

_TEMPLATE = Path(__file__).resolve().parents[2] / "templates" / "flink"
_MAIN = {
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
}
_BASH_UTILS = "org.apache.flink.runtime.util.bash.BashJavaUtils"
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"


@dataclass(frozen=True)
class Started:
    """A cluster of the template's.

    Attributes:
        settings: config.yaml.
        ports: what is listened on instead of the template's ports.
        rest: of the JobManager.
        container: of each component.
    """

    settings: dict[str, Any]
    ports: dict[str, dict[str, int]]
    rest: Rest
    container: dict[str, Manifest]


class _Starter:
    def __init__(self, folder: Path):
        self.folder = folder
        self.manifests = kustomize.render(_TEMPLATE / "cluster")
        data = named(self.manifests, "ConfigMap", "flink-config")["data"]
        self.settings = yaml.safe_load(data["config.yaml"])
        (folder / "conf").mkdir()
        for name, text in data.items():
            (folder / "conf" / name).write_text(text)
        self.containers = {
            name: pod.container(name)
            for name in _MAIN
            for pod in pods(self.manifests)
            if pod.component == name
        }
        keys = [key for key in self.settings if key.endswith("port")]
        self.ports = {name: {key: free_port("127.0.0.1") for key in keys} for name in _MAIN}
        for key in keys:  # where the TaskManager looks for the JobManager
            if key.startswith(("jobmanager", "blob")):
                self.ports["taskmanager"][key] = self.ports["jobmanager"][key]

    def start(self, name: str) -> Running:
        words = self._words(name)
        java, options = self._memory(name, words)
        java += self.settings["env.java.opts.all"].split()
        log = f"-Dlog4j.configurationFile=file:{self.folder}/conf/log4j-console.properties"
        classes = str(FLINK.path / "lib" / "*")
        program = ["java", *java, log, "-cp", classes, _MAIN[name]]
        conf = ["--configDir", str(self.folder / "conf")]
        plugins = {"FLINK_PLUGINS_DIR": str(FLINK.path / "plugins")}
        return Running(name, [*program, *conf, *options, *words], self.folder, plugins)

    def _words(self, name: str) -> list[str]:
        """The arguments of the container, as they are in a pod; then what differs here."""
        container = self.containers[name]
        mebibytes = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 1024
        here = {
            "<status.podIP>": "127.0.0.1",
            "<limits.memory>": str(mebibytes),
            "<metadata.namespace>": "scoreline",
            "<metadata.name>": name,
            "gs://REPLACE-ME": f"file://{self.folder}",
        }
        first, *words = arguments(container, self.manifests)
        assert first == name
        for placeholder, value in here.items():
            words = [word.replace(placeholder, value) for word in words]
        other = {
            "high-availability.type": "NONE",
            "io.tmp.dirs": self.folder,
            "web.tmpdir": self.folder,
            "jobmanager.rpc.address": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            **self.ports[name],
        }
        return words + [word for key, value in other.items() for word in ("-D", f"{key}={value}")]

    def _memory(self, name: str, words: list[str]) -> tuple[list[str], list[str]]:
        """Has Flink divide the memory up, as its scripts do."""
        path = os.pathsep.join(map(str, (FLINK.path / "bin" / "*", FLINK.path / "lib" / "*")))
        which = {"jobmanager": "GET_JM_RESOURCE_PARAMS", "taskmanager": "GET_TM_RESOURCE_PARAMS"}
        conf = ["--configDir", str(self.folder / "conf")]
        program = ["java", "-cp", path, _BASH_UTILS, which[name], *conf, *words]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60)
        found = [line for line in done.stdout.splitlines() if line.startswith(_RESULT)]
        assert len(found) == 2, done.stdout + done.stderr
        java, options = (line.removeprefix(_RESULT).split() for line in found)
        return java, options


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    found = [part.missing() for part in (FLINK, JOB_SERVER, BOOT)]
    reasons = [reason for reason in (*found, kustomize.missing()) if reason]
    if reasons and os.environ.get("SCORELINE_REQUIRE_SERVICES") == "1":
        pytest.fail("; ".join(reasons))
    if reasons:
        pytest.skip("; ".join(reasons))
    starter = _Starter(tmp_path_factory.mktemp("template"))
    rest = Rest(f"127.0.0.1:{starter.ports['jobmanager']['rest.port']}")
    running = [starter.start("jobmanager")]
    try:
        running[0].wait_until(rest.answers, "its REST interface")
        running.append(starter.start("taskmanager"))
        running[1].wait_until(lambda: rest.slots() > 0, "its slots")
        yield Started(starter.settings, starter.ports, rest, starter.containers)
    finally:
        for each in reversed(running):
            each.end()


def page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def test_the_taskmanager_registers_with_its_slots_and_its_port(started: Started) -> None:
    (taskmanager,) = started.rest.get("taskmanagers")["taskmanagers"]
    (slots,) = (
        each["value"] for each in started.container["taskmanager"]["env"] if each["name"] == "SLOTS"
    )
    assert taskmanager["id"] == "taskmanager"
    assert str(taskmanager["slotsNumber"]) == slots
    assert taskmanager["dataPort"] == started.ports["taskmanager"]["taskmanager.data.port"]


def test_the_probe_of_the_jobmanager_finds_it_ready(started: Started) -> None:
    path = started.container["jobmanager"]["readinessProbe"]["httpGet"]["path"]
    assert "flink-version" in page(started.ports["jobmanager"]["rest.port"], path)


def test_flink_took_every_setting(started: Started) -> None:
    entries = started.rest.get("jobmanager/config")
    taken = {entry["key"]: entry["value"] for entry in entries}
    elsewhere = {"high-availability.type", "io.tmp.dirs", "web.tmpdir"}
    elsewhere |= {"jobmanager.memory.jvm-metaspace.size"}  # which it says in bytes
    same = {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in started.settings.items()
        if key not in elsewhere | set(started.ports["jobmanager"])
    }
    assert len(same) > 15
    assert {key: taken.get(key) for key in same} == same


def test_flink_knows_the_settings_and_the_runbook_its_metrics(started: Started) -> None:
    """Flink takes a misspelt setting without a word; the metrics of a job come with a job only."""
    unknown = {key for key in started.settings if not key.startswith("metrics.reporter.")}
    metrics = set(re.findall(r"`flink_\w+?_job_(?:task_)?(\w+)`", runbook()))
    assert len(metrics) == 5
    unknown |= metrics
    (dist,) = (FLINK.path / "lib").glob("flink-dist-*.jar")
    with zipfile.ZipFile(dist) as jar:
        for name in jar.namelist():
            if re.fullmatch(
                r"org/apache/flink/.+(Options|Names|Metrics|Tracker|Gauge)\.class", name
            ):
                code = jar.read(name)
                unknown -= {word for word in unknown if word.encode() in code}
    assert unknown == set()


def test_prometheus_is_served_what_the_runbook_names(started: Started) -> None:
    for name in _MAIN:
        served = page(started.ports[name]["metrics.reporter.prometheus.port"], "/metrics")
        wanted = re.findall(rf"`(flink_{name}_(?!job_)\w+)`", runbook())
        assert wanted or name == "taskmanager"
        assert f"flink_{name}_Status_JVM_Memory_Heap_Used" in served
        assert [metric for metric in wanted if metric not in served] == []


def runbook() -> str:
    return (_TEMPLATE.parents[1] / "docs" / "flink.md").read_text()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[str]:
    """The address of a pool of workers, with the worker image's boot program and variable."""
    port = free_port("127.0.0.1")
    module = "apache_beam.runners.worker.worker_pool_main"
    boot = f"--container_executable={BOOT.path}"
    words = [sys.executable, "-m", module, f"--service_port={port}", boot]
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    variables = {"PATH": path, "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}
    running = Running("workers", words, tmp_path, variables)
    try:
        running.wait_until(lambda: listens("127.0.0.1", port), "an open port")
        yield f"localhost:{port}"
    finally:
        running.end()


def test_the_arguments_of_the_submitting_pod_run_a_job(
    started: Started, pool: str, tmp_path: Path, classifier_file: Path
) -> None:
    write(tmp_path / "in.parquet", numbers(10_000))
    job = {
        "name": "template",
        "source": {"path": "in.parquet"},
        "model": {"uri": str(classifier_file), "trust": {"allow_pickle": True}},
        "sinks": [{"path": "out"}],
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    manifests = kustomize.render(_TEMPLATE / "job")
    (pod,) = pods(manifests)
    command, *words = arguments(pod.container("scoreline"), manifests)
    assert command == "scoreline"
    jar = "--flink_job_server_jar="
    here = {
        "/etc/scoreline/job.yaml": str(tmp_path / "job.yaml"),
        "--flink_master=flink-jobmanager:8081": f"--flink_master={started.rest.address}",
        f"{jar}/opt/scoreline/job-server.jar": f"{jar}{JOB_SERVER.path}",
        "--parallelism=2": "--parallelism=1",  # there is one TaskManager here
    }
    assert set(here) <= set(words)
    words = [here.get(word, word) for word in words]
    ended = subprocess.run(
        [sys.executable, "-m", "scoreline", *words, f"--environment_config={pool}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ended.returncode == 0, ended.stderr
    assert pq.read_table(tmp_path / "out").num_rows == 10_000
