"""The example job files: each is a valid job, and each runs to its end on small data."""

import csv
import gzip
import hashlib
import json
from pathlib import Path

import fastavro
import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from emulator import PROJECT, Emulator
from places import Places
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from scoreline.pipelines.cli import main
from scoreline.pipelines.job import as_yaml, make_job
from scoreline.pipelines.job_file import read_job_values
from scoreline.transforms import decode_payload

JOBS = Path(__file__).resolve().parents[2] / "templates" / "jobs"
COLUMNS = ["age", "months", "spend"]

FEATURES = """
import pyarrow as pa
import pyarrow.compute as pc

def add_ratio(batch: pa.RecordBatch) -> pa.RecordBatch:
    ratio = pc.divide(batch["spend"], pc.add(batch["months"], 1.0))
    return batch.append_column("ratio", ratio)
"""


def customers(rows: int, seed: int) -> pd.DataFrame:
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


@pytest.fixture(scope="module")
def model() -> Pipeline:
    frame = customers(300, seed=1)
    labels = np.where(frame.spend > 100, "yes", "no")
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[COLUMNS], labels)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Pipeline) -> Path:
    """A folder with the model and the environment that the job files ask for."""
    monkeypatch.chdir(tmp_path)
    joblib.dump(model, "churn.joblib")
    digest = hashlib.sha256(Path("churn.joblib").read_bytes()).hexdigest()
    monkeypatch.setenv("BUCKET", str(tmp_path / "bucket"))
    monkeypatch.setenv("DAY", "2026-01-31")
    monkeypatch.setenv("MODEL_SHA256", digest)
    monkeypatch.setenv("PROJECT", "my-project")
    return tmp_path


def run(name: str, *settings: str) -> int:
    words = [word for setting in settings for word in ("--set", setting)]
    return main(["run", str(JOBS / name), "--quiet", *words])


def own(model: Pipeline, frame: pd.DataFrame) -> list[str]:
    predicted: list[str] = model.predict(frame[COLUMNS].astype(float)).tolist()
    return predicted


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_is_a_valid_job(path: Path, workdir: Path) -> None:
    found = read_job_values(str(path))
    job = make_job(found.values, found.variables)
    assert path.read_text().startswith("# yaml-language-server: $schema=job.schema.json\n")
    assert str(workdir) not in as_yaml(job), "what came from the environment is never written"


def test_files(workdir: Path, model: Pipeline) -> None:
    frame = customers(50, seed=2)
    Path("customers").mkdir()
    pq.write_table(pa.Table.from_pandas(frame[30:], preserve_index=False), "customers/2.parquet")
    pq.write_table(pa.Table.from_pandas(frame[:30], preserve_index=False), "customers/1.parquet")
    assert main(["check", str(JOBS / "files.yaml"), "--quiet"]) == 0
    assert not Path("scores").exists(), "a check writes nothing"
    assert run("files.yaml") == 0
    assert pq.read_table("scores")["prediction"].to_pylist() == own(model, frame)


def test_csv_to_two_outputs(workdir: Path, model: Pipeline) -> None:
    frame = customers(60, seed=3)
    Path("exports").mkdir()
    options = {"sep": ";", "header": False, "index": False}
    frame[:30].to_csv("exports/2026-01.csv", **options)
    frame[30:].to_csv("exports/2026-02.csv", **options)
    with Path("exports/2026-02.csv").open("a") as file:
        file.write("60;n/a;a;5;99.5\n")
    assert run("csv_two_outputs.yaml", "dead_letters.max_ratio=0.1") == 0
    full = pq.read_table("scores")
    assert full.column_names[:4] == ["id", "age", "months", "spend"]
    assert full.column_names[-1] == "row_id"
    assert full["row_id"][1].as_py() == "exports/2026-01.csv#0+1"
    assert full["prediction"].to_pylist() == own(model, frame)
    with Path("scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    probabilities = ["probability_no", "probability_yes"]
    assert list(rows[0]) == ["id", "prediction", *probabilities, "model_version"]
    assert [row["prediction"] for row in rows] == own(model, frame)
    (dead,) = pq.read_table("scores/_dead_letters").to_pylist()
    assert dead["error_code"] == "null_value"
    assert decode_payload(dead["payload"]).to_pylist()[0]["id"] == 60
    assert not Path("scores.csv.run").exists()


def test_json_in_a_bucket(workdir: Path, model: Pipeline) -> None:
    """The bucket is a folder here: the same paths, on another file system."""
    frame = customers(200, seed=4).rename(columns={"id": "customer_id"})
    bucket = workdir / "bucket"
    (bucket / "events" / "2026-01-31").mkdir(parents=True)
    (bucket / "models").mkdir()
    Path("churn.joblib").rename(bucket / "models" / "churn.joblib")
    text = frame.to_json(orient="records", lines=True) + '{"customer_id": 200, "age": \n'
    with gzip.open(bucket / "events" / "2026-01-31" / "a.jsonl.gz", "wt") as file:
        file.write(text)
    assert run("bucket_json.yaml") == 0
    scores = bucket / "scores" / "2026-01-31"
    assert pq.read_table(scores)["prediction"].to_pylist() == own(model, frame)
    assert [path.name for path in scores.iterdir()] == ["part-00000.parquet"]
    with (bucket / "scores_avro" / "2026-01-31" / "part-00000.avro").open("rb") as avro:
        rows = list(fastavro.reader(avro))
    assert [row["id"] for row in rows] == frame.customer_id.tolist()
    assert [row["prediction"] for row in rows] == own(model, frame)
    (dead,) = pq.read_table(bucket / "rejected" / "2026-01-31").to_pylist()
    assert (dead["stage"], dead["error_code"]) == ("decode", "malformed_json")
    assert dead["payload"] == b'{"customer_id": 200, "age": '
    (folder,) = (bucket / "runs" / "churn").iterdir()
    assert json.loads((folder / "report.json").read_text())["rows"]["read"] == 201
    assert "path: ${BUCKET}/scores/${DAY}" in (folder / "job.yaml").read_text()


def test_a_stream(
    workdir: Path,
    model: Pipeline,
    places: Places,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROJECT", PROJECT)
    client = emulator.client
    names = ("customers", "churn", "rejected")
    customer_topic, *topics = map(client.create_topic, names)
    client.create_subscription("customers", customer_topic)
    churn, rejected = map(client.create_subscription, names[1:], topics)
    frame = customers(40, seed=6).rename(columns={"id": "customer_id", "age": "customer_age"})
    payloads = frame.to_json(orient="records", lines=True).encode().splitlines()
    sent = [*payloads, payloads[0], b"{"]
    client.publish(customer_topic, sent, [{"region": "north"}] * len(sent))
    assert main(["check", str(JOBS / "pubsub_stream.yaml"), "--quiet"]) == 0
    settings = ("source.stop_when_idle_secs=1", "dead_letters.max_ratio=0.1")
    assert run("pubsub_stream.yaml", *settings) == 0
    predicted = own(model, frame.rename(columns={"customer_age": "age"}))
    files = pq.read_table("scores").sort_by("customer_id")
    assert files["prediction"].to_pylist() == predicted
    messages = client.pull_all(churn)
    assert len(messages) == 40, "one customer came twice"
    rows = {row["customer_id"]: row for row in (json.loads(message.data) for message in messages)}
    assert [rows[number]["prediction"] for number in range(40)] == predicted
    assert {message.attributes["region"] for message in messages} == {"north"}
    (dead,) = client.pull_all(rejected)
    assert (dead.data, dead.attributes["error_code"]) == (b"{", "malformed_json")


def test_preprocess(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = customers(40, seed=5).astype({"months": float})
    columns = ["spend", "ratio"]
    ratio = frame.assign(ratio=frame.spend / (frame.months + 1.0))
    fitted = LogisticRegression().fit(ratio[columns], ratio.ratio > ratio.ratio.median())
    joblib.dump(fitted, "churn.joblib")
    Path("churn_features.py").write_text(FEATURES)
    monkeypatch.syspath_prepend(workdir)
    frame.to_json("customers.jsonl", orient="records", lines=True)
    assert run("preprocess.yaml") == 0
    scores = pq.read_table("scores")
    assert scores.column_names == ["id", "prediction", "model_version"]
    assert scores["prediction"].to_pylist() == fitted.predict(ratio[columns]).tolist()


def test_the_function_in_the_comment_is_the_one_that_is_tested() -> None:
    comment = (JOBS / "preprocess.yaml").read_text()
    for line in FEATURES.strip().splitlines():
        assert f"#   {line}".rstrip() + "\n" in comment
