"""The contract block of a job: what it may say, and that a run, a stream's preflight obey it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs import write_job
from running import Ended, write
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job import make_job

Scoreline = Callable[..., Ended]


def refusal(column: dict[str, Any]) -> str:
    values = {
        "name": "churn",
        "source": {"path": "in"},
        "model": {"uri": "m.skops", "contract": {"age": column}},
        "sinks": [{"path": "out"}],
    }
    with pytest.raises(UsageError) as raised:
        make_job(values)
    return str(raised.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"mn": 1}, "model.contract.age.mn: unknown key; did you mean 'min'?"),
        ({"min": "much"}, "model.contract.age.min: expected a number, got 'much'"),
        ({"min": 2, "max": 1}, "model.contract.age: expected min to be at most max, got 2 and 1"),
        ({"type": "text", "max": 1}, "age: min and max are of numbers; expected type number, got"),
        ({"type": "string"}, "model.contract.age.type: expected"),
        ({"categories": []}, "model.contract.age.categories: expected a list that is not empty"),
        ({"categories": ["a", 1]}, "categories: expected all to be text or all to be numbers"),
        ({"type": "number", "categories": ["a"]}, "expected values of the type number, got text"),
        ({"type": "text", "categories": [1]}, "expected values of the type text, got numbers"),
        ({"min": 1, "categories": ["a"]}, "expected numbers beside min and max, got text"),
    ],
)
def test_a_contract_that_makes_no_sense(column: dict[str, Any], message: str) -> None:
    assert message in refusal(column)


@pytest.fixture
def model(workdir: Path) -> Path:
    """A model that takes missing ages, and any plan."""
    frame = pd.DataFrame({"age": np.arange(40.0), "plan": ["basic", "gold"] * 20})
    columns = ColumnTransformer(
        [("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"])],
        remainder="passthrough",
        sparse_threshold=0,
    )
    boosting = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=3))
    joblib.dump(boosting.fit(frame, [0] * 20 + [1] * 20), workdir / "m.joblib")
    return workdir / "m.joblib"


ROWS = pa.table(
    {
        "age": pa.array([30.0, None, -1.0, 200.0, 50.0, 7.0]),
        "plan": ["basic", "gold", "gold", "basic", "gld", None],
        "id": range(6),
    }
)
CONTRACT = {
    "age": {"type": "number", "nullable": False, "min": 0, "max": 120},
    "plan": {"nullable": False, "categories": ["basic", "gold"]},
}


def job(model: Path, contract: dict[str, Any], **changes: Any) -> str:
    trust = {"allow_pickle": True}
    spec = {"uri": str(model), "trust": trust, "contract": contract, **changes}
    return write_job(model, model=spec, dead_letters={"max_ratio": 1})


def test_rows_that_break_the_contract_are_dead_letters_with_codes_of_their_own(
    scoreline: Scoreline, workdir: Path, model: Path
) -> None:
    write(workdir / "in.parquet", ROWS)
    ended = scoreline("run", job(model, CONTRACT), "--output-json")
    assert ended.code == 0, ended.err
    assert pq.read_table("out").column("id").to_pylist() == [0]
    dead = pq.read_table("out/_dead_letters").sort_by("position")
    assert dead.column("error_code").to_pylist() == [
        "missing_value",
        "out_of_range",
        "out_of_range",
        "unknown_category",
        "missing_value",
    ]
    assert json.loads(ended.out)["dead_letters"] == {
        "conform/missing_value": 2,
        "conform/out_of_range": 2,
        "conform/unknown_category": 1,
    }


def test_without_the_contract_the_model_decides(
    scoreline: Scoreline, workdir: Path, model: Path
) -> None:
    write(workdir / "in.parquet", ROWS)
    assert scoreline("run", job(model, {})).code == 0
    assert pq.read_table("out").column("id").to_pylist() == list(range(6))


def test_a_check_says_what_is_accepted(scoreline: Scoreline, workdir: Path, model: Path) -> None:
    write(workdir / "in.parquet", ROWS)
    ended = scoreline("check", job(model, CONTRACT))
    assert ended.code == 0, ended.err
    assert "age: number, not null, at least 0, at most 120" in ended.out + ended.err
    assert "plan: text, not null, one of 2 categories" in ended.out + ended.err


def test_a_contract_about_another_column(scoreline: Scoreline, workdir: Path, model: Path) -> None:
    write(workdir / "in.parquet", ROWS)
    ended = scoreline("run", job(model, {"agee": {"min": 0}}))
    assert ended.code == 2
    assert "model.contract.agee: model 'm' does not take this column; did you mean 'age'?" in (
        ended.err
    )
    assert not Path("out").exists()


def test_with_preprocess_the_contract_is_of_what_the_function_gets(
    scoreline: Scoreline, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "ageing.py").write_text(
        "import pyarrow as pa\n\n\n"
        "def older(batch):\n"
        "    return pa.record_batch({'age': [x + 1 for x in batch.column('years').to_pylist()]})\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    frame = pd.DataFrame({"age": np.arange(40.0)})
    joblib.dump(LogisticRegression().fit(frame, frame.age > 20), workdir / "m.joblib")
    write(workdir / "in.parquet", pa.table({"years": [1, -5, 30], "id": [0, 1, 2]}))
    trust = {"allow_pickle": True, "allow_code": True}
    changes = {"preprocess": "ageing:older", "trust": trust}
    ended = scoreline("run", job(workdir / "m.joblib", {"years": {"min": 0}}, **changes))
    assert ended.code == 0, ended.err
    assert pq.read_table("out").column("id").to_pylist() == [0, 2]
    assert pq.read_table("out/_dead_letters").column("error_code").to_pylist() == ["out_of_range"]
