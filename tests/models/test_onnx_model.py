"""Predictions are onnxruntime's own, to the bit, whatever the graph gives and the batch is."""

import threading
import warnings
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
from fuzz import REFUSED, check_damaged
from onnx import helper
from onnx_models import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT32,
    INT64,
    STRING,
    artifact,
    batch,
    exported,
    graph,
    load,
    own,
    passing,
    value,
)
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn_models import NAMES, batch_of, classes, identical, mixed, numbers

from scoreline.models import ContractError, ModelError, ModelOutputError, Trust
from scoreline.models.artifact import Artifact
from scoreline.models.onnx_model import FORMAT, num_threads
from scoreline.models.restrict import Rule

FRAME = numbers(200)
WORDS = classes(FRAME, ("low", "mid", "high"))
INTEGERS = classes(FRAME, (3, 5, 7))
BOTH = ("predict", "predict_proba")
ULPS = 256  # of float32, as docs/models.md says; 110 were seen, at batches of one row
CLASSIFIERS = [
    LogisticRegression(),
    RandomForestClassifier(7, random_state=0),
    GradientBoostingClassifier(n_estimators=5, random_state=0),
    KNeighborsClassifier(),
    MLPClassifier((4,), max_iter=20, random_state=0),
    make_pipeline(StandardScaler(), LogisticRegression()),
]


def matrix(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {"X": frame.to_numpy(np.float32)}


@pytest.mark.parametrize("targets", [WORDS, INTEGERS], ids=["words", "integers"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("zipmap", [True, False], ids=["maps", "matrix"])
def test_classifiers(estimator: Any, targets: np.ndarray, zipmap: bool):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(FRAME, targets)
    model = exported(estimator, FRAME, zipmap=zipmap)
    label, probabilities = own(model, matrix(FRAME)).values()
    if zipmap:
        probabilities = np.array([list(row.values()) for row in probabilities], np.float32)
        names = sorted(set(targets.tolist()))
    else:
        names = estimator.classes_.tolist()

    loaded = load(model, *BOTH, features=NAMES)
    scored = loaded.score(batch_of(FRAME))

    assert scored.schema.names == ["prediction", *(f"probability_{name}" for name in names)]
    assert identical(scored["prediction"], label)
    for name, column in zip(names, probabilities.T, strict=True):
        assert scored[f"probability_{name}"].type == pa.float32()
        assert identical(scored[f"probability_{name}"], column)
    assert load(model, features=NAMES).score(batch_of(FRAME)).schema.names == ["prediction"]


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch):
    asked = []

    class Session:
        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[Any]:
            asked.append(names)
            return [np.zeros(len(inputs["X"]), np.int64) for _ in names]

    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: Session())
    model = exported(LogisticRegression().fit(FRAME, INTEGERS), FRAME, zipmap=False)
    load(model, features=NAMES).score(batch_of(FRAME))
    assert asked == [["label"]]


@pytest.mark.parametrize(
    ("targets", "names"),
    [(["a"], ["prediction"]), (["a", "b"], ["prediction_0", "prediction_1"])],
    ids=["one target", "two targets"],
)
def test_regressors(targets: list[str], names: list[str]):
    target = FRAME[targets].to_numpy()
    estimator = LinearRegression().fit(FRAME, target[:, 0] if len(targets) == 1 else target)
    model = exported(estimator, FRAME)
    (result,) = own(model, matrix(FRAME)).values()
    scored = load(model, features=NAMES).score(batch_of(FRAME))
    assert scored.schema.names == names
    for name, column in zip(names, result.T, strict=True):
        assert identical(scored[name], column)


def test_other_graphs_have_their_own_names():
    model = exported(KMeans(3, n_init=1, random_state=0).fit(FRAME), FRAME)
    result = own(model, matrix(FRAME))
    scored = load(model, features=NAMES).score(batch_of(FRAME))
    assert scored.schema.names == ["label", "scores"]
    assert identical(scored["label"], result["label"])
    assert scored["scores"].type == pa.list_(pa.float32(), 3)
    assert scored["scores"].to_pylist() == result["scores"].tolist()


def test_a_transformer_gives_lists():
    model = exported(StandardScaler().fit(FRAME), FRAME)
    scored = load(model, features=NAMES).score(batch_of(FRAME))
    assert scored["variable"].to_pylist() == own(model, matrix(FRAME))["variable"].tolist()


def test_several_targets_have_a_sequence_of_probabilities():
    targets = np.stack([WORDS, classes(FRAME, ("no", "yes"))], axis=1)
    estimator = MultiOutputClassifier(LogisticRegression()).fit(FRAME, targets)
    model = exported(estimator, FRAME, zipmap=False)
    result = own(model, matrix(FRAME))
    scored = load(model, features=NAMES).score(batch_of(FRAME))
    assert scored.schema.names == ["label", "probabilities_0", "probabilities_1"]
    assert scored["label"].to_pylist() == result["label"].tolist()
    assert scored["probabilities_0"].to_pylist() == result["probabilities"][0].tolist()


MIXED = mixed(120)[["a", "b", "plan"]].assign(count=np.arange(120) % 5)
MIXED_TARGET = np.where(MIXED["a"] > 0.7, "yes", "no")


def mixed_model() -> Any:
    encode = make_column_transformer(
        (StandardScaler(), ["a", "b", "count"]), (OneHotEncoder(), ["plan"])
    )
    estimator = make_pipeline(encode, LogisticRegression()).fit(MIXED, MIXED_TARGET)
    types = [
        ("a", FloatTensorType([None, 1])),
        ("b", FloatTensorType([None, 1])),
        ("plan", StringTensorType([None, 1])),
        ("count", Int64TensorType([None, 1])),
    ]
    return to_onnx(estimator, initial_types=types, options={id(estimator): {"zipmap": False}})


def mixed_inputs(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    dtypes = {"a": np.float32, "b": np.float32, "plan": object, "count": np.int64}
    return {name: frame[[name]].to_numpy().astype(dtype) for name, dtype in dtypes.items()}


def test_inputs_of_several_kinds_are_columns_by_name():
    model = mixed_model()
    label, probabilities = own(model, mixed_inputs(MIXED)).values()
    loaded = load(model, *BOTH)
    assert loaded.contract.names == ("a", "b", "plan", "count")
    assert loaded.contract.layout == "tensors"
    shuffled = MIXED[["count", "plan", "b", "a"]].assign(other="x")
    for table in (batch_of(shuffled), _dictionary(batch_of(MIXED), "plan")):
        scored = loaded.score(table)
        assert identical(scored["prediction"], label)
        assert identical(scored["probability_yes"], probabilities[:, 1])


def _dictionary(table: pa.RecordBatch, name: str) -> pa.RecordBatch:
    index = table.schema.get_field_index(name)
    return table.set_column(index, name, table.column(name).dictionary_encode())


@pytest.mark.parametrize(("start", "rows"), [(0, 120), (7, 1), (13, 50), (119, 1)])
def test_slices_are_scored_for_themselves(start: int, rows: int):
    model = mixed_model()
    (label, probabilities) = own(model, mixed_inputs(MIXED[start : start + rows])).values()
    scored = load(model, *BOTH).score(batch_of(MIXED).slice(start, rows))
    assert identical(scored["prediction"], label)
    assert identical(scored["probability_no"], probabilities[:, 0])


@pytest.mark.parametrize("size", [1, 7, 500])
def test_across_batch_sizes_a_few_units_in_the_last_place(size: int):
    frame = numbers(1000, np.float32)
    model = exported(LogisticRegression().fit(FRAME, WORDS), FRAME, zipmap=False)
    loaded = load(model, *BOTH, features=NAMES)
    whole = loaded.score(batch_of(frame))
    starts = range(0, 1000, size)
    parts = [loaded.score(batch_of(frame).slice(start, size)) for start in starts]
    pieces = pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
    assert pieces["prediction"] == whole["prediction"]
    for name in whole.schema.names[1:]:
        np.testing.assert_array_max_ulp(np.array(pieces[name]), np.array(whole[name]), ULPS)


def test_tensors_of_lists():
    model = passing(("image", FLOAT, [None, 2, 3]), ("vector", DOUBLE, ["n", 4]))
    image = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    vector = np.arange(8.0).reshape(2, 4)
    loaded = load(model)
    assert [feature.kind for feature in loaded.contract.features] == ["tensor", "tensor"]
    nested = pa.array(image.tolist(), pa.list_(pa.list_(pa.float32(), 3), 2))
    for column in (nested, pa.array(image.reshape(2, 6).tolist())):
        scored = loaded.score(batch(image=column, vector=pa.array(vector.tolist())))
        assert scored["image_out"].type == nested.type
        assert scored["image_out"].to_pylist() == image.tolist()
        assert scored["vector_out"].to_pylist() == vector.tolist()


def test_each_dtype_comes_back_as_it_went_in():
    ports = [("f", FLOAT), ("d", DOUBLE), ("i", INT32), ("l", INT64), ("s", STRING), ("b", BOOL)]
    for dims in ([None, 1], [None]):
        model = passing(*((name, type_, dims) for name, type_ in ports))
        rows = batch(f=[0.1, None], d=[0.1, 2], i=[1.0, 2], l=[2**60, 3], s=["é", ""], b=[1, 0])
        scored = load(model).score(rows)
        assert [str(field.type) for field in scored.schema] == [
            *("float", "double", "int32", "int64", "string", "bool"),
        ]
        assert scored["f_out"].to_pylist()[0] == np.float32(0.1)
        assert np.isnan(scored["f_out"].to_pylist()[1])
        assert scored["l_out"].to_pylist() == [2**60, 3]
        assert scored["s_out"].to_pylist() == ["é", ""]
        assert scored["b_out"].to_pylist() == [True, False]


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("size", [1, 4])
def test_a_fixed_number_of_rows(rows: int, size: int):
    """The graph adds the sum of its piece: what fills up the last piece shows in its last rows."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["size"]),
        helper.make_node("Expand", ["size", "shape_x"], ["sizes"]),
    ]
    model = graph(
        nodes,
        [value("x", FLOAT, size, 2)],
        [value("same", FLOAT, size, 2), value("sizes", INT64, size)],
        {"zero": np.array(0), "shape_x": np.array([size])},
    )
    loaded = load(model, features=("a", "b"))
    assert f"takes {size} rows at a time" in loaded.info.notes[0]
    table = batch(a=np.arange(rows, dtype=float), b=np.arange(rows) * 10.0)
    scored = loaded.score(table)
    assert scored["same"].to_pylist() == [[row, row * 10.0] for row in range(rows)]
    assert scored["sizes"].to_pylist() == [size] * rows


def test_a_classifier_of_fixed_size_with_maps():
    estimator = LogisticRegression().fit(FRAME, WORDS)
    open_model = exported(estimator, FRAME)
    fixed = to_onnx(estimator, initial_types=[("X", FloatTensorType([16, 4]))])
    tables = [
        load(model, *BOTH, features=NAMES).score(batch_of(FRAME)) for model in (open_model, fixed)
    ]
    assert tables[0].schema == tables[1].schema
    assert tables[0]["prediction"] == tables[1]["prediction"]
    for name in tables[0].schema.names[1:]:
        np.testing.assert_array_max_ulp(np.array(tables[0][name]), np.array(tables[1][name]), ULPS)


def test_inputs_of_different_fixed_sizes_are_refused():
    model = passing(("a", FLOAT, [2, 1]), ("b", FLOAT, [3, 1]))
    with pytest.raises(ModelError, match=r"different fixed numbers of rows: a: float32\[2, 1\]"):
        load(model)


def test_a_graph_that_loses_rows_is_an_error():
    nodes = [helper.make_node("Unique", ["x"], ["y"], axis=0)]
    model = graph(nodes, [value("x", FLOAT, None, 1)], [value("y", FLOAT, None, 1)])
    with pytest.raises(ModelOutputError, match="returned 2 results for 3 rows"):
        load(model).score(batch(x=[1.0, 1.0, 2.0]))
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]
    model = graph(nodes, [value("x", FLOAT, None, 1)], [value("y", FLOAT)])
    with pytest.raises(ModelOutputError, match="no array for 3 rows"):
        load(model).score(batch(x=[1.0, 1.0, 2.0]))


def test_asked_outputs_that_the_graph_lacks():
    model = exported(LinearRegression().fit(FRAME, FRAME.a), FRAME)
    with pytest.raises(ContractError) as raised:
        load(model, "predict_proba", features=NAMES)
    assert str(raised.value) == (
        "model 'm' (ONNX) has no predict_proba: the graph's outputs are variable. "
        "It offers --outputs predict"
    )


def test_a_model_that_fails_for_a_row_fails_with_the_runtimes_words():
    encode = OneHotEncoder(handle_unknown="error").fit(MIXED[["plan"]])
    model = to_onnx(encode, initial_types=[("plan", StringTensorType([None, 1]))])
    loaded = load(model)
    assert loaded.score(batch(plan=["gold"])).num_rows == 1
    with pytest.raises(Exception, match="Unknown Category and zeros = 0"):
        loaded.score(batch(plan=["never seen"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ir_version": 999}, "Unsupported model IR version: 999"),
        ({"opset_imports": [helper.make_opsetid("", 999)]}, "operator sets ai.onnx 999, and this"),
    ],
    ids=["file format", "operators"],
)
def test_a_file_for_a_newer_runtime(change: dict[str, Any], words: str):
    model = graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", FLOAT, None, 1)],
        [value("y", FLOAT, None, 1)],
        **change,
    )
    with pytest.raises(ModelError) as raised:
        load(model)
    assert words in str(raised.value)
    assert "onnxruntime " + onnxruntime.__version__ in str(raised.value)


def test_text_in_a_locale_that_is_not_there():
    """skl2onnx asks for en_US.UTF-8, which a small container has not."""
    attributes = {"locale": "xx_YY.UTF-8", "case_change_action": "LOWER"}
    nodes = [helper.make_node("StringNormalizer", ["x"], ["y"], **attributes)]
    model = graph(nodes, [value("x", STRING, None)], [value("y", STRING, None)])
    with pytest.raises(ModelError, match=r"a locale that this machine does not have\. Install it"):
        load(model)


def test_a_file_that_is_also_of_the_runtimes_own_format_is_loaded_as_onnx():
    """onnxruntime tells its own format by four bytes, and an ONNX file may have these, too."""
    model = passing(("x", FLOAT, [None, 1]))
    model.producer_name = ""
    data = b"\x08\x08\x12\x04ORTM" + model.SerializeToString()
    assert data[4:8] == b"ORTM"
    with pytest.raises(Exception, match="ORT model verification failed"):
        onnxruntime.InferenceSession(data)
    loaded = FORMAT.load(Artifact("m.onnx", data), Trust(), ("predict",), None)
    assert loaded.score(batch(x=[1.5]))["prediction"].to_pylist() == [1.5]


def test_eight_threads_share_one_session():
    model = exported(RandomForestClassifier(20, random_state=0).fit(FRAME, WORDS), FRAME)
    loaded = load(model, *BOTH, features=NAMES)
    expected = loaded.score(batch_of(FRAME))
    wrong: list[Any] = []

    def score() -> None:
        for _ in range(20):
            scored = loaded.score(batch_of(FRAME))
            if not scored.equals(expected):
                wrong.append(scored)

    threads = [threading.Thread(target=score) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(("cpus", "allowed", "threads"), [(8, 8, 0), (8, 2, 2), (1, 1, 0)])
def test_a_container_bounds_the_threads(
    monkeypatch: pytest.MonkeyPatch, cpus: int, allowed: int, threads: int
):
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    monkeypatch.setattr("joblib.cpu_count", lambda: allowed)
    assert num_threads() == threads
    asked = []
    session = onnxruntime.InferenceSession

    def watched(data: bytes, options: Any, **rest: Any) -> Any:
        asked.append(options.intra_op_num_threads)
        return session(data, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    load(passing(("x", FLOAT, [None, 1])))
    assert asked == [threads]


def test_an_operator_bounds_the_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert num_threads() == 1


def test_a_file_says_what_it_is_without_a_session(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    model = exported(LogisticRegression().fit(FRAME, WORDS), FRAME)
    model.metadata_props.add(key="feature_names", value='["a", "b", "c", "d"]')
    said = FORMAT.describe(artifact(model))
    assert said.kind == "classifier"
    assert said.features == NAMES
    assert said.outputs == BOTH
    assert said.classes == ("high", "low", "mid")
    assert said.made_with == {"skl2onnx": model.producer_version}
    assert said.notes[:2] == (
        "takes X: float32[?, 4]",
        "gives output_label: string[?], output_probability: maps[]",
    )
    assert said.rules == {name: Rule("number") for name in NAMES}
    assert 'metadata feature_names: ["a", "b", "c", "d"]' in said.notes


def test_a_file_says_what_its_columns_may_hold_if_it_names_them():
    said = FORMAT.describe(artifact(mixed_model()))
    assert said.features == ("a", "b", "plan", "count")
    assert said.rules == {
        "a": Rule("number"),
        "b": Rule("number"),
        "plan": Rule("text", required=True),
        "count": Rule("number", required=True),
    }
    unnamed = FORMAT.describe(artifact(exported(StandardScaler().fit(FRAME), FRAME)))
    assert (unnamed.features, unnamed.rules) == (None, {})
    assert unnamed.notes[-1] == "its columns have no names: give them with --features"


@pytest.mark.parametrize(
    "model",
    [
        exported(LogisticRegression().fit(FRAME, WORDS), FRAME),
        exported(RandomForestClassifier(3, max_depth=3, random_state=0).fit(FRAME, WORDS), FRAME),
    ],
    ids=["linear", "forest"],
)
def test_damaged_files(model: Any):
    ends = check_damaged(
        FORMAT, artifact(model), batch_of(FRAME), mutations=150, outputs=BOTH, features=NAMES
    )
    assert ends[REFUSED] > 50
