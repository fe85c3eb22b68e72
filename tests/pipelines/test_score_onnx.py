"""ONNX graphs through the command line: predictions, reports, dead letters, refusals."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx_models import FLOAT, INT64, passing
from places import Places, rows_in
from running import NUMBERS, Ended, numbers, write
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Score = Callable[..., Ended]
ROWS = 500


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "age": rng.integers(18, 90, ROWS),
            "spend": rng.normal(100, 20, ROWS),
            "plan": rng.choice(["a", "b", "c"], ROWS),
        }
    )


@pytest.fixture(scope="module")
def churn(customers: pd.DataFrame) -> bytes:
    """A pipeline with a column transformer: inputs of three kinds."""
    encode = make_column_transformer(
        (StandardScaler(), ["age", "spend"]), (OneHotEncoder(), ["plan"])
    )
    labels = np.where(customers.spend + customers.age > 150, "yes", "no")
    model = make_pipeline(encode, LogisticRegression()).fit(
        customers[["age", "spend", "plan"]], labels
    )
    types = [
        ("age", Int64TensorType([None, 1])),
        ("spend", FloatTensorType([None, 1])),
        ("plan", StringTensorType([None, 1])),
    ]
    return to_onnx(model, initial_types=types).SerializeToString()


def own(data: bytes, frame: pd.DataFrame) -> tuple[list[str], list[dict[str, float]]]:
    dtypes = {"age": np.int64, "spend": np.float32, "plan": object}
    inputs = {name: frame[[name]].to_numpy().astype(dtype) for name, dtype in dtypes.items()}
    return onnxruntime.InferenceSession(data).run(None, inputs)


@pytest.mark.parametrize("extension", ["parquet", "jsonl", "csv"])
def test_predictions_are_the_runtimes_own(
    score: Score, workdir: Path, customers: pd.DataFrame, churn: bytes, extension: str
) -> None:
    (workdir / "churn.onnx").write_bytes(churn)
    written = {
        "parquet": lambda path: customers.to_parquet(path),
        "jsonl": lambda path: customers.to_json(
            path, orient="records", lines=True, double_precision=15
        ),
        "csv": lambda path: customers.to_csv(path, index=False),
    }
    written[extension](f"in.{extension}")
    frame = (
        customers
        if extension != "jsonl"
        else pd.read_json("in.jsonl", lines=True, precise_float=True)
    )

    ended = score(
        *("--outputs", "predict,predict_proba", "--keep", "id"),
        model="churn.onnx",
        input=f"in.{extension}",
        trust="",
    )

    assert ended.code == 0, ended.err
    scored = pq.read_table("out")
    assert scored.column_names == [
        *("id", "prediction", "probability_no", "probability_yes", "model_version"),
    ]
    labels, probabilities = own(churn, frame)
    assert scored["prediction"].to_pylist() == labels.tolist()
    assert scored["probability_yes"].type == pa.float32()
    np.testing.assert_array_max_ulp(
        scored["probability_yes"].to_numpy(), np.float32([row["yes"] for row in probabilities]), 16
    )
    (path,) = Path("out/_run").glob("*/report.json")
    sha256 = hashlib.sha256(churn).hexdigest()
    assert json.loads(path.read_text())["model"] == {
        "name": "churn",
        "version": sha256[:12],
        "sha256": sha256,
        "format": "onnx",
        "uri": "churn.onnx",
        "notes": [],
    }


def test_rows_that_the_graph_cannot_take_are_dead_letters(
    score: Score, workdir: Path, customers: pd.DataFrame, churn: bytes
) -> None:
    (workdir / "churn.onnx").write_bytes(churn)
    table = pa.Table.from_pandas(customers, preserve_index=False)
    age = [None, 20.5, 2.0**53, *table["age"].to_pylist()[3:]]
    table = table.set_column(1, "age", pa.array(age, pa.float64()))
    plan = [*table["plan"].to_pylist()[:-2], None, "never seen"]
    table = table.set_column(3, "plan", pa.array(plan))
    write(workdir / "in.parquet", table)

    ended = score("--keep", "id", model="churn.onnx", trust="")

    assert ended.code == 0, ended.err
    dead = pq.read_table("out/_dead_letters").to_pylist()
    told = {
        int(row["position"]): (row["stage"], row["error_code"], row["error_message"])
        for row in dead
    }
    assert sorted(told) == [0, 1, 2, ROWS - 2, ROWS - 1]
    assert told[0][1] == "null_value"
    assert told[1] == ("conform", "unsafe_cast", "column 'age': 20.5 is no int64")
    assert told[2] == ("conform", "unsafe_cast", f"column 'age': {2.0**53!r} is no int64")
    assert told[ROWS - 2][:2] == ("conform", "null_value")
    assert told[ROWS - 1][0] == "predict"
    assert "Unknown Category" in told[ROWS - 1][2]
    rest = customers.iloc[3:-2]
    assert pq.read_table("out")["prediction"].to_pylist() == own(churn, rest)[0].tolist()


def test_a_matrix_wants_the_names_of_its_columns(
    score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    frame = numbers(20).select(NUMBERS).to_pandas()
    data = to_onnx(classifier, frame.to_numpy(np.float32)[:1]).SerializeToString()
    (workdir / "m.onnx").write_bytes(data)
    write(workdir / "in.parquet", numbers(20))
    ended = score(model="m.onnx", trust="")
    assert ended.code == 2
    assert "model 'm' needs columns ['X'] that the input lacks" in ended.err
    assert "name those of single numbers in the order of training with --features A,B," in ended.err
    ended = score("--features", "a,b", model="m.onnx", trust="")
    assert ended.code == 2, ended.err
    assert "takes the inputs X: float32[?, 3], but --features names 2: ['a', 'b']" in ended.err
    ended = score("--features", "a,b,c", model="m.onnx", trust="")
    assert ended.code == 0, ended.err
    (labels, _) = onnxruntime.InferenceSession(data).run(None, {"X": frame.to_numpy(np.float32)})
    assert pq.read_table("out")["prediction"].to_pylist() == labels.tolist()


@pytest.mark.parametrize("extension", ["parquet", "jsonl"])
def test_lists_are_tensors_in_and_out(score: Score, workdir: Path, extension: str) -> None:
    model = passing(("image", FLOAT, [None, 2, 2]), ("weights", FLOAT, [None, 3]))
    (workdir / "m.onnx").write_bytes(model.SerializeToString())
    images = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]], [[1.0], [2.0]], None]
    rows = [{"id": i, "image": image, "weights": [0.5, i, 2]} for i, image in enumerate(images)]
    if extension == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), "in.parquet")
    else:
        Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = score(
        *("--keep", "id", "--max-dead-letter-ratio", "0.5"),
        model="m.onnx",
        input=f"in.{extension}",
        trust="",
    )
    assert ended.code == 0, ended.err
    scored = pq.read_table("out").drop_columns(["model_version"])
    assert scored.column_names == ["id", "image_out", "weights_out"]
    assert scored["image_out"].to_pylist() == images[:2]
    assert scored["weights_out"].to_pylist() == [[0.5, 0.0, 2.0], [0.5, 1.0, 2.0]]
    dead = pq.read_table("out/_dead_letters")
    assert dead["error_code"].to_pylist() == ["wrong_shape", "null_value"]


def test_check_says_what_the_graph_takes_and_gives(
    scoreline: Callable[..., Ended], workdir: Path, customers: pd.DataFrame, churn: bytes
) -> None:
    (workdir / "churn.onnx").write_bytes(churn)
    customers.to_parquet("in.parquet")
    words = ["--model", "churn.onnx", "--input", "in.parquet", "--output", "out"]
    printed = scoreline("score", *words, "--print-job")
    (workdir / "job.yaml").write_text(printed.out)
    ended = scoreline("check", "job.yaml", "--output-json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    assert found["model"]["format"] == "onnx"
    assert found["model"]["takes"] == "tensors"
    assert found["model"]["columns"] == {
        "age": "number, not null",
        "spend": "number",
        "plan": "text, not null",
    }
    # The graph refuses the made-up row, which has a plan that it has never seen.
    assert found["outputs"][0]["columns"]["prediction"] == "told by the first rows"

    model = passing(("spend", FLOAT, [None, 1]), ("age", INT64, [None]))
    (workdir / "churn.onnx").write_bytes(model.SerializeToString())
    found = json.loads(scoreline("check", "job.yaml", "--output-json").out)
    columns = found["outputs"][0]["columns"]
    assert columns["spend_out"] == "float"
    assert columns["age_out"] == "int64"


def test_outputs_that_the_graph_lacks(
    score: Score, workdir: Path, customers: pd.DataFrame, churn: bytes
) -> None:
    (workdir / "churn.onnx").write_bytes(churn)
    customers.to_parquet("in.parquet")
    ended = score("--outputs", "decision_function", model="churn.onnx", trust="")
    assert ended.code == 2
    assert "has no decision_function" in ended.err
    assert "It offers --outputs predict,predict_proba" in ended.err
    assert not Path("out").exists()


def test_the_name_does_not_matter(
    score: Score, workdir: Path, customers: pd.DataFrame, churn: bytes
) -> None:
    (workdir / "churn.joblib").write_bytes(churn)
    customers.to_parquet("in.parquet")
    assert score("--keep", "id", model="churn.joblib", trust="").code == 0
    assert pq.read_table("out").num_rows == ROWS


def test_a_stream_of_lists_and_integers(score: Score, workdir: Path, places: Places) -> None:
    """Nobody says what messages hold: the types are the graph's."""
    model = passing(("image", FLOAT, [None, 2]), ("n", INT64, [None]))
    (workdir / "m.onnx").write_bytes(model.SerializeToString())
    rows = [
        {"image": [0.5, 1], "n": 7},
        {"image": [0.5], "n": 7},
        {"image": [0.5, 1], "n": 7.5},
        {"image": [2, 3], "n": 9007199254740993},
    ]
    places.publish([json.dumps(row).encode() for row in rows])
    flags = ("--stop-when-idle-secs", "0.3", "--max-dead-letter-ratio", "1")
    ended = score(*flags, model="m.onnx", input=places.uri, output="live", trust="")
    assert ended.code == 0, ended.err
    (row,) = rows_in("live")
    assert row["image_out"] == [0.5, 1.0]
    assert row["n_out"] == 7
    dead = pq.read_table("live/_dead_letters")
    assert sorted(dead["error_code"].to_pylist()) == ["unsafe_cast", "unsafe_cast", "wrong_shape"]
