"""The manifests of templates/flink, as kustomize renders them."""

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import kustomize
import pytest
import yaml
from manifests import Manifest, Pod, arguments, environment, named, of_kind, pods, selects, ways

import scoreline
from scoreline.pipelines.arguments import Arguments, arities, split_arguments
from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.flags import run_parser
from scoreline.pipelines.job import Job, make_job
from scoreline.pipelines.job_file import read_job_values
from scoreline.pipelines.runner_profiles import given_flags, profile_of

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "templates" / "flink"
PLACES = {"base": ("cluster", "job"), "example": ("example/cluster", "example/job")}
# The oldest Kubernetes that starts side-cars before and ends them after the others, and the newest.
KUBERNETES = ("1.29", "1.37")

pytestmark = pytest.mark.timeout(900)  # the first of all runs builds kustomize


@pytest.fixture(scope="session", autouse=True)
def _kustomize() -> None:
    reason = kustomize.missing()
    if reason is None:
        return
    if os.environ.get("SCORELINE_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def rendered(folder: str) -> list[Manifest]:
    return kustomize.render(TEMPLATE / folder)


def place(name: str) -> list[Manifest]:
    """A cluster and the job on it."""
    return [one for folder in PLACES[name] for one in rendered(folder)]


def configuration(manifests: list[Manifest]) -> dict[str, Any]:
    settings = yaml.safe_load(named(manifests, "ConfigMap", "flink-config")["data"]["config.yaml"])
    assert isinstance(settings, dict)
    return settings


def submit(manifests: list[Manifest]) -> list[str]:
    """The command line of the Job."""
    (pod,) = (pod for pod in pods(manifests) if pod.component == "submit")
    return arguments(pod.container("scoreline"), manifests)


def split(words: list[str]) -> Arguments:
    assert words[:2] == ["scoreline", "run"]
    return split_arguments(words[2:], arities(run_parser()))


def all_containers() -> Iterator[tuple[str, Pod, Manifest]]:
    for name in PLACES:
        for pod in pods(place(name)):
            for container in pod.containers():
                yield name, pod, container


every_place = pytest.mark.parametrize("name", PLACES)


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_key(version: str) -> None:
    manifests = place("example")  # which has all of the base
    assert {one["kind"] for one in place("base")} < {one["kind"] for one in manifests}
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_refuses_what_is_wrong() -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"prots": []},
    }
    with pytest.raises(kubernetes_validate.ValidationError, match="prots"):
        kubernetes_validate.validate(manifest, KUBERNETES[0], strict=True)


def test_images_have_a_version_that_does_not_move() -> None:
    for _, _, container in all_containers():
        tag = container["image"].partition(":")[2]
        assert tag, container["image"]
        assert tag not in ("latest", "stable", "main"), container["image"]
    ours = {
        container["image"]
        for name, _, container in all_containers()
        if name == "example" and container["name"] in ("workers", "scoreline")
    }
    registry = "europe-docker.pkg.dev/my-project/scoreline"
    assert ours == {f"{registry}/{image}:{scoreline.__version__}" for image in ("worker", "submit")}


def test_no_container_may_do_more_than_it_has_to() -> None:
    for _, pod, container in all_containers():
        of_pod, own = pod.spec["securityContext"], container["securityContext"]
        assert of_pod["runAsNonRoot"] is True
        assert (of_pod | own)["runAsUser"] >= 9999
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        # Flink's own image writes into its folders when it starts.
        assert own.get("readOnlyRootFilesystem", False) is ("flink:" not in container["image"])


def test_every_container_has_requests_and_limits() -> None:
    for _, _, container in all_containers():
        requests, limits = (container["resources"][kind] for kind in ("requests", "limits"))
        assert set(requests) == set(limits) == {"cpu", "memory"}
        # Memory that is lent would be taken back by a kill.
        assert requests["memory"] == limits["memory"]


def test_every_container_that_stays_is_probed() -> None:
    for _, pod, container in all_containers():
        if pod.kind == "Job":
            continue
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            ((_, asked),) = (
                item for item in container[probe].items() if item[0] in ("tcpSocket", "httpGet")
            )
            assert asked["port"] in ports


def test_volumes_accounts_and_maps_are_there() -> None:
    for name, pod, container in all_containers():
        manifests = place(name)
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        for volume in volumes.values():
            if "configMap" in volume:
                named(manifests, "ConfigMap", volume["configMap"]["name"])
        named(manifests, "ServiceAccount", pod.spec["serviceAccountName"])
        assert environment(container, manifests) or container["name"] == "workers"


@every_place
def test_selectors_find_their_pods(name: str) -> None:
    manifests = place(name)
    labels = [pod.labels for pod in pods(manifests)]
    for one in of_kind(manifests, "Deployment"):
        selector = one["spec"]["selector"]["matchLabels"]
        assert selects(selector, one["spec"]["template"]["metadata"]["labels"])
    selectors = [one["spec"]["selector"] for one in of_kind(manifests, "Service")]
    selectors += [
        one["spec"]["selector"]["matchLabels"] for one in of_kind(manifests, "PodDisruptionBudget")
    ]
    assert len(selectors) == 3
    for selector in selectors:
        assert sum(selects(selector, each) for each in labels) == 1


@every_place
def test_roles_are_bound_to_the_accounts(name: str) -> None:
    manifests = place(name)
    verbs = {}
    for binding in of_kind(manifests, "RoleBinding"):
        role = named(manifests, "Role", binding["roleRef"]["name"])
        (subject,) = binding["subjects"]
        account = named(manifests, "ServiceAccount", subject["name"])
        assert subject.get("namespace") == account["metadata"].get("namespace")
        (rule,) = role["rules"]
        assert (rule["apiGroups"], rule["resources"]) == ([""], ["configmaps"])
        verbs[subject["name"]] = set(rule["verbs"])
    reading = {"get", "list", "watch"}
    writing = {"create", "delete", "patch", "update"}
    assert verbs == {"flink-jobmanager": reading | writing, "flink-taskmanager": reading}


@every_place
def test_the_network_lets_through_the_ports_in_use_and_no_other(name: str) -> None:
    manifests = place(name)
    ports = configuration(manifests)
    jobmanager, taskmanager = "jobmanager", "taskmanager"
    metrics = ports["metrics.reporter.prometheus.port"]
    inside = {
        (taskmanager, jobmanager, ports["jobmanager.rpc.port"]),
        (taskmanager, jobmanager, ports["blob.server.port"]),
        ("submit", jobmanager, ports["rest.port"]),
        (jobmanager, taskmanager, ports["taskmanager.rpc.port"]),
        (jobmanager, taskmanager, ports["metrics.internal.query-service.port"]),
        (taskmanager, taskmanager, ports["taskmanager.data.port"]),
    }
    scraped = {("monitoring", component, metrics) for component in (jobmanager, taskmanager)}
    assert ways(manifests, "ingress") == inside | scraped
    outside = {("*", "anywhere", 53), ("*", "anywhere", 443)}
    outside |= {(component, "anywhere", 6443) for component in (jobmanager, taskmanager)}
    if name == "example":
        outside |= {("*", "169.254.169.254/32", 80), ("*", "169.254.169.252/32", 988)}
    assert ways(manifests, "egress") == inside | outside


@every_place
def test_all_pods_are_closed_by_default(name: str) -> None:
    manifests = place(name)
    policy = named(manifests, "NetworkPolicy", "scoreline-default")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]
    selector = policy["spec"]["podSelector"]["matchLabels"]
    assert all(selects(selector, pod.labels) for pod in pods(manifests))


@every_place
def test_containers_name_the_ports_of_the_configuration(name: str) -> None:
    manifests = place(name)
    settings = configuration(manifests)
    numbers = {key: value for key, value in settings.items() if key.endswith("port")}
    assert len(numbers) == len(set(numbers.values())) == 7
    named_ports = {
        port["containerPort"]
        for pod in pods(manifests)
        for container in pod.containers()
        for port in container.get("ports", [])
    }
    assert named_ports == {*numbers.values(), 50000}
    service = named(manifests, "Service", "flink-jobmanager")
    assert [port["port"] for port in service["spec"]["ports"]] == [settings["rest.port"]]


@every_place
def test_the_job_is_submitted_with_flags_that_we_accept(name: str) -> None:
    manifests = place(name)
    sorted_out = split(submit(manifests))
    assert (sorted_out.ours, sorted_out.positionals) == ([], ["/etc/scoreline/job.yaml"])
    profile = profile_of(sorted_out.beam, is_stream=True, flink_version="1.19")
    assert (profile.runner, profile.is_in_process) == ("FlinkRunner", False)
    (pool,) = (
        pod.container("workers") for pod in pods(manifests) if pod.component == "taskmanager"
    )
    (port,) = (port["containerPort"] for port in pool["ports"])
    assert profile.value("environment_type") == "EXTERNAL"
    assert profile.value("environment_config") == f"localhost:{port}"
    assert profile.value("flink_submit_uber_jar") == "true"
    service = named(manifests, "Service", "flink-jobmanager")
    (rest,) = (port["port"] for port in service["spec"]["ports"])
    given = given_flags(sorted_out.beam)
    assert given["flink_master"] == f"{service['metadata']['name']}:{rest}"
    slots = sum(
        pod.replicas * int(environment(pod.container("taskmanager"), manifests)["SLOTS"])
        for pod in pods(manifests)
        if pod.component == "taskmanager"
    )
    assert int(given["parallelism"]) == profile.num_readers == slots


def test_a_flag_that_nobody_knows_would_be_found() -> None:
    with pytest.raises(UsageError, match="flink_mastr"):
        split([*submit(place("base")), "--flink_mastr=x"])


@pytest.fixture
def job_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Job]:
    """Reads the job file of a place, with the variables that its Job has."""

    def read(name: str) -> Job:
        manifests = place(name)
        (pod,) = (pod for pod in pods(manifests) if pod.component == "submit")
        for key, value in environment(pod.container("scoreline"), manifests).items():
            monkeypatch.setenv(key, value)
        path = tmp_path / "job.yaml"
        path.write_text(named(manifests, "ConfigMap", "scoreline-job")["data"]["job.yaml"])
        return make_job(read_job_values(str(path)).values)

    return read


@every_place
def test_the_job_file_is_valid_and_names_nothing_local(
    name: str, job_of: Callable[[str], Job]
) -> None:
    job = job_of(name)
    paths = [job.model.uri, job.report.path, *(sink.path for sink in job.sinks)]
    assert all(path and path.startswith(("gs://", "pubsub://")) for path in paths), paths
    assert "REPLACE-ME" in repr(job) or name == "example"


@every_place
def test_flink_gets_its_memory_from_the_limits(name: str) -> None:
    manifests = place(name)
    for pod in pods(manifests):
        if pod.component == "submit":
            continue
        words = arguments(pod.container(pod.component), manifests)
        assert words[0] == pod.component
        assert words[1::2] == ["-D"] * (len(words) // 2)
        given = dict(word.split("=", 1) for word in words[2::2])
        assert given[f"{pod.component}.memory.process.size"] == "<limits.memory>m"
        assert given["kubernetes.namespace"] == "<metadata.namespace>"
        state = named(manifests, "ConfigMap", "flink-place")["data"]["STATE"]
        assert given["high-availability.storageDir"] == f"{state}/high-availability"
        assert given["state.checkpoints.dir"] == f"{state}/checkpoints"
        assert not set(given) & set(configuration(manifests)), "said twice"


def test_all_versions_of_flink_are_one() -> None:
    images = {
        container["image"]
        for _, _, container in all_containers()
        if container["name"] in ("jobmanager", "taskmanager")
    }
    (image,) = images
    found = re.fullmatch(r"flink:((\d+\.\d+)\.\d+)-scala_2\.12-java17", image)
    assert found
    version, minor = found.groups()
    tested = (ROOT / "tests" / "flink" / "parts.py").read_text()
    assert f'\nFLINK_VERSION = "{version}"\n' in tested
    for name in PLACES:
        plugin = named(place(name), "ConfigMap", "flink-place")["data"]["FILE_SYSTEM"]
        assert plugin == f"flink-gs-fs-hadoop-{version}.jar"
    dockerfile = (TEMPLATE / "Dockerfile").read_text()
    assert f"\nARG FLINK_VERSION={minor}\n" in dockerfile
