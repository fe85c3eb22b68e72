"""That a stream is one fused stage, and what is said of one that is not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from places import Places

from scoreline.pipelines.build_stream import build_stream
from scoreline.pipelines.fused import NotFusedError, check_fused
from scoreline.pipelines.job import make_job
from scoreline.pipelines.job_file import read_job_values
from scoreline.pipelines.stream_preflight import check_stream
from scoreline.transforms.pubsub_source import PubSubSource
from scoreline.transforms.read_pubsub import ReadPubSub

Batches = beam.PCollection[Any]


def same(batch: Any) -> Any:
    return batch


def pipeline_of(step: Callable[[Batches, beam.Pipeline], Any]) -> beam.Pipeline:
    """Reads a subscription, does a step, and then something else. Nothing is run."""
    pipeline = beam.Pipeline(runner=FnApiRunner())
    batches = pipeline | "Read" >> ReadPubSub(PubSubSource("projects/p/subscriptions/s"))
    step(batches, pipeline) | "Write" >> beam.Map(same)
    return pipeline


def refusal(step: Callable[[Batches, beam.Pipeline], Any]) -> str:
    with pytest.raises(NotFusedError) as caught:
        check_fused(pipeline_of(step))
    return str(caught.value)


def test_steps_in_a_row_and_side_by_side_are_one_stage() -> None:
    def branch(batches: Batches, _: beam.Pipeline) -> Any:
        batches | "Other" >> beam.Map(same)
        return batches | "Score" >> beam.Map(same)

    check_fused(pipeline_of(branch))


def test_a_reshuffle_is_refused() -> None:
    said = refusal(lambda batches, _: batches | "Spread" >> beam.Reshuffle())
    assert "a stream has to be one fused stage on this runner, but this one has 2" in said
    assert "cut by a GroupByKey or Reshuffle in Spread" in said
    assert "Messages would be acknowledged before what becomes of them is durable." in said


def test_a_group_by_key_is_refused() -> None:
    def group(batches: Batches, _: beam.Pipeline) -> Any:
        windowed = batches | beam.WindowInto(beam.window.FixedWindows(1))
        return windowed | "Key" >> beam.Map(lambda x: (1, x)) | "Group" >> beam.GroupByKey()

    assert "cut by a GroupByKey or Reshuffle in Group" in refusal(group)


def test_a_side_input_is_refused() -> None:
    def with_side_input(batches: Batches, pipeline: beam.Pipeline) -> Any:
        side = pipeline | "Side" >> beam.Create([1])
        return batches | "Join" >> beam.Map(lambda x, _: x, beam.pvalue.AsIter(side))

    assert "in 1 environments, cut by a side input in Join" in refusal(with_side_input)


def test_a_resource_hint_is_refused() -> None:
    def hinted(batches: Batches, _: beam.Pipeline) -> Any:
        return batches | "Score" >> beam.Map(same).with_resource_hints(min_ram="1GB")

    said = refusal(hinted)
    assert "in 2 environments, cut by resource hints" in said


class TwoOutputs(beam.DoFn):
    """Gives what came, and the same under another name."""

    def process(self, batch: Any) -> Iterator[Any]:
        yield batch
        yield beam.pvalue.TaggedOutput("other", batch)


def test_a_flatten_is_refused() -> None:
    """It would encode and hold whole batches between two stages."""

    def flatten(batches: Batches, _: beam.Pipeline) -> Any:
        both = batches | "Two" >> beam.ParDo(TwoOutputs()).with_outputs("other", main="main")
        return (both["main"], both["other"]) | "Both" >> beam.Flatten()

    assert "cut by a Flatten in Both" in refusal(flatten)


def test_the_real_stream_is_one_stage(places: Places, classifier_file: Path, workdir: Path) -> None:
    sinks = [
        {"path": "out"},
        {"path": "more", "format": "csv"},
        {"type": "pubsub", "topic": places.scores_topic},
    ]
    for dead in ({"path": None}, {"type": "pubsub", "topic": places.dead_topic}):
        source = {"deduplicate_by": "id", "attributes": ["region"]}
        path = places.write_job(classifier_file, source=source, sinks=sinks, dead_letters=dead)
        prepared = check_stream(make_job(read_job_values(path).values))
        pipeline = beam.Pipeline(runner=FnApiRunner())
        build_stream(pipeline, prepared, "20260101T000000Z-abcdef")
        check_fused(pipeline)
        _, stages = FnApiRunner().create_stages(pipeline.to_runner_api())
        assert len(stages) == 2, "one hands the source over, one does everything"
