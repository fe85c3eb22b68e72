"""Mends a leak of Beam's in-process runner, without which no stream can run for long; and a wait.

Beam 2.77 merges the monitoring infos of every bundle with all before them by wrapping a generator
in a generator: 32 kB are kept for each bundle, and whoever reads the metrics after some thousand
bundles gets a RecursionError. The merge as a list keeps one of each.

A thread of each bundle looks every 200 ms at which step is running, and the bundle's end waits
until it has slept: 145 ms after a bundle of one second, in which no message is taken.
"""

from collections.abc import Iterable

from apache_beam.metrics.monitoring_infos import consolidate
from apache_beam.portability.api import metrics_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.worker.statesampler import StateSampler

_SAMPLING_MS = 10  # a hundred looks a second cost nothing that can be measured


def mend_runner_memory() -> None:
    """Has the in-process runner keep merged counters instead of all that they were merged from."""
    fn_runner.consolidate_monitoring_infos = _merged  # type: ignore[assignment]


def shorten_bundle_ends() -> None:
    """Has the sampler of a bundle's steps sleep for a short time: the bundle's end waits for it."""
    StateSampler.__init__.__defaults__ = (_SAMPLING_MS,)


def _merged(infos: Iterable[metrics_pb2.MonitoringInfo]) -> list[metrics_pb2.MonitoringInfo]:
    return list(consolidate(infos))
