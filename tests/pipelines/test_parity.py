"""The same rows through `model.predict`, a batch job and a stream: one result, one verdict."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from places import Places, rows_in
from running import Ended
from sklearn.compose import make_column_transformer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROWS = 400
FEATURES = ["age", "spend", "plan"]
FLAGS = ("--outputs", "predict,predict_proba", "--keep", "id", "--max-dead-letter-ratio", "0.5")
TYPES = ("--types", "id=int64,plan=string")
STOP = ("--stop-when-idle-secs", "0.3", "--flush-secs", "0.2")

# What becomes of a row: what is done to it, and the code of its dead letter.
BREAKAGES: dict[int, tuple[dict[str, Any], str]] = {
    3: ({"age": None}, "conform/null_value"),
    50: ({"plan": "z"}, "predict/model_error"),
    51: ({"spend": "n/a"}, "decode/wrong_type"),
    120: ({"spend": [1]}, "decode/wrong_type"),
    399: ({"plan": "never seen"}, "predict/model_error"),
}


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "age": rng.integers(18, 90, ROWS).astype(float),
            "spend": rng.normal(100, 20, ROWS),
            "plan": rng.choice(["a", "b", "c"], ROWS),
        }
    )


@pytest.fixture(scope="module")
def model(customers: pd.DataFrame) -> Pipeline:
    """A model whose results do not depend on what else is in a batch, to the last bit."""
    encode = make_column_transformer(
        (StandardScaler(), ["age", "spend"]), (OneHotEncoder(sparse_output=False), ["plan"])
    )
    labels = np.where(customers.spend + customers.age > 150, "yes", "no")
    return make_pipeline(encode, KNeighborsClassifier()).fit(customers[FEATURES], labels)


def broken(customers: pd.DataFrame) -> list[bytes]:
    """The rows as JSON, with what goes wrong in real data; a malformed one at the end."""
    rows = customers.to_dict("records")
    for row, (changes, _) in BREAKAGES.items():
        rows[row] |= changes
    return [*(json.dumps(row).encode() for row in rows), b'{"id": 400, "age":']


def codes(folder: str, index_of: Callable[[str], int]) -> dict[int, str]:
    """The dead letters' codes, by the number of the row."""
    letters = pq.read_table(folder).to_pylist()
    return {
        index_of(letter["position"]): f"{letter['stage']}/{letter['error_code']}"
        for letter in letters
    }


def test_rows_with_all_that_can_go_wrong(
    score: Callable[..., Ended], places: Places, model: Pipeline, customers: pd.DataFrame
) -> None:
    joblib.dump(model, "m.joblib")
    lines = broken(customers)
    Path("in.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    ended = score(*FLAGS, model="m.joblib", input="in.jsonl", output="batch")
    assert ended.code == 0, ended.err
    ids = places.publish(lines)
    ended = score(*FLAGS, *TYPES, *STOP, model="m.joblib", input=places.uri, output="live")
    assert ended.code == 0, ended.err

    good = customers.drop(index=list(BREAKAGES))
    probabilities = model.predict_proba(good[FEATURES])
    own = [
        {"id": id_, "prediction": label, "probability_no": no, "probability_yes": yes}
        for id_, label, (no, yes) in zip(
            good.id, model.predict(good[FEATURES]), probabilities.tolist(), strict=True
        )
    ]
    batch, live = rows_in("batch"), rows_in("live")
    for rows in (batch, live):
        assert [{name: row[name] for name in own[0]} for row in rows] == own
    assert {row["model_version"] for row in batch} == {row["model_version"] for row in live}

    expected = {row: code for row, (_, code) in BREAKAGES.items()} | {400: "decode/malformed_json"}
    assert codes("batch/_dead_letters", lambda position: int(position.split("+")[1])) == expected
    assert codes("live/_dead_letters", ids.index) == expected


def test_the_same_in_csv_and_avro(
    score: Callable[..., Ended],
    places: Places,
    model: Pipeline,
    customers: pd.DataFrame,
    workdir: Path,
) -> None:
    joblib.dump(model, "m.joblib")
    own = model.predict(customers[FEATURES]).tolist()
    names = ",".join(customers.columns)
    lines = customers.to_csv(index=False, header=False).encode().splitlines()
    places.publish(lines)
    flags = (*FLAGS, *TYPES, *STOP)
    ended = score(
        *(*flags, "--input-format", "csv", "--csv-header", names),
        model="m.joblib",
        input=places.uri,
        output="csv",
    )
    assert ended.code == 0, ended.err
    assert [row["prediction"] for row in rows_in("csv")] == own

    other = Places(places.client)
    fields = [
        {"name": name, "type": type_}
        for name, type_ in zip(customers, ["long", "double", "double", "string"], strict=True)
    ]
    schema = {"type": "record", "name": "customer", "fields": fields}
    Path("customer.avsc").write_text(json.dumps(schema))
    other.publish([_datum(row, schema) for row in customers.to_dict("records")])
    ended = score(
        *(*flags, "--input-format", "avro", "--avro-schema", "customer.avsc"),
        model="m.joblib",
        input=other.uri,
        output="avro",
    )
    assert ended.code == 0, ended.err
    assert [row["prediction"] for row in rows_in("avro")] == own


def _datum(row: dict[str, Any], schema: dict[str, Any]) -> bytes:
    import io

    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, schema, row)
    return sink.getvalue()
