"""Mends a leak of Beam's in-process runner, without which no stream can run for long.

Beam 2.77 merges the monitoring infos of every bundle with all before them by wrapping a generator
in a generator: 32 kB are kept for each bundle, and whoever reads the metrics after some thousand
bundles gets a RecursionError. The merge as a list keeps one of each.
"""

from collections.abc import Iterable

from apache_beam.metrics.monitoring_infos import consolidate
from apache_beam.portability.api import metrics_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner


def mend_runner_memory() -> None:
    """Has the in-process runner keep merged counters instead of all that they were merged from."""
    fn_runner.consolidate_monitoring_infos = _merged  # type: ignore[assignment]


def _merged(infos: Iterable[metrics_pb2.MonitoringInfo]) -> list[metrics_pb2.MonitoringInfo]:
    return list(consolidate(infos))
