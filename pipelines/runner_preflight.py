"""Whether all parts of an engine are there before a job is sent to it: Beam would hang silently."""

import os
import re
import shutil
import socket
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from .dataflow_profile import dataflow_profile
from .errors import UsageError
from .flink_cluster import FlinkCluster, FlinkError
from .job import Job
from .runner_profiles import (
    DATAFLOW,
    EMBEDDED,
    FLINK,
    PORTABLE,
    PRISM,
    RunnerProfile,
    given_flags,
    is_remote_flink,
    profile_of,
)

_TIMEOUT_SECS = 5.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_RUNNER_IN_JAR = re.compile(r"META-INF/maven/org\.apache\.beam/beam-runners-flink-([\d.]+)/")


def check_runner(
    beam_flags: Sequence[str],
    *,
    is_stream: bool,
    max_latency_secs: float = 0.1,
    job: Job | None = None,
) -> RunnerProfile:
    """Checks that the runner's parts are there; gives the profile of the job on it.

    Args:
        beam_flags: as the user gave them.
        is_stream: whether the job reads messages.
        max_latency_secs: what the job wants.
        job: all of it: Dataflow's workers must be able to reach every part.

    Raises:
        UsageError: which part is missing or does not answer, what was tried, what to do.
    """
    given = given_flags(beam_flags)
    if job is not None and given.get("runner") == DATAFLOW:
        return dataflow_profile(job, beam_flags)
    version, parallelism = None, 1
    if is_remote_flink(given):
        version, parallelism = _ask_cluster(given)
    profile = profile_of(
        beam_flags,
        is_stream=is_stream,
        max_latency_secs=max_latency_secs,
        flink_version=version or _version_of_jar(given.get("flink_job_server_jar")),
        default_parallelism=parallelism,
    )
    for check in _CHECKS.get(profile.runner, ()):
        check(given, profile)
    return profile


def _ask_cluster(given: Mapping[str, str]) -> tuple[str, int]:
    """The cluster's version (`1.19`) and how parallel its jobs are by default."""
    cluster = FlinkCluster.at(given["flink_master"])
    try:
        full = cluster.version()
        task_managers, slots, free = cluster.slots()
        default = cluster.default_parallelism()
    except (FlinkError, KeyError, ValueError) as error:
        raise UsageError(
            f"--flink_master={given['flink_master']}: no Flink cluster answers there: asked "
            f"{cluster.url}/v1/config for {_TIMEOUT_SECS:g} s: {error}. Check that the JobManager "
            "runs, and that its REST port (8081, unless it was changed) can be reached from here."
        ) from None
    if not task_managers:
        raise UsageError(
            f"--flink_master={given['flink_master']}: the cluster has no TaskManager, so nothing "
            "would ever run. Start one, or look into its log why it did not register."
        )
    named = given.get("parallelism", "-1")
    wanted = int(named) if named.isdigit() and int(named) > 0 else default
    if wanted > free:
        raise UsageError(
            f"the job needs {wanted} slots, and the cluster at {cluster.url} has {free} free of "
            f"{slots}: it would wait for ever. Give a lower --parallelism, add TaskManagers, or "
            "end another job."
        )
    return ".".join(full.split(".")[:2]), default


def _version_of_jar(jar: str | None) -> str | None:
    """The Flink version that a job server's jar is for; None where it does not say."""
    if jar is None or not Path(jar).is_file():
        return None
    try:
        with zipfile.ZipFile(jar) as archive:
            found = filter(None, map(_RUNNER_IN_JAR.match, archive.namelist()))
            return next((match[1] for match in found), None)
    except (OSError, zipfile.BadZipFile):
        return None


def _check_jar(given: Mapping[str, str], _profile: RunnerProfile) -> None:
    jar = given.get("flink_job_server_jar")
    if jar is None or urlsplit(jar).scheme:
        return  # Beam fetches it
    if not Path(jar).is_file():
        raise UsageError(
            f"--flink_job_server_jar={jar}: there is no such file. Leave the flag out, and Beam "
            "fetches the jar; without a way to its repository, build it (docs/flink.md)."
        )
    if not zipfile.is_zipfile(jar):
        raise UsageError(f"--flink_job_server_jar={jar}: it is no jar. Fetch or build it again.")


def _check_versions(given: Mapping[str, str], profile: RunnerProfile) -> None:
    of_jar = _version_of_jar(given.get("flink_job_server_jar"))
    wanted = profile.value("flink_version")
    if of_jar is not None and wanted is not None and of_jar != wanted:
        of = f"the cluster is Flink {wanted}" if "flink_version" not in given else "--flink_version"
        raise UsageError(
            f"--flink_job_server_jar={given['flink_job_server_jar']} is for Flink {of_jar}, but "
            f"{of}{'' if of.startswith('the') else f' says {wanted}'}. Give the job server of the "
            f"cluster's version: beam-runners-flink-{wanted}-job-server."
        )
    if is_remote_flink(given) and "flink_version" in given:
        is_, named = _ask_cluster(given)[0], given["flink_version"]
        if is_ != named:
            raise UsageError(
                f"--flink_version={named}, but the cluster at {given['flink_master']} is Flink "
                f"{is_}. Leave the flag out: it is taken from the cluster."
            )


def _check_java(given: Mapping[str, str], profile: RunnerProfile) -> None:
    if is_remote_flink(given) and profile.value("flink_submit_uber_jar") == "true":
        return
    home = os.environ.get("JAVA_HOME")
    java = Path(home) / "bin/java" if home else None
    if shutil.which("java") is None and not (java and java.is_file()):
        raise UsageError(
            "--runner=FlinkRunner starts Beam's job server here, which is a Java program, and "
            "there is no java on PATH nor in JAVA_HOME. Install Java 11 or 17, or send the job to "
            "a cluster with --flink_master=HOST:PORT --flink_submit_uber_jar, which needs none."
        )


def _check_pool(given: Mapping[str, str], profile: RunnerProfile) -> None:
    """A pool on this machine can be looked at; one beside a TaskManager elsewhere cannot."""
    address = profile.value("environment_config") or given.get("environment_config", "")
    environment = profile.value("environment_type")
    host, _, port = address.rpartition(":")
    if environment != "EXTERNAL" or host not in _LOOPBACK or not _is_cluster_here(given):
        return
    if not port.isdigit():
        raise UsageError(f"--environment_config={address}: expected HOST:PORT of a worker pool")
    problem = _unreachable(host, int(port))
    if problem:
        raise UsageError(
            f"no worker pool answers at {address} (--environment_config): {problem}. Start one on "
            "the TaskManagers' machine: python -m apache_beam.runners.worker.worker_pool_main "
            f"--service_port={port}"
        )


def _is_cluster_here(given: Mapping[str, str]) -> bool:
    """Whether the workers are on this machine; `[local]` would be no host."""
    if not is_remote_flink(given):
        return True
    return urlsplit(FlinkCluster.at(given["flink_master"]).url).hostname in _LOOPBACK


def _check_endpoint(given: Mapping[str, str], _profile: RunnerProfile) -> None:
    address = given.get("job_endpoint", "")
    if address == EMBEDDED:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(
            f"--runner=PortableRunner needs --job_endpoint=HOST:PORT of a job server, got "
            f"{address or 'none'}."
        )
    problem = _unreachable(host.strip("[]"), int(port))
    if problem:
        raise UsageError(
            f"--job_endpoint={address}: no job server answers there: {problem}. Start it, or check "
            "the address."
        )


def _check_prism(given: Mapping[str, str], _profile: RunnerProfile) -> None:
    location = given.get("prism_location")
    if location is None or urlsplit(location).scheme:
        return  # Beam fetches it
    if not Path(location).is_file():
        raise UsageError(
            f"--prism_location={location}: there is no such file. Leave the flag out, and Beam "
            "fetches it; without a way there, build it with Go: go install "
            "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
        )
    if not os.access(location, os.X_OK) and not zipfile.is_zipfile(location):
        raise UsageError(f"--prism_location={location}: it is no program: chmod +x {location}")


def _unreachable(host: str, port: int) -> str:
    """Why nothing can be reached at an address; empty if something can."""
    try:
        with socket.create_connection((host, port), _TIMEOUT_SECS):
            return ""
    except OSError as error:
        return str(error)


_CHECKS = {
    FLINK: (_check_jar, _check_java, _check_versions, _check_pool),
    PRISM: (_check_prism,),
    PORTABLE: (_check_endpoint,),
}
