"""Fixtures of tests on BigQuery: the emulator, and doubles for what it does not do."""

from collections.abc import Iterator

import pytest
from bq_emulator import BigQueryEmulator, bigquery_fixture
from read_double import ReadDouble
from rest_double import RestDouble

from scoreline.transforms.bigquery.storage_channel import storage_channel


@pytest.fixture(scope="module")
def bq() -> Iterator[BigQueryEmulator]:
    """An emulator of this module, which grows with what is done with it."""
    storage_channel.cache_clear()
    yield from bigquery_fixture()
    storage_channel.cache_clear()


@pytest.fixture
def rest_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[RestDouble]:
    """A double of the REST interface, which scoreline finds."""
    with RestDouble() as double:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", double.url)
        yield double


@pytest.fixture
def read_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadDouble]:
    """A double of the service that read sessions are made by, which scoreline finds."""
    with ReadDouble() as double:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", double.address)
        storage_channel.cache_clear()
        yield double
        storage_channel.cache_clear()
