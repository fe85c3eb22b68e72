import uuid
from dataclasses import dataclass

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from emulator import Client
from fake_pubsub import FakeClient
from memory_files import MemoryFileSystem
from sklearn.linear_model import LinearRegression

from scoreline.models import ModelRef, Trust
from scoreline.transforms import pubsub_client, pubsub_feed, pubsub_source, puller, write_pubsub
from scoreline.transforms.drain import reset_drain
from scoreline.transforms.telemetry import TELEMETRY


@pytest.fixture
def memory():
    """A remote store for the test."""
    MemoryFileSystem.clear()
    yield MemoryFileSystem
    MemoryFileSystem.clear()


@pytest.fixture(scope="session")
def linear_ref(tmp_path_factory):
    """A model of the columns x and y: 2 x + 3 y + 1. It refuses NaN and infinity."""
    return _linear(tmp_path_factory, "x", "y")


@pytest.fixture(scope="session")
def spaced_ref(tmp_path_factory):
    """The same of the columns x and "f y"."""
    return _linear(tmp_path_factory, "x", "f y")


def _linear(tmp_path_factory, *names):
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    estimator = LinearRegression().fit(x, 1 + x @ [2.0, 3.0])
    estimator.feature_names_in_ = np.array(names, dtype=object)
    path = tmp_path_factory.mktemp("model") / "linear.joblib"
    joblib.dump(estimator, path)
    return ModelRef(str(path), Trust(allow_pickle=True))


@pytest.fixture
def write_table(tmp_path):
    """Writes a table to a file below the test's folder and gives the path."""

    def write(name, columns, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, **options)
        return str(path)

    return write


@dataclass
class Queue:
    """A topic of the emulator with one subscription, and a client that is not ours."""

    service: Client
    topic: str
    subscription: str

    def publish(self, *payloads, attributes=None):
        return self.service.publish(self.topic, payloads, attributes)


@pytest.fixture
def service(emulator, monkeypatch):
    """The emulator, as the service of this process; gives a client that is not ours."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", emulator.address)
    pubsub_client.client.cache_clear()
    yield emulator.client
    pubsub_client.client.cache_clear()


@pytest.fixture
def queue(service):
    name = f"t{uuid.uuid4().hex}"
    topic = service.create_topic(name)
    return Queue(service, topic, service.create_subscription(name, topic))


@pytest.fixture
def fake(monkeypatch):
    """A client without a service, in the place of ours."""
    client = FakeClient()
    monkeypatch.setattr(pubsub_feed, "client", lambda: client)
    monkeypatch.setattr(write_pubsub, "client", lambda: client)
    monkeypatch.setattr(write_pubsub, "_troubles", {})
    yield client
    client.hold.set()


@pytest.fixture
def stream(monkeypatch):
    """A process in which no stream has run, and that does not wait long for its last pulls."""
    monkeypatch.setattr(puller, "_LAST_PULLS_SECS", 0.05)
    monkeypatch.setattr(pubsub_source, "_IDLE_SECS", 0.05)
    reset_drain()
    TELEMETRY.reset()
    yield
    pubsub_feed.settle(5)
    reset_drain()
    TELEMETRY.reset()
