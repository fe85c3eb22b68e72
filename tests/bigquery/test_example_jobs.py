"""The example job files about tables: each runs to its end on small data, on the emulators."""

import datetime
import hashlib
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bq_emulator import BigQueryEmulator
from places import Places
from sklearn.linear_model import LogisticRegression

from scoreline.pipelines.cli import main
from scoreline.transforms import decode_payload
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.tables import describe

JOBS = Path(__file__).resolve().parents[2] / "templates" / "jobs"
COLUMNS = ["age", "spend"]
DAY = datetime.date(2026, 1, 31)
ROWS = 200


def customers(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns = {"age": rng.integers(18, 90, rows), "spend": rng.normal(100, 20, rows)}
    return pd.DataFrame(columns).astype(float)


@pytest.fixture(scope="module")
def model() -> LogisticRegression:
    frame = customers(300, seed=1)
    return LogisticRegression().fit(frame, np.where(frame.spend > 100, "yes", "no"))


@pytest.fixture(scope="module", autouse=True)
def _datasets(bq: BigQueryEmulator) -> None:
    for name in ("sales", "ml"):
        bq.client.create_dataset(f"{bq.project}.{name}", exists_ok=True, timeout=30)


@pytest.fixture(autouse=True)
def _workdir(
    bq: BigQueryEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: LogisticRegression
) -> Iterator[None]:
    """A folder with the model and the environment that the job files ask for."""
    monkeypatch.chdir(tmp_path)
    joblib.dump(model, "churn.joblib")
    digest = hashlib.sha256(Path("churn.joblib").read_bytes()).hexdigest()
    monkeypatch.setenv("PROJECT", bq.project)
    monkeypatch.setenv("DAY", str(DAY))
    monkeypatch.setenv("MODEL_SHA256", digest)
    return


def run(name: str, *settings: str) -> int:
    words = [word for setting in settings for word in ("--set", setting)]
    return main(["run", str(JOBS / name), "--quiet", *words])


def test_from_table_to_table(bq: BigQueryEmulator, model: LogisticRegression) -> None:
    frame = customers(ROWS, seed=2)
    ages = frame.age.tolist()
    ages[3] = None
    days = [DAY] * ROWS + [datetime.date(2026, 1, 30)] * ROWS
    orders = pa.table(
        {
            "order_id": np.arange(2 * ROWS),
            "day": pa.array(days, pa.date32()),
            "customer_age": pa.array(ages * 2),
            "spend": pa.array(frame.spend.tolist() * 2),
        }
    )
    bq.load(f"{bq.project}.sales.orders", orders)
    assert main(["check", str(JOBS / "bigquery.yaml"), "--quiet"]) == 0
    assert "order_scores" not in bq.tables("ml"), "a check makes nothing"

    assert run("bigquery.yaml") == 0

    scores = bq.rows(f"{bq.project}.ml.order_scores").sort_by("order_id")
    assert scores.column_names == ["order_id", "day", "prediction", "model_version"]
    good = frame.drop(index=3)
    assert scores["order_id"].to_pylist() == good.index.tolist(), "of one day only"
    assert scores["prediction"].to_pylist() == model.predict(good).tolist()
    found = describe(TableName(bq.project, "ml", "order_scores"))
    assert found is not None
    assert found.layout == "partitioned by day, clustered by order_id"
    (dead,) = bq.rows(f"{bq.project}.ml.rejected_orders").to_pylist()
    assert (dead["stage"], dead["error_code"]) == ("conform", "null_value")
    assert decode_payload(dead["payload"]).to_pylist()[0]["order_id"] == 3
    assert list(Path("runs").iterdir())


def test_from_a_stream_to_a_table(
    bq: BigQueryEmulator, places: Places, model: LogisticRegression
) -> None:
    frame = customers(40, seed=3)
    sent = frame.rename(columns={"age": "customer_age"}).assign(customer_id=range(40))
    payloads = sent.to_json(orient="records", lines=True, double_precision=15).encode()
    places.publish([*payloads.splitlines(), b"{"])
    settings = (
        f"source.subscription={places.subscription}",
        "source.stop_when_idle_secs=1",
        "dead_letters.max_ratio=0.1",
    )

    assert run("bigquery_stream.yaml", *settings) == 0

    table = f"{bq.project}.ml.customer_scores"
    rows = {row["customer_id"]: row for row in bq.rows(table).to_pylist()}
    assert [rows[number]["prediction"] for number in range(40)] == model.predict(frame).tolist()
    assert all(row["row_id"].startswith(f"{places.subscription}#") for row in rows.values())
    (dead,) = bq.rows(f"{table}_dead_letters").to_pylist()
    assert (dead["payload"], dead["error_code"]) == (b"{", "malformed_json")
    assert places.left() == []
