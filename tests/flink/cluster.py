"""A Flink session cluster on this machine, as separate processes on free ports.

    with Cluster(folder) as cluster:
        subprocess.run(["scoreline", "score", ..., *cluster.flags()])

It is as on Kubernetes: a JobManager, and pods of a TaskManager with a pool of Python workers of
its own beside it, which each TaskManager finds at the same `localhost:PORT`. On one machine that
takes two things. Each pool listens at one port, but on an address of its own of the loopback device
(127.0.0.1, 127.0.0.2). And each TaskManager's Java resolves `localhost` by a file of its own, with
the address of its pool (`jdk.net.hosts.file`, since Java 9). Python resolves `localhost` as ever,
so a worker finds its TaskManager, which listens on 127.0.0.1. Network namespaces would do it too,
but take root. Linux has all of 127.0.0.0/8; a Mac has 127.0.0.1 only, and takes one pod.
"""

import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parts import FLINK, JOB_SERVER
from processes import Running, free_port, listens
from rest import Rest

_LOOPBACK = "127.0.0.1"
_JOBMANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASKMANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_BASH_UTILS = "org.apache.flink.runtime.util.bash.BashJavaUtils"
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"

# What Flink's own scripts open to Flink of the inside of Java 17: env.java.opts.all.
_COMPILER = ("api", "file", "parser", "tree", "util")
_EXPORTS = (
    *("java.base/sun.net.util", "java.rmi/sun.rmi.registry"),
    "java.security.jgss/sun.security.krb5",
    *(f"jdk.compiler/com.sun.tools.javac.{name}" for name in _COMPILER),
)
_OPENS = (
    *("java.io", "java.lang", "java.lang.reflect", "java.net", "java.nio", "java.text"),
    *("java.time", "java.util", "sun.nio.ch"),
    *(f"java.util.concurrent{name}" for name in ("", ".atomic", ".locks")),
)
_JAVA_17 = (
    *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS),
    *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENS),
)

_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %-40.40c{1.} %m%n
"""


@dataclass
class Pod:
    """A TaskManager and the pool of its Python workers.

    Attributes:
        number: 1 and up.
        address: where the pool listens: what `localhost` is to the TaskManager.
        taskmanager: with its slots.
        pool: its children are the workers.
    """

    number: int
    address: str
    taskmanager: Running
    pool: Running

    def workers(self) -> list[int]:
        """The Python processes that score."""
        return self.pool.children()


class Cluster:
    """A JobManager and some pods, from the start of the `with` to its end.

    Args:
        folder: for configuration, logs, checkpoints and temporary files.
        env: variables of the Python workers, in addition to this process's.
        num_pods: each with a slot, by default.
        settings: of Flink's configuration, in addition to those that are needed here.
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str] | None = None,
        num_pods: int = 2,
        settings: Mapping[str, str | int] | None = None,
    ):
        self.folder = folder
        self._env = dict(env or {})
        self._addresses = [f"127.0.0.{number}" for number in range(1, num_pods + 1)]
        self.pool_port = free_port(*self._addresses)
        self.rest = Rest(f"{_LOOPBACK}:{free_port(_LOOPBACK)}")
        self._settings = dict(settings or {})
        self._running: list[Running] = []
        self._starts = 0
        self.pods: list[Pod] = []

    def __enter__(self) -> "Cluster":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts all processes, and waits until every slot is there.

        Raises:
            RuntimeError: a process ended, or took too long; with what it said.
        """
        self._configure()
        self.jobmanager = self._java("jobmanager", _JOBMANAGER, ("-Xmx640m", "-Xms128m"))
        self.jobmanager.wait_until(self.rest.answers, "its REST interface")
        # Flags and options of Java that split the memory up as the configuration says.
        self._memory = self._memory_of_a_taskmanager()
        for number, address in enumerate(self._addresses, start=1):
            self.pods.append(
                Pod(number, address, self._taskmanager(number), self._pool(number, address))
            )
        self.wait_for_slots()
        for pod in self.pods:
            self._wait_for_pool(pod)

    def close(self) -> None:
        """Ends all processes."""
        for running in reversed(self._running):
            running.end()

    def wait_for_slots(self, secs: float = 60.0) -> None:
        """Waits until the JobManager knows the slots of all pods."""
        slots = int(self._settings.get("taskmanager.numberOfTaskSlots", 1))
        wanted = slots * len(self._addresses)
        self.jobmanager.wait_until(lambda: self.rest.slots() == wanted, f"{wanted} slots", secs)

    def replace_taskmanager(self, pod: Pod) -> None:
        """Starts a new TaskManager in the place of one that has ended, beside its pool."""
        assert not pod.taskmanager.is_alive()
        pod.taskmanager = self._taskmanager(pod.number)

    def replace_pool(self, pod: Pod) -> None:
        """Starts a new pool in the place of one that has ended."""
        assert not pod.pool.is_alive()
        pod.pool = self._pool(pod.number, pod.address)
        self._wait_for_pool(pod)

    def job_server(self) -> str:
        """Starts Beam's job server for this cluster, and gives its address."""
        port = free_port(_LOOPBACK)
        flags = (f"--flink-master={self.rest.address}", f"--job-port={port}", "--artifact-port=0")
        more = ("--expansion-port=0", f"--artifacts-dir={self.folder / 'artifacts'}")
        java = ("java", "-Xmx512m", "-jar", str(JOB_SERVER.path))
        server = self._run("job-server", (*java, *flags, *more))
        server.wait_until(lambda: listens(_LOOPBACK, port), "an open port")
        return f"localhost:{port}"

    @property
    def environment(self) -> tuple[str, ...]:
        """The flags of Beam that name the pools."""
        return ("--environment_type=EXTERNAL", f"--environment_config=localhost:{self.pool_port}")

    def flags(self, *more: str) -> list[str]:
        """The flags of a job that runs here, submitted by a job server of its own."""
        return [
            "--runner=FlinkRunner",
            "--flink_version=1.19",
            f"--flink_job_server_jar={JOB_SERVER.path}",
            f"--flink_master={self.rest.address}",
            *self.environment,
            *more,
        ]

    def workers(self) -> list[int]:
        """The Python processes of all pods."""
        return [pid for pod in self.pods for pid in pod.workers()]

    @property
    def _lib(self) -> str:
        return str(FLINK.path / "lib" / "*")

    @property
    def _conf(self) -> Path:
        return self.folder / "conf"

    def _configure(self) -> None:
        """Writes what Flink reads: config.yaml, how it logs, and the hosts of each TaskManager."""
        self._conf.mkdir(parents=True)
        (self.folder / "tmp").mkdir()
        settings = _settings(self.folder, self.rest.address) | self._settings
        lines = "".join(f"{name}: {value}\n" for name, value in settings.items())
        (self._conf / "config.yaml").write_text(lines)
        (self._conf / "log4j.properties").write_text(_LOG4J)
        for number, address in enumerate(self._addresses, start=1):
            here = f"{_LOOPBACK} {socket.gethostname()}\n"
            self._hosts(number).write_text(f"{address} localhost\n{here}")

    def _hosts(self, number: int) -> Path:
        return self._conf / f"hosts-{number}"

    def _memory_of_a_taskmanager(self) -> tuple[list[str], list[str]]:
        """Has Flink say how a TaskManager divides its memory, as its scripts do.

        Returns: flags of Java, and options of the TaskManager.
        """
        path = os.pathsep.join((str(FLINK.path / "bin" / "bash-java-utils.jar"), self._lib))
        words = ("java", "-cp", path, _BASH_UTILS, "GET_TM_RESOURCE_PARAMS")
        ended = subprocess.run(
            (*words, "--configDir", str(self._conf)), capture_output=True, text=True, timeout=60
        )
        lines = [line for line in ended.stdout.splitlines() if line.startswith(_RESULT)]
        if len(lines) != 2:
            raise RuntimeError(f"Flink does not divide its memory: {ended.stdout}{ended.stderr}")
        java, options = (line.removeprefix(_RESULT).split() for line in lines)
        return java, options

    def _taskmanager(self, number: int) -> Running:
        java, options = self._memory
        self._starts += 1
        # Its name says which start it is: Flink may not take it for the one that has ended.
        name = f"-Dtaskmanager.resource-id=taskmanager-{number}-start-{self._starts}"
        hosts = f"-Djdk.net.hosts.file={self._hosts(number)}"
        return self._java(f"taskmanager-{number}", _TASKMANAGER, (*java, hosts), (*options, name))

    def _java(
        self, name: str, main: str, java: tuple[str, ...], options: tuple[str, ...] = ()
    ) -> Running:
        log = f"-Dlog4j.configurationFile=file:{self._conf / 'log4j.properties'}"
        program = ("java", *java, *_JAVA_17, log, "-cp", self._lib, main)
        return self._run(name, (*program, "--configDir", str(self._conf), *options))

    def _pool(self, number: int, address: str) -> Running:
        program = Path(__file__).with_name("worker_pool.py")
        words = (sys.executable, str(program), address, str(self.pool_port))
        # The pool starts its workers with whatever `python` is found first.
        path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
        return self._run(f"pool-{number}", words, self._env | {"PATH": path})

    def _wait_for_pool(self, pod: Pod) -> None:
        pod.pool.wait_until(lambda: listens(pod.address, self.pool_port), "an open port")

    def _run(
        self, name: str, words: tuple[str, ...], env: Mapping[str, str] | None = None
    ) -> Running:
        running = Running(name, words, self.folder, env)
        self._running.append(running)
        return running


def _settings(folder: Path, rest: str) -> dict[str, str | int]:
    """Flink's configuration: sizes for a shared machine, and times in which a test can wait."""
    host, port = rest.split(":")
    return {
        "jobmanager.rpc.address": _LOOPBACK,
        "jobmanager.rpc.port": free_port(_LOOPBACK),
        "jobmanager.bind-host": _LOOPBACK,
        "jobmanager.memory.process.size": "1280m",
        "rest.address": host,
        "rest.bind-address": host,
        "rest.port": port,
        "taskmanager.host": _LOOPBACK,
        "taskmanager.bind-host": _LOOPBACK,
        "taskmanager.numberOfTaskSlots": 1,
        "taskmanager.memory.task.heap.size": "512m",
        "taskmanager.memory.task.off-heap.size": "256m",  # what gRPC sends lies outside the heap
        "taskmanager.memory.managed.size": "128m",
        "taskmanager.memory.network.min": "64m",
        "taskmanager.memory.network.max": "64m",
        # Each job brings its classes, and they go when Java next looks.
        "taskmanager.memory.jvm-metaspace.size": "512m",
        "parallelism.default": 1,
        # Flink's default gives up at the first failure, without checkpoints.
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 20,
        "restart-strategy.fixed-delay.delay": "1 s",
        # A TaskManager that says nothing for so long is lost; 50 s by default.
        "heartbeat.interval": 2_000,
        "heartbeat.timeout": 10_000,
        "state.backend.type": "hashmap",
        "state.checkpoints.dir": f"file://{folder / 'checkpoints'}",
        "state.savepoints.dir": f"file://{folder / 'savepoints'}",
        "io.tmp.dirs": str(folder / "tmp"),
        "web.tmpdir": str(folder / "tmp"),
    }
