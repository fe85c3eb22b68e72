"""Looks at a graph that was submitted: its steps, sources, environments, hints."""

from collections.abc import Iterator

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api

PUBSUB_READ = common_urns.composites.PUBSUB_READ.urn
DOCKER = common_urns.environments.DOCKER.urn


def leaves(graph: api.Pipeline) -> Iterator[api.PTransform]:
    """The steps that hold no others."""
    for transform in graph.components.transforms.values():
        if not transform.subtransforms:
            yield transform


def hints(graph: api.Pipeline) -> dict[str, dict[str, bytes]]:
    """{hint: value} of each step that has one, by the step's name."""
    environments = graph.components.environments
    found = {}
    for step in leaves(graph):
        wanted = environments[step.environment_id].resource_hints if step.environment_id else {}
        if wanted:
            found[step.unique_name] = {urn.split(":")[-2]: value for urn, value in wanted.items()}
    return found


def images(graph: api.Pipeline) -> set[str]:
    """The container images of all environments."""
    found = set()
    for environment in graph.components.environments.values():
        assert environment.urn == DOCKER
        found.add(api.DockerPayload.FromString(environment.payload).container_image)
    return found


def sources(graph: api.Pipeline) -> dict[str, str]:
    """{name: URN} of the steps that start the graph."""
    return {step.unique_name: step.spec.urn for step in leaves(graph) if not step.inputs}


def tops(graph: api.Pipeline) -> set[str]:
    """The names of the outermost steps."""
    return {step.unique_name.split("/")[0] for step in leaves(graph)}
