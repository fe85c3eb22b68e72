"""The example job files with small data in the fake's bucket, and what they must predict."""

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from fake_dataflow import BUCKET, FakeCloud
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

JOBS = Path(__file__).resolve().parents[2] / "templates" / "jobs"
ROOT = f"gs://{BUCKET}"
DAY = "2026-01-31"
NUMBERS = ["age", "months", "spend"]
FEATURES = """
import pyarrow as pa
import pyarrow.compute as pc

def add_ratio(batch: pa.RecordBatch) -> pa.RecordBatch:
    ratio = pc.divide(batch["spend"], pc.add(batch["months"], 1.0))
    return batch.append_column("ratio", ratio)
"""


@dataclass(frozen=True)
class Example:
    """One of the job files, ready to be submitted.

    Attributes:
        name: of the file.
        settings: what is set for this run: the files on this machine lie in a bucket.
        expected: the predictions, in the order of the input.
        predicted: reads them from where the job writes them.
        flags: of Beam, in addition to those that every job has.
    """

    name: str
    settings: tuple[str, ...]
    expected: list[Any]
    predicted: Callable[[FakeCloud], list[Any]]
    flags: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """Of the command line, the flags of the cloud left out."""
        settings = [word for setting in self.settings for word in ("--set", setting)]
        return ["run", str(JOBS / self.name), *settings, *self.flags]


def customers(rows: int, seed: int) -> pd.DataFrame:
    """Made-up customers."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "age": rng.integers(18, 90, rows),
            "plan": rng.choice(["a", "b"], rows),
            "months": rng.integers(0, 60, rows),
            "spend": rng.normal(100, 20, rows).round(2),
        }
    )


def examples(cloud: FakeCloud, folder: Path) -> dict[str, Example]:
    """All examples by the names of their files; puts models and data into the bucket.

    Args:
        cloud: with the bucket.
        folder: for a package of the user's own.
    """
    frame = customers(300, seed=1)
    labels = np.where(frame.spend > 100, "yes", "no")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[NUMBERS], labels)
    cloud.store.put(f"{BUCKET}/churn.joblib", pickled(model))
    cloud.store.put(f"{BUCKET}/models/churn.joblib", pickled(model))

    def own(frame: pd.DataFrame) -> list[Any]:
        predicted: list[Any] = model.predict(frame[NUMBERS].astype(float)).tolist()
        return predicted

    made = [
        _files(cloud, own),
        _csv(cloud, own),
        _json(cloud, own),
        _preprocess(cloud, folder),
        _stream(own),
    ]
    return {example.name: example for example in made}


def environment(cloud: FakeCloud) -> Mapping[str, str]:
    """The variables that the job files ask for."""
    digest = hashlib.sha256(cloud.store.get(f"{ROOT}/models/churn.joblib")).hexdigest()
    return {"DAY": DAY, "MODEL_SHA256": digest}


def pickled(model: Any) -> bytes:
    """A model as a .joblib file."""
    file = io.BytesIO()
    joblib.dump(model, file)
    return file.getvalue()


def _files(cloud: FakeCloud, own: Callable[[pd.DataFrame], list[Any]]) -> Example:
    frame = customers(50, seed=2)
    _put_parquet(cloud, "customers/1.parquet", frame[:30])
    _put_parquet(cloud, "customers/2.parquet", frame[30:])
    settings = (
        f"source.path={ROOT}/customers/*.parquet",
        f"model.uri={ROOT}/churn.joblib",
        f"sinks.0.path={ROOT}/scores",
    )
    return Example("files.yaml", settings, own(frame), lambda cloud: _column(cloud, "scores/part-"))


def _csv(cloud: FakeCloud, own: Callable[[pd.DataFrame], list[Any]]) -> Example:
    frame = customers(60, seed=3)
    for number, part in enumerate((frame[:30], frame[30:]), start=1):
        text = part.to_csv(sep=";", header=False, index=False)
        cloud.store.put(f"{BUCKET}/exports/{number}.csv", text.encode())
    settings = (
        f"source.path=[{ROOT}/exports/1.csv, {ROOT}/exports/2.csv]",
        f"model.uri={ROOT}/churn.joblib",
        f"sinks.0.path={ROOT}/csv_scores",
        f"sinks.1.path={ROOT}/scores.csv",
    )

    def predicted(cloud: FakeCloud) -> list[Any]:
        one_file = pa.csv.read_csv(pa.BufferReader(cloud.store.get(f"{ROOT}/scores.csv")))
        both = _column(cloud, "csv_scores/part-")
        assert one_file["prediction"].to_pylist() == both
        return both

    return Example("csv_two_outputs.yaml", settings, own(frame), predicted)


def _json(cloud: FakeCloud, own: Callable[[pd.DataFrame], list[Any]]) -> Example:
    frame = customers(200, seed=4).rename(columns={"id": "customer_id"})
    text = frame.to_json(orient="records", lines=True) + '{"customer_id": 200, "age": \n'
    cloud.store.put(f"{BUCKET}/events/{DAY}/a.jsonl.gz", gzip.compress(text.encode()))

    def predicted(cloud: FakeCloud) -> list[Any]:
        (avro,) = cloud.store.names(f"{ROOT}/scores_avro/{DAY}/part-")
        rows = list(fastavro.reader(io.BytesIO(cloud.store.get(avro))))
        parquet = _column(cloud, f"scores/{DAY}/part-")
        assert [row["prediction"] for row in rows] == parquet
        assert len(_table(cloud, f"rejected/{DAY}/part-")) == 1
        return parquet

    return Example("bucket_json.yaml", (), own(frame), predicted)


def _preprocess(cloud: FakeCloud, folder: Path) -> Example:
    frame = customers(40, seed=5).astype({"months": float})
    columns = ["spend", "ratio"]
    ratio = frame.assign(ratio=frame.spend / (frame.months + 1.0))
    fitted = LogisticRegression().fit(ratio[columns], ratio.ratio > ratio.ratio.median())
    cloud.store.put(f"{BUCKET}/ratio.joblib", pickled(fitted))
    text = frame.to_json(orient="records", lines=True)
    cloud.store.put(f"{BUCKET}/customers.jsonl", text.encode())
    (folder / "churn_features.py").write_text(FEATURES)
    package = folder / "churn_features-1.0-py3-none-any.whl"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("churn_features.py", FEATURES)
        for name in ("METADATA", "WHEEL", "RECORD"):
            archive.writestr(f"churn_features-1.0.dist-info/{name}", "")
    settings = (
        f"source.path={ROOT}/customers.jsonl",
        f"model.uri={ROOT}/ratio.joblib",
        f"sinks.0.path={ROOT}/ratio_scores",
    )
    return Example(
        "preprocess.yaml",
        settings,
        fitted.predict(ratio[columns]).tolist(),
        lambda cloud: _column(cloud, "ratio_scores/part-"),
        (f"--extra_package={package}",),
    )


def _stream(own: Callable[[pd.DataFrame], list[Any]]) -> Example:
    frame = customers(40, seed=6)

    def predicted(cloud: FakeCloud) -> list[Any]:
        table = _table(cloud, "stream_scores/part-").sort_by("customer_id")
        predictions: list[Any] = table["prediction"].to_pylist()
        return predictions

    settings = (f"model.uri={ROOT}/churn.joblib", f"sinks.1.path={ROOT}/stream_scores")
    return Example("pubsub_stream.yaml", settings, own(frame), predicted)


def messages() -> list[bytes]:
    """What the stream reads: forty customers, one of them twice, and a message that is none."""
    frame = customers(40, seed=6).rename(columns={"id": "customer_id", "age": "customer_age"})
    payloads = [json.dumps(row).encode() for row in frame.to_dict("records")]
    return [*payloads, payloads[0], b"{"]


def _put_parquet(cloud: FakeCloud, name: str, frame: pd.DataFrame) -> None:
    file = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), file)
    cloud.store.put(f"{BUCKET}/{name}", file.getvalue().to_pybytes())


def _table(cloud: FakeCloud, prefix: str) -> pa.Table:
    files = [cloud.store.get(name) for name in cloud.store.names(f"{ROOT}/{prefix}")]
    return pa.concat_tables([pq.read_table(pa.BufferReader(file)) for file in files])


def _column(cloud: FakeCloud, prefix: str) -> list[Any]:
    predictions: list[Any] = _table(cloud, prefix)["prediction"].to_pylist()
    return predictions
