"""The leak of Beam's in-process runner, and its mend."""

import resource
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.metrics.monitoring_infos import consolidate, int64_user_counter
from apache_beam.portability.api import metrics_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, fn_runner
from apache_beam.runners.worker.statesampler import DEFAULT_SAMPLING_PERIOD_MS, StateSampler
from apache_beam.utils.counters import CounterFactory

from scoreline.pipelines.runner_memory import (
    _merged,
    mend_runner_memory,
    shorten_bundle_ends,
)

BUNDLES = 5_000


@pytest.fixture
def mended() -> Iterator[None]:
    """The mend, for one test; another test of this process may have applied it before."""
    before = fn_runner.consolidate_monitoring_infos
    mend_runner_memory()
    yield
    fn_runner.consolidate_monitoring_infos = before


def counter(value: int) -> metrics_pb2.MonitoringInfo:
    return int64_user_counter("scoreline", "rows", value)


def with_one_more(infos: Iterable[metrics_pb2.MonitoringInfo]) -> Iterator[Any]:
    """The infos of all bundles before, and of one more, as the runner chains them."""
    yield from infos
    yield counter(1)


def merge_bundles(merge: Callable[..., Any], bundles: int) -> Any:
    """What the runner keeps after so many bundles."""
    infos: Any = []
    for _ in range(bundles):
        infos = merge(with_one_more(infos))
    return infos


def test_beam_still_leaks() -> None:
    """When this fails, Beam has mended it: remove pipelines/runner_memory.py."""
    assert not isinstance(merge_bundles(consolidate, 3), list | tuple), (
        "Beam merges into a list now, which keeps nothing of the bundles before: "
        "pipelines/runner_memory.py is needed no more"
    )
    with pytest.raises(RecursionError):
        list(merge_bundles(consolidate, BUNDLES))


def test_the_mend_keeps_one_info_of_each() -> None:
    assert merge_bundles(_merged, BUNDLES) == [counter(BUNDLES)]


class Tick(beam.io.restriction_trackers.OffsetRestrictionTracker):
    """Gives up its rest after each position, so that each is a bundle of its own."""


class Ticks(beam.RestrictionProvider):
    """So many positions."""

    def __init__(self, bundles: int):
        self._bundles = bundles

    def initial_restriction(self, element: Any) -> beam.io.restriction_trackers.OffsetRange:
        return beam.io.restriction_trackers.OffsetRange(0, self._bundles)

    def create_tracker(self, restriction: Any) -> Tick:
        return Tick(restriction)

    def restriction_size(self, element: Any, restriction: Any) -> int:
        return int(restriction.size())


TICKS = beam.DoFn.RestrictionParam(Ticks(BUNDLES))
RSS: list[int] = []


class TinyBundlesFn(beam.DoFn):
    """One element a bundle; notes the process's size after each quarter."""

    def __init__(self, bundles: int):
        self._quarter = bundles // 4
        self._rows = beam.metrics.Metrics.counter("scoreline", "rows")

    def process(self, element: int, tracker: Any = TICKS) -> Iterator[int]:
        position = tracker.current_restriction().start
        if not tracker.try_claim(position):
            return
        self._rows.inc()
        if position % self._quarter == self._quarter - 1:
            RSS.append(resident_bytes())
        yield position
        tracker.defer_remainder()


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


def test_a_long_stream_does_not_grow_and_its_metrics_can_be_read(mended: None) -> None:
    RSS.clear()
    pipeline = beam.Pipeline(runner=FnApiRunner())
    pipeline | beam.Create([0]) | beam.ParDo(TinyBundlesFn(BUNDLES))
    result = pipeline.run()
    result.wait_until_finish()
    (rows,) = result.metrics().query(MetricsFilter().with_name("rows"))["counters"]
    assert rows.attempted == BUNDLES
    grown = RSS[-1] - RSS[0]
    # Without the mend it is 32 kB for each bundle: 120 MB here.
    assert grown < 20 * 2**20, f"{grown:,} bytes over {BUNDLES * 3 // 4:,} bundles"


def test_the_end_of_a_bundle_does_not_wait_for_its_sampler() -> None:
    before = StateSampler.__init__.__defaults__
    try:
        shorten_bundle_ends()
        waits = []
        for _ in range(5):
            sampler = StateSampler("stage", CounterFactory())
            sampler.start()
            time.sleep(0.1)
            started = time.monotonic()
            sampler.stop()
            waits.append(time.monotonic() - started)
    finally:
        StateSampler.__init__.__defaults__ = before
    assert DEFAULT_SAMPLING_PERIOD_MS == 200, "Beam has another period: is it still too long?"
    assert min(waits) < 0.05
