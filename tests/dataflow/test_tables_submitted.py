"""The example jobs about tables, submitted and run as the others are; beside the emulators."""

import datetime
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from bq_emulator import BigQueryEmulator, bigquery_fixture
from examples import JOBS, NUMBERS, ROOT, customers, pickled
from fake_dataflow import BUCKET, FakeCloud
from places import Places
from running import Ended
from sklearn.linear_model import LogisticRegression
from workers import installed, run, save, write_messages

from scoreline.transforms.bigquery.storage_channel import storage_channel

DAY = datetime.date(2026, 1, 31)

pytestmark = pytest.mark.timeout(600)  # the emulators may have to be installed, and to start


@pytest.fixture(scope="module")
def bq() -> Iterator[BigQueryEmulator]:
    storage_channel.cache_clear()
    for bq in bigquery_fixture():
        for name in ("sales", "ml"):
            bq.client.create_dataset(f"{bq.project}.{name}", timeout=30)
        yield bq
    storage_channel.cache_clear()


@pytest.fixture
def model(
    bq: BigQueryEmulator, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> LogisticRegression:
    """A model in the bucket, and the environment that the job files ask for."""
    frame = customers(300, seed=1)[NUMBERS].astype(float)
    model = LogisticRegression().fit(frame, np.where(frame.spend > 100, "yes", "no"))
    content = pickled(model)
    cloud.store.put(f"{BUCKET}/churn.joblib", content)
    monkeypatch.setenv("PROJECT", bq.project)
    monkeypatch.setenv("DAY", str(DAY))
    monkeypatch.setenv("MODEL_SHA256", hashlib.sha256(content).hexdigest())
    return model


def test_tables_are_read_and_written_by_what_was_submitted(
    scoreline: Callable[..., Ended],
    cloud: FakeCloud,
    flags: list[str],
    bq: BigQueryEmulator,
    places: Places,
    model: LogisticRegression,
    tmp_path: Path,
) -> None:
    frame = customers(100, seed=2)
    orders = frame.rename(columns={"id": "order_id", "age": "customer_age"}).assign(day=DAY)
    bq.load(f"{bq.project}.sales.orders", pa.Table.from_pandas(orders, preserve_index=False))
    sent = frame.rename(columns={"id": "customer_id", "age": "customer_age"})
    payloads = [*sent.to_json(orient="records", lines=True).encode().splitlines(), b"{"]
    settings = {
        "bigquery.yaml": [f"report.path={ROOT}/runs"],
        "bigquery_stream.yaml": [
            f"report.path={ROOT}/runs",
            f"source.subscription={places.subscription}",
        ],
    }
    for name, changes in settings.items():
        words = [word for one in changes for word in ("--set", one)]
        words += ["--set", f"model.uri={ROOT}/churn.joblib", "--no_wait_until_finish"]
        ended = scoreline("run", str(JOBS / name), *words, *flags)
        assert ended.code == 0, ended.err

    batch, stream = (
        save(cloud, job, tmp_path / f"{number}.pb") for number, job in enumerate(cloud.jobs)
    )
    feed = write_messages(payloads, tmp_path / "messages")
    run([str(batch), f"{stream}={feed}"], installed(cloud, tmp_path / "installed"), tmp_path)

    expected = model.predict(frame[NUMBERS].astype(float)).tolist()
    scores = bq.rows(f"{bq.project}.ml.order_scores").sort_by("order_id")
    assert scores["prediction"].to_pylist() == expected
    live = bq.rows(f"{bq.project}.ml.customer_scores").sort_by("customer_id")
    assert live["prediction"].to_pylist() == expected
    (dead,) = bq.rows(f"{bq.project}.ml.customer_scores_dead_letters").to_pylist()
    assert (dead["payload"], dead["error_code"]) == (b"{", "malformed_json")


def test_a_table_has_no_folder_for_what_a_run_leaves(
    scoreline: Callable[..., Ended],
    cloud: FakeCloud,
    flags: list[str],
    model: LogisticRegression,
) -> None:
    words = ["--set", f"model.uri={ROOT}/churn.joblib", "--set", "report.path=null"]
    ended = scoreline("check", str(JOBS / "bigquery.yaml"), *words, *flags)
    assert ended.code == 2
    assert "report.path: " in ended.err
    assert "order_scores.run is a path on this machine" in ended.err
