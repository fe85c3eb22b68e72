"""Whether a stream is one fused stage, from its source to its sinks.

On the in-process runner everything hangs on it. It runs the stages of a pipeline one after the
other, so a sink behind a shuffle would start when the source has ended, which is never; and the
source's messages would be acknowledged when its own stage is done, before any effect.
"""

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.translations import Stage

_SHUFFLES = {
    common_urns.primitives.GROUP_BY_KEY.urn: "a GroupByKey or Reshuffle",
    common_urns.primitives.FLATTEN.urn: "a Flatten",
}


class NotFusedError(Exception):
    """A stream is cut into several stages: messages would be acknowledged before their effect."""


def check_fused(pipeline: beam.Pipeline) -> None:
    """Checks that all that follows the source runs in the source's own stage.

    Raises:
        NotFusedError: it does not; says what cuts the pipeline.
    """
    graph = pipeline.to_runner_api()
    transforms = [(each.unique_name, each.spec) for each in graph.components.transforms.values()]
    _, stages = FnApiRunner().create_stages(graph)
    working = [stage for stage in stages if _does_work(stage)]
    if len(working) <= 1:
        return
    environments = {stage.environment for stage in working}
    causes = ["resource hints"] if len(environments) > 1 else []
    causes += [f"{cause} in {name}" for name, spec in transforms for cause in _causes(spec)]
    cause = "; ".join(causes) or "something"
    names = ", ".join(_last(stage) for stage in working)
    raise NotFusedError(
        f"a stream has to be one fused stage on this runner, but this one has {len(working)}, in "
        f"{len(environments)} environments, cut by {cause}: {names}. Messages would be "
        "acknowledged before what becomes of them is durable."
    )


def _does_work(stage: Stage) -> bool:
    """All but what hands the source itself over, before anything is read."""
    urns = {transform.spec.urn for transform in stage.transforms}
    setup = {
        common_urns.sdf_components.PAIR_WITH_RESTRICTION.urn,
        common_urns.sdf_components.SPLIT_AND_SIZE_RESTRICTIONS.urn,
    }
    return not urns & setup


def _causes(spec: beam_runner_api_pb2.FunctionSpec) -> Iterator[str]:
    """What a step of the pipeline, as it was built, cuts it by: the runner's own steps hide it."""
    if spec.urn in _SHUFFLES:
        yield _SHUFFLES[spec.urn]
    if spec.urn == common_urns.primitives.PAR_DO.urn:
        payload = beam_runner_api_pb2.ParDoPayload.FromString(spec.payload)
        if payload.side_inputs:
            yield "a side input"


def _last(stage: Stage) -> str:
    return str(stage.transforms[-1].unique_name)
