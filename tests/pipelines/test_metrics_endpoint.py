import socket
import time
import urllib.request
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.metrics_endpoint import MetricsEndpoint
from scoreline.transforms.telemetry import Telemetry

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
Samples = dict[tuple[str, str], float]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def url(telemetry: Telemetry) -> Iterator[str]:
    endpoint = MetricsEndpoint(0, telemetry=telemetry)
    yield endpoint.start()
    endpoint.stop()


def scrape(url: str, accept: str = OPEN_METRICS) -> str:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def samples(url: str) -> Samples:
    """Each value by its name and the value of its label, if there is one."""
    families = text_string_to_metric_families(scrape(url))
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_all_that_a_stream_counts(telemetry: Telemetry, url: str) -> None:
    telemetry.count("read", 10)
    telemetry.count("predicted", 7)
    telemetry.count("dead_lettered", 2)
    telemetry.count("deduplicated", 1)
    columns = {
        "stage": ["decode", "predict"],
        "error_code": ["malformed", "model_error"],
        "row_id": ["s#1", "s#2"],
        "error_message": ["x", "y"],
    }
    telemetry.note_dead_letters(pa.record_batch(columns))
    telemetry.observe_latency(np.array([0.0015, 0.07, 0.07, 60_000.0]))
    telemetry.in_hand(5, 500, time.time() - 3)
    telemetry.model_version = 'a"b'
    found = samples(url)
    rows = {
        label: value for (name, label), value in found.items() if name == "scoreline_rows_total"
    }
    assert rows == {"read": 10, "predicted": 7, "dead_lettered": 2, "deduplicated": 1}
    assert found["scoreline_dead_letters_total", "decode/malformed"] == 1
    assert found["scoreline_dead_letters_total", "predict/model_error"] == 1
    assert found["scoreline_messages_in_hand", ""] == 5
    assert found["scoreline_oldest_message_age_seconds", ""] == pytest.approx(3, abs=1)
    assert found["scoreline_model_info", 'a"b'] == 1
    buckets = {label: found["scoreline_latency_seconds_bucket", label] for label in LABELS}
    assert list(buckets.values()) == [0, 1, 1, 3, 3, 4]
    assert found["scoreline_latency_seconds_count", ""] == 4
    assert found["scoreline_latency_seconds_sum", ""] == pytest.approx(60_000.1415)


LABELS = ("0.001", "0.002", "0.05", "0.1", "50000.0", "+Inf")


def test_each_scrape_is_of_its_moment(telemetry: Telemetry, url: str) -> None:
    assert samples(url)["scoreline_rows_total", "read"] == 0
    telemetry.count("read", 4)
    assert samples(url)["scoreline_rows_total", "read"] == 4


def test_before_the_first_message(url: str) -> None:
    found = samples(url)
    assert found["scoreline_latency_seconds_count", ""] == 0
    assert found["scoreline_oldest_message_age_seconds", ""] == 0
    assert not [name for name, _ in found if name.startswith(("scoreline_model", "python_"))]
    assert not [name for name, _ in found if name == "scoreline_dead_letters_total"]


def test_an_older_scraper_gets_the_older_format(telemetry: Telemetry, url: str) -> None:
    telemetry.model_version = "abc"
    names = {family.name for family in plain_families(scrape(url, "text/plain"))}
    assert {"scoreline_rows", "scoreline_latency_seconds", "scoreline_model_info"} <= names


def test_it_listens_at_the_loopback_only_and_frees_its_port(telemetry: Telemetry) -> None:
    with MetricsEndpoint(0, telemetry=telemetry) as endpoint:
        assert endpoint._serving is not None
        server, thread = endpoint._serving
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
    assert not thread.is_alive()
    endpoint.stop()  # a second time does nothing
    with MetricsEndpoint(int(port), telemetry=telemetry):
        assert "scoreline_rows" in scrape(f"http://127.0.0.1:{port}/metrics")


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError,
            match=f"--metrics-port {port}: cannot listen at 127.0.0.1:{port}: Address already in "
            "use. Choose another port, or 0 for any that is free.",
        ):
            MetricsEndpoint(port).start()


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be(port: int) -> None:
    with pytest.raises(UsageError, match=f"--metrics-port {port}: a port lies between 0 and 65535"):
        MetricsEndpoint(port)
