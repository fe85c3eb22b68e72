"""A function as a model: what it gets, what it may return, and that nothing runs without leave."""

import hashlib
import sys
import threading
from pathlib import Path
from typing import Any

import code_models
import numpy as np
import pyarrow as pa
import pytest

from scoreline.models import (
    ColumnarModelHandler,
    ContractError,
    ModelError,
    ModelOutputError,
    ModelRef,
    Trust,
    UntrustedModelError,
    load_model,
)
from scoreline.models.callable_model import is_callable
from scoreline.models.reserved import ERROR_MESSAGE

CODE = Trust(allow_code=True)
ROWS = pa.record_batch({"a": [1.0, -2.0, 3.0], "b": [1, 1, 1], "note": ["x", None, "z"]})


def load(name: str, **options: Any) -> Any:
    return load_model(ModelRef(f"code_models:{name}", CODE, **options))


def scored(name: str, batch: pa.RecordBatch = ROWS) -> dict[str, list]:
    return load(name).score(batch).to_pydict()


@pytest.mark.parametrize(
    ("uri", "is_one"),
    [
        ("m:f", True),
        ("package.module:function", True),
        ("package.module:Class.method", True),
        ("./m:f", False),
        ("m.onnx", False),
        ("gs://bucket/m.onnx", False),
        ("/a/b:c", False),
        ("beam:m:f", False),
        ("m:", False),
        (":f", False),
        ("m.:f", False),
        ("m:f.onnx v2", False),
    ],
)
def test_which_uris_name_a_function(uri: str, is_one: bool):
    assert is_callable(uri) == is_one


def test_what_a_function_may_return():
    assert scored("total") == {"prediction": [2.0, -1.0, 4.0]}
    assert scored("both") == {"total": [2.0, -1.0, 4.0], "sign": ["+", "-", "+"]}
    assert scored("matrix") == {"prediction_0": [1.0, -2.0, 3.0], "prediction_1": [1.0, 1.0, 1.0]}
    assert scored("twice") == {"scaled": [2.0, -4.0, 6.0]}


def test_a_function_gets_all_columns_as_they_came():
    assert scored("names")["prediction"] == ["a:double,b:int64,note:string"] * 3
    assert load("names").contract.layout == "batch"


def test_a_function_gets_the_columns_that_were_named():
    model = load("names", features=("b", "a"))
    assert model.score(ROWS)["prediction"][0].as_py() == "b:int64,a:double"
    assert model.contract.names == ("b", "a")
    with pytest.raises(ContractError, match=r"needs columns \['b', 'a'\]"):
        model.contract.check(pa.schema([("c", pa.int64())]), "names")


def test_the_version_is_that_of_the_source_file():
    info = load("total").info
    source = Path(code_models.__file__).read_bytes()
    assert info.version == hashlib.sha256(source).hexdigest()[:12]
    assert (info.name, info.format, info.sha256) == ("total", "callable", None)
    assert info.uri == "code_models:total"
    assert info.notes == (
        f"code: its version {info.version} is of code_models.py alone, not of what that imports",
    )


def test_rows_that_a_function_fails_on_are_given_back():
    handler = ColumnarModelHandler(ModelRef("code_models:picky", CODE))
    good, rejected = handler.run_inference(ROWS, handler.load_model())
    assert good["prediction"].to_pylist() == [1.0, 3.0]
    assert rejected["a"].to_pylist() == [-2.0]
    assert rejected[ERROR_MESSAGE].to_pylist() == ["a must be positive"]


def test_a_function_that_loses_a_row():
    with pytest.raises(ModelOutputError, match=r"for each of the 3 rows that it got.*returned 2"):
        load("one_short").score(ROWS)


def test_code_needs_leave_before_anything_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MARKER", str(tmp_path / "ran"))
    for uri in ("writes_a_marker:predict", "beam:writes_a_marker:handler"):
        with pytest.raises(
            UntrustedModelError, match=f"'{uri}' is code: allow it with --allow-code"
        ):
            load_model(ModelRef(uri, Trust(allow_pickle=True)))
        with pytest.raises(ModelError, match="code, not a file: it has no sha256 to compare"):
            load_model(ModelRef(uri, Trust(sha256="0" * 64, allow_code=True)))
    assert not (tmp_path / "ran").exists()
    assert "writes_a_marker" not in sys.modules
    load_model(ModelRef("writes_a_marker:predict", CODE))
    assert (tmp_path / "ran").exists()
    del sys.modules["writes_a_marker"]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("no_such_module:f", "cannot import 'no_such_module'"),
        ("code_models:nothing", "has no function 'nothing'"),
        ("code_models:not_callable", "has no function 'not_callable'"),
        ("builtins:len", "the module 'builtins' has no file that its version could be told from"),
    ],
)
def test_functions_that_cannot_be_had(uri: str, words: str):
    with pytest.raises(ModelError, match=words):
        load_model(ModelRef(uri, CODE))


def test_other_outputs_than_what_it_returns():
    with pytest.raises(
        ContractError, match=r"asks for predict, predict_proba\. Leave --outputs out"
    ):
        load("total", outputs=("predict", "predict_proba"))


def test_eight_threads_call_one_function():
    model = load("both")
    expected = model.score(ROWS)
    wrong = []

    def score() -> None:
        for _ in range(50):
            if not model.score(ROWS).equals(expected):
                wrong.append(1)

    threads = [threading.Thread(target=score) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert np.array(expected["total"]).tolist() == [2.0, -1.0, 4.0]
