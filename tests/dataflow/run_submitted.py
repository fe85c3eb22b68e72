"""Runs graphs that were submitted, in a process that has nothing but what workers get.

    python -S run_submitted.py GRAPH[=MESSAGES] ...

GRAPH is a file with the very pipeline that was staged. Two things in it are replaced. Its steps
run with this Python, not in a container: those of the first graph in a process of its own, as on a
worker, those of others in this one, over the same protocol, to save the time of imports. And the
native source of Pub/Sub exists on Dataflow only: its messages come from a file, one serialised
PubsubMessage in base64 a line.
"""

import base64
import sys
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

_PUBSUB_READ = common_urns.composites.PUBSUB_READ.urn


def main(words: list[str]) -> None:
    """Runs one graph after the other."""
    import scoreline

    print(f"scoreline is in {Path(scoreline.__file__).parent}")
    for number, word in enumerate(words):
        path, _, messages = word.partition("=")
        graph = api.Pipeline.FromString(Path(path).read_bytes())
        if messages:
            lines = Path(messages).read_text().splitlines()
            feed(graph, [base64.b64decode(line) for line in lines])
        for environment in graph.components.environments.values():
            run_here(environment, is_apart=number == 0)
        FnApiRunner().run_via_runner_api(graph, PipelineOptions([])).wait_until_finish()
        print(f"ran {path}", flush=True)


def run_here(environment: api.Environment, *, is_apart: bool) -> None:
    """Has steps run with this Python and its path, in a process of their own or in this one."""
    del environment.dependencies[:]
    if not is_apart:
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON_GRPC, b"0"
        return
    environment.urn = python_urns.SUBPROCESS_SDK
    flags = "-S " if sys.flags.no_site else ""
    command = f"{sys.executable} {flags}-m apache_beam.runners.worker.sdk_worker_main"
    environment.payload = command.encode()


def feed(graph: api.Pipeline, messages: list[bytes]) -> None:
    """Puts messages where the service's own source is."""
    transforms = graph.components.transforms
    (name,) = (name for name, transform in transforms.items() if transform.spec.urn == _PUBSUB_READ)
    (output,) = transforms[name].outputs.values()
    donor, given = _create(messages)
    for kind in ("transforms", "pcollections", "coders", "windowing_strategies", "environments"):
        ours, theirs = getattr(graph.components, kind), getattr(donor.components, kind)
        for one, value in theirs.items():
            if (kind, one) != ("pcollections", given):
                ours[one].CopyFrom(value)
    for one, transform in donor.components.transforms.items():
        for tag, collection in transform.outputs.items():
            if collection == given:
                transforms[one].outputs[tag] = output
    # The step that read keeps its place; what it was made of is now the donor's.
    transforms[name].spec.urn = ""
    transforms[name].spec.payload = b""
    transforms[name].environment_id = ""
    transforms[name].subtransforms.extend(donor.root_transform_ids)


def _create(messages: list[bytes]) -> tuple[api.Pipeline, str]:
    """A graph that gives messages, all names of which start with `feed`; and its output."""
    pipeline = beam.Pipeline(runner=FnApiRunner())
    pipeline | "feed" >> beam.Create(messages, reshuffle=False)
    graph = _prefixed(pipeline.to_runner_api())
    consumed = {
        collection
        for transform in graph.components.transforms.values()
        for collection in transform.inputs.values()
    }
    (given,) = set(graph.components.pcollections) - consumed
    return graph, given


def _prefixed(graph: api.Pipeline) -> api.Pipeline:
    """The same graph, with ids that another one has not."""
    made = api.Pipeline(root_transform_ids=[f"feed_{one}" for one in _roots(graph)])
    components = graph.components
    for name, coder in components.coders.items():
        new = made.components.coders[f"feed_{name}"]
        new.CopyFrom(coder)
        new.component_coder_ids[:] = [f"feed_{one}" for one in coder.component_coder_ids]
    for name, environment in components.environments.items():
        made.components.environments[f"feed_{name}"].CopyFrom(environment)
    for name, strategy in components.windowing_strategies.items():
        new_strategy = made.components.windowing_strategies[f"feed_{name}"]
        new_strategy.CopyFrom(strategy)
        new_strategy.window_coder_id = f"feed_{strategy.window_coder_id}"
        if strategy.environment_id:
            new_strategy.environment_id = f"feed_{strategy.environment_id}"
    for name, collection in components.pcollections.items():
        new_collection = made.components.pcollections[f"feed_{name}"]
        new_collection.CopyFrom(collection)
        new_collection.coder_id = f"feed_{collection.coder_id}"
        new_collection.windowing_strategy_id = f"feed_{collection.windowing_strategy_id}"
    for name, transform in components.transforms.items():
        _add_transform(made, name, transform)
    return made


def _roots(graph: api.Pipeline) -> list[str]:
    """The steps right below the root, which is a step itself."""
    (root,) = graph.root_transform_ids
    return list(graph.components.transforms[root].subtransforms)


def _add_transform(made: api.Pipeline, name: str, transform: api.PTransform) -> None:
    if not transform.unique_name:
        return  # the root
    new = made.components.transforms[f"feed_{name}"]
    new.CopyFrom(transform)
    new.subtransforms[:] = [f"feed_{one}" for one in transform.subtransforms]
    for tag, collection in transform.inputs.items():
        new.inputs[tag] = f"feed_{collection}"
    for tag, collection in transform.outputs.items():
        new.outputs[tag] = f"feed_{collection}"
    if transform.environment_id:
        new.environment_id = f"feed_{transform.environment_id}"


if __name__ == "__main__":
    main(sys.argv[1:])
