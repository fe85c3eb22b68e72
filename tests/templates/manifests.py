"""Kubernetes manifests as tests ask about them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
_POD_KINDS = ("Deployment", "Job")
_REFERENCE = re.compile(r"\$\((\w+)\)")


@dataclass(frozen=True)
class Pod:
    """What a Deployment or a Job starts."""

    name: str
    kind: str
    replicas: int
    labels: Mapping[str, str]
    spec: Manifest

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    def containers(self) -> list[Manifest]:
        """All of them, side-cars included."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def container(self, name: str) -> Manifest:
        return next(each for each in self.containers() if each["name"] == name)


def pods(manifests: list[Manifest]) -> list[Pod]:
    return [
        Pod(
            one["metadata"]["name"],
            one["kind"],
            one["spec"].get("replicas", 1),
            one["spec"]["template"]["metadata"]["labels"],
            one["spec"]["template"]["spec"],
        )
        for one in manifests
        if one["kind"] in _POD_KINDS
    ]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == kind]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one whose name is this, or this and the hash that kustomize adds."""
    found = [
        one
        for one in of_kind(manifests, kind)
        if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", one["metadata"]["name"])
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def environment(container: Manifest, manifests: list[Manifest]) -> dict[str, str]:
    """The variables of a container; those that only a running pod has are `<field>`."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    for each in container.get("env", []):
        variables[each["name"]] = _value(each, manifests)
    return variables


def _value(variable: Manifest, manifests: list[Manifest]) -> str:
    if "value" in variable:
        return str(variable["value"])
    ((kind, source),) = variable["valueFrom"].items()
    if kind == "configMapKeyRef":
        return str(named(manifests, "ConfigMap", source["name"])["data"][source["key"]])
    return f"<{source.get('fieldPath') or source['resource']}>"


def arguments(container: Manifest, manifests: list[Manifest]) -> list[str]:
    """The command line of a container, its $(VARIABLES) replaced as Kubernetes does."""
    variables = environment(container, manifests)
    words = [*container.get("command", []), *container.get("args", [])]
    return [_REFERENCE.sub(lambda found: variables[found[1]], word) for word in words]


Way = tuple[str, str, int]  # from which component, to which, at which port


def ways(manifests: list[Manifest], direction: str) -> set[Way]:
    """Between which components the network policies let TCP through, by one end or the other.

    Args:
        direction: `ingress`, as the receiving ends say, or `egress`, as the sending ends say.
    """
    return set(_ways(manifests, direction))


def _ways(manifests: list[Manifest], direction: str) -> Iterator[Way]:
    peers = {"ingress": "from", "egress": "to"}[direction]
    for policy in of_kind(manifests, "NetworkPolicy"):
        here = policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component", "*")
        for rule in policy["spec"].get(direction, []):
            for peer in rule.get(peers, [{}]):
                there = _peer(peer)
                ends = (there, here) if direction == "ingress" else (here, there)
                for port in rule["ports"]:
                    if port["protocol"] == "TCP":
                        yield (*ends, port["port"])


def _peer(peer: Manifest) -> str:
    if not peer:
        return "anywhere"
    if "podSelector" in peer:
        return str(peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"])
    if "namespaceSelector" in peer:
        return str(peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"])
    return str(peer["ipBlock"]["cidr"])
