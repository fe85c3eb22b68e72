"""Fixtures of tests on BigQuery: the emulator, and doubles for what it does not do."""

from collections.abc import Iterator

import pytest
from bq_emulator import BigQueryEmulator, found_by_scoreline, require_bigquery
from read_double import ReadDouble
from rest_double import RestDouble

from scoreline.transforms.bigquery.storage_channel import storage_channel


@pytest.fixture(scope="session")
def bigquery_process() -> Iterator[BigQueryEmulator]:
    """An emulator, one for each worker."""
    require_bigquery()
    with BigQueryEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def bq(bigquery_process: BigQueryEmulator) -> Iterator[BigQueryEmulator]:
    """The emulator, which scoreline finds; other modules have left datasets there."""
    bigquery_process.refresh()
    storage_channel.cache_clear()
    yield from found_by_scoreline(bigquery_process)
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
