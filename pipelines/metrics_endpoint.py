"""Serves what a stream's process knows of itself as OpenMetrics, for whoever scrapes it."""

import threading
from collections.abc import Iterator
from types import TracebackType
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from scoreline.transforms.latencies import Latencies
from scoreline.transforms.telemetry import OUTCOMES, TELEMETRY, HasSnapshot, Snapshot

from .errors import UsageError

LOOPBACK = "127.0.0.1"

# Upper edges in seconds: coarser than what is counted in, for each is a time series to its reader.
_BUCKETS = tuple(float(f"{step}e{power}") for power in range(-3, 5) for step in (1, 2, 5))


class MetricsEndpoint:
    """An HTTP server of metrics, from `start` to `stop`.

    It is open to whoever reaches the address, so this is the loopback unless another is asked for.

    Args:
        port: to listen at; 0 takes any that is free.
        host: the address to listen at.
        telemetry: of the process.
    """

    def __init__(self, port: int, host: str = LOOPBACK, telemetry: HasSnapshot = TELEMETRY):
        if not 0 <= port <= 65535:
            raise UsageError(f"--metrics-port {port}: a port lies between 0 and 65535.")
        self._port = port
        self._host = host
        self._registry = CollectorRegistry()
        self._registry.register(_TelemetryCollector(telemetry))
        self._serving: tuple[WSGIServer, threading.Thread] | None = None

    def start(self) -> str:
        """Listens from now on; gives the address to scrape.

        Raises:
            UsageError: the port cannot be had.
        """
        try:
            server, thread = start_http_server(self._port, self._host, self._registry)
        except OSError as error:
            raise UsageError(
                f"--metrics-port {self._port}: cannot listen at {self._host}:{self._port}: "
                f"{error.strerror or error}. Choose another port, or 0 for any that is free."
            ) from error
        self._serving = server, thread
        return f"http://{self._host}:{server.server_port}/metrics"

    def stop(self) -> None:
        """Frees the port."""
        if self._serving is not None:
            server, thread = self._serving
            self._serving = None
            server.shutdown()
            server.server_close()
            thread.join()

    def __enter__(self) -> "MetricsEndpoint":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _TelemetryCollector(Collector):
    def __init__(self, telemetry: HasSnapshot):
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        now = self._telemetry.snapshot()
        yield _rows(now)
        yield _dead_letters(now)
        yield _latency(now.latency)
        yield GaugeMetricFamily(
            "scoreline_messages_in_hand",
            "Messages that were pulled and are not yet acknowledged.",
            value=now.messages_in_hand,
        )
        yield GaugeMetricFamily(
            "scoreline_oldest_message_age_seconds",
            "Since the oldest message in hand was published; 0 if there is none.",
            value=now.oldest_age_secs or 0.0,
            unit="seconds",
        )
        if now.model_version:
            version = {"version": now.model_version}
            yield InfoMetricFamily("scoreline_model", "The model that scores.", value=version)


def _rows(now: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "scoreline_rows", "Rows by what became of them.", labels=["outcome"]
    )
    for outcome in OUTCOMES:
        family.add_metric([outcome], now.rows[outcome])
    return family


def _dead_letters(now: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "scoreline_dead_letters", "Dead letters by stage and error code.", labels=["code"]
    )
    for code, rows in now.codes.items():
        family.add_metric([code], rows)
    return family


def _latency(latency: Latencies) -> Metric:
    buckets = [(str(edge), latency.num_within(edge)) for edge in _BUCKETS]
    family = HistogramMetricFamily(
        "scoreline_latency_seconds",
        "From the publishing of a message until what became of it was durable.",
        unit="seconds",
    )
    family.add_metric([], [*buckets, ("+Inf", latency.num_values)], latency.total_secs)
    return family
