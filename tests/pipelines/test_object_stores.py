"""Runs on object stores: fakes of Google Cloud Storage and Amazon S3 on ports of this machine."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from killed import kill
from object_stores import Store, amazon_store, google_store
from running import NUMBERS, Ended, numbers
from sklearn.linear_model import LogisticRegression
from written import csv_text

Score = Scoreline = Callable[..., Ended]


@pytest.fixture(scope="module", params=[google_store, amazon_store])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A fake store, which ends with the tests of this module."""
    with request.param(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty bucket, where Beam's file system looks."""
    server.use(monkeypatch)
    return server


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def read(store: Store, name: str) -> pa.Table:
    return pq.read_table(pa.BufferReader(store.get(name)))


@pytest.fixture
def model(store: Store, classifier_file: Path) -> str:
    return store.put("models/churn.joblib", classifier_file.read_bytes())


def test_input_model_and_output_on_the_store(
    score: Score, store: Store, model: str, classifier: LogisticRegression
) -> None:
    table = numbers(100)
    table = table.set_column(0, "a", pa.array([None, *table["a"].to_pylist()[1:]]))
    for number in range(2):
        store.put(f"in/{number}.parquet", parquet(table.slice(50 * number, 50)))
    words, output = [*store.flags, "--output-json"], f"{store.root}/out"

    ended = score(*words, model=model, input=f"{store.root}/in/*.parquet", output=output)

    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    run = f"out/_run/{report['run_id']}"
    assert [name for name in store.names() if name.startswith("out/")] == [
        "out/_dead_letters/part-00000-conform.parquet",
        *(f"{run}/_SUCCESS", f"{run}/commit.json", f"{run}/job.yaml", f"{run}/report.json"),
        "out/part-00000.parquet",
    ]
    assert json.loads(store.get(f"{run}/report.json")) == report
    assert report["rows"]["predicted"] == 99
    scored = read(store, "out/part-00000.parquet")
    assert scored["id"].to_pylist() == list(range(1, 100))
    expected = classifier.predict(table.slice(1).select(NUMBERS).to_pandas())
    assert scored["prediction"].to_pylist() == expected.tolist()
    dead = read(store, "out/_dead_letters/part-00000-conform.parquet")
    assert dead["row_id"].to_pylist() == [f"{store.root}/in/0.parquet#0"]

    # A folder as an input; what is there is not replaced without being asked.
    again = score(*store.flags, model=model, input=f"{store.root}/in/", output=output)
    assert again.code == 2
    assert f"--output {output} exists: {output}/part-00000.parquet and 1 more" in again.err
    store.put("small.parquet", parquet(numbers(7)))
    flags = [*store.flags, "--overwrite"]
    assert score(*flags, model=model, input=f"{store.root}/small.parquet", output=output).code == 0
    assert read(store, "out/part-00000.parquet")["id"].to_pylist() == list(range(7))
    assert not [name for name in store.names() if "_dead_letters" in name]


def test_text_and_one_file(score: Score, store: Store, model: str) -> None:
    store.put("in.csv.gz", gzip.compress(csv_text(numbers(30))))
    output = f"{store.root}/scores.csv"
    ended = score(*store.flags, model=model, input=f"{store.root}/in.csv.gz", output=output)
    assert ended.code == 0, ended.err
    lines = store.get("scores.csv").splitlines()
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
    score: Score, store: Store, model: str, where: str, said: str
) -> None:
    source = store.put("in.parquet", parquet(numbers(50)))
    output = f"{store.root}/out"
    flags = ["--model", model, "--allow-pickle", "--input", source, "--output", output]
    kill(where, "score", *flags, *store.flags)
    assert "out/part-00000.parquet" not in store.names()

    ended = score(*store.flags, model=model, input=source, output=output)

    assert ended.code == 0, ended.err
    assert said in ended.err
    assert read(store, "out/part-00000.parquet")["id"].to_pylist() == list(range(50))
    assert not [name for name in store.names() if "staged" in name or "heartbeat" in name]
    assert sum(name.endswith("/report.json") for name in store.names()) == 1


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ({"input": "{root}/no.parquet"}, 2, "no file matches --input {root}/no.parquet"),
        ({"input": "{root}/no/*.csv"}, 2, "no file matches --input {root}/no/*.csv"),
        ({"model": "{root}/no.joblib"}, 4, "cannot read --model {root}/no.joblib"),
        ({"output": "{root}-not/out"}, 1, "{root}-not/out"),
    ],
)
def test_what_is_not_there(
    score: Score, store: Store, model: str, flags: dict[str, str], code: int, words: str
) -> None:
    source = store.put("in.parquet", parquet(numbers(5)))
    before = store.names()
    given = {"model": model, "input": source, "output": f"{store.root}/out"}
    given |= {name: path.format(root=store.root) for name, path in flags.items()}
    ended = score(*store.flags, **given)
    assert ended.code == code, ended.err
    assert words.format(root=store.root) in ended.err
    assert "Traceback" not in ended.err
    assert store.names() == before


def test_a_dry_run_writes_nothing(score: Score, store: Store, model: str) -> None:
    source = store.put("in.parquet", parquet(numbers(5)))
    before = store.names()
    output = f"{store.root}/out"
    ended = score(*store.flags, "--dry-run", model=model, input=source, output=output)
    assert ended.code == 0, ended.err
    assert store.names() == before


def test_a_job_file_and_an_output_of_no_rows(
    scoreline: Scoreline, store: Store, model: str
) -> None:
    """A part without a row is a file without a byte, which S3 takes in another way."""
    source = store.put("in.jsonl", b'{"a":null,"b":1,"c":2,"id":1}\n{"a":1,"b":2,"c":3,"id":2}\n')
    job = {
        "name": "nothing",
        "source": {"path": source, "limit": 1},
        "model": {"uri": model, "trust": {"allow_pickle": True}},
        "sinks": [{"path": f"{store.root}/scores.jsonl"}],
        "dead_letters": {"max_ratio": 1.0},
    }
    path = store.put("job.yaml", yaml.safe_dump(job).encode())
    ended = scoreline("run", path, *store.flags)
    assert ended.code == 0, ended.err
    assert store.get("scores.jsonl") == b""
    assert read(store, "scores.jsonl.dead_letters.parquet").num_rows == 1


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "there are no AWS credentials. Expected AWS_ACCESS_KEY_ID and "),
        ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found. Expected "),
    ],
)
def test_s3_without_credentials(
    scoreline: Scoreline,
    score: Score,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    reason: str,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    nowhere = {"AWS_CONFIG_FILE": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path)}
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", **nowhere, **environment}.items():
        monkeypatch.setenv(name, value)
    for path, ended in (
        ("s3://scores/in.parquet", score(input="s3://scores/in.parquet")),
        ("s3://scores/m.joblib", scoreline("model", "inspect", "s3://scores/m.joblib")),
        ("s3://scores/job.yaml", scoreline("run", "s3://scores/job.yaml")),
    ):
        assert ended.code == 2
        assert ended.err.startswith(f"scoreline: {path}: {reason}")
        assert len(ended.err.splitlines()) == 1


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
