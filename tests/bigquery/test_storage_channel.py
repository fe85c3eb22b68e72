import grpc
import pytest
from google.api_core import grpc_helpers

from scoreline.transforms.bigquery import credentials, storage_channel


@pytest.fixture(autouse=True)
def fresh():
    storage_channel.storage_channel.cache_clear()
    yield
    storage_channel.storage_channel.cache_clear()


def test_an_emulator_is_reached_without_credentials(monkeypatch):
    def none_here():
        raise AssertionError("no credentials are asked for")

    monkeypatch.setattr(credentials, "of", none_here)
    monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", "127.0.0.1:1")
    channel = storage_channel.storage_channel()
    assert isinstance(channel, grpc.Channel)
    assert storage_channel.storage_channel() is channel


def test_the_service_is_reached_with_the_credentials_of_the_process(monkeypatch):
    monkeypatch.delenv("BIGQUERY_STORAGE_EMULATOR_HOST", raising=False)
    own = object()
    asked = {}

    def create_channel(target, **options):
        asked.update(options, target=target)
        return "channel"

    monkeypatch.setattr(credentials, "of", lambda: (own, "billed"))
    monkeypatch.setattr(grpc_helpers, "create_channel", create_channel)
    assert storage_channel.storage_channel() == "channel"
    assert asked["target"] == "bigquerystorage.googleapis.com:443"
    assert asked["credentials"] is own
    assert asked["quota_project_id"] == "billed"
    assert dict(asked["options"])["grpc.max_receive_message_length"] == -1
