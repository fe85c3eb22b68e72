"""CatBoost's predictions are its own, to the bit, whatever the batch looks like."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from booster_tables import (
    NUMBERS,
    arrangements,
    assert_identical,
    assert_same_in_threads,
    batch_of,
    numbers,
    pickles_as_text,
    target,
)
from fuzz import check_damaged

from scoreline.models import ContractError, ModelError, Trust
from scoreline.models.artifact import Artifact
from scoreline.models.catboost_model import FORMAT, CatBoostModel
from scoreline.models.model_format import Description
from scoreline.models.registry import format_of
from scoreline.models.restrict import Rule

catboost = pytest.importorskip("catboost", reason="needs scoreline[catboost]")

FRAME = numbers()
NAMED = np.array(["low", "mid", "high"])
WORDS = np.array(["good", "very good", "not bad at all", "bad bad bad", "awful service"])
FEW = {
    "iterations": 6,
    "depth": 3,
    "thread_count": 1,
    "verbose": False,
    "allow_writing_files": False,
    "random_seed": 0,
}


def mixed(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Numbers, a category of text, one of whole numbers, and a text."""
    random = np.random.default_rng(seed + 1)
    frame = numbers(rows, seed)
    plan = np.array(["basic", "gold", "silver"], object)[random.integers(0, 3, rows)]
    frame.insert(
        1, "plan", pd.Categorical(plan, categories=pd.Index(sorted(set(plan)), dtype=object))
    )
    frame.insert(3, "zone", random.integers(10, 13, rows))
    return frame.assign(note=WORDS[random.integers(0, len(WORDS), rows)].astype(object))


MIXED = mixed()
COLUMNS = {"cat_features": ["plan", "zone"], "text_features": ["note"]}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Artifact]:
    """Saves a model as a file, and reads that."""

    def save(model: Any) -> Artifact:
        path = tmp_path / "churn.cbm"
        model.save_model(str(path))
        return Artifact(str(path), path.read_bytes())

    return save


def load(artifact: Artifact, *outputs: str, features: tuple[str, ...] | None = None) -> Any:
    return CatBoostModel.load(artifact, Trust(), outputs or ("predict",), features)


def classifier(frame: Any, label: Any, **more: Any) -> Any:
    return catboost.CatBoostClassifier(**FEW, **more).fit(frame, label)


def regressor(frame: Any, label: Any, loss: str = "RMSE", **more: Any) -> Any:
    return catboost.CatBoostRegressor(loss_function=loss, **FEW, **more).fit(frame, label)


def ranker(frame: pd.DataFrame, **more: Any) -> Any:
    groups = np.repeat(np.arange(len(frame) // 10), 10)
    return catboost.CatBoostRanker(**FEW, **more).fit(frame, target(FRAME, 4), group_id=groups)


MODELS: dict[str, Callable[..., Any]] = {
    "binary": lambda frame, **more: classifier(frame, target(FRAME, 2), **more),
    "named classes": lambda frame, **more: classifier(frame, NAMED[target(FRAME, 2)], **more),
    "truth": lambda frame, **more: classifier(frame, target(FRAME, 2) == 1, **more),
    "multi-class": lambda frame, **more: classifier(frame, target(FRAME, 3) + 7, **more),
    "multi-class, named": lambda frame, **more: classifier(frame, NAMED[target(FRAME, 3)], **more),
    "one against all": lambda frame, **more: classifier(
        frame, NAMED[target(FRAME, 3)], loss_function="MultiClassOneVsAll", **more
    ),
    "regression": lambda frame, **more: regressor(frame, target(FRAME), **more),
    "poisson": lambda frame, **more: regressor(frame, target(FRAME, 4), "Poisson", **more),
    "uncertainty": lambda frame, **more: regressor(
        frame, target(FRAME), "RMSEWithUncertainty", **more
    ),
    "ranking": ranker,
}
NUMBERS_ONLY: dict[str, Callable[..., Any]] = {
    "two targets": lambda frame: regressor(
        frame, np.stack([target(frame), -target(frame)], axis=1), "MultiRMSE"
    ),
    "multi-label": lambda frame: classifier(
        frame,
        np.stack([target(frame, 2), 1 - target(frame, 2), frame["d"]], axis=1),
        loss_function="MultiLogloss",
    ),
    "deep trees": lambda frame: regressor(frame, target(frame), grow_policy="Lossguide"),
}
ASK = {
    "predict": lambda model, frame: np.asarray(model.predict(frame)),
    "predict_proba": lambda model, frame: model.predict_proba(frame),
    "raw_score": lambda model, frame: catboost.CatBoost.predict(model, frame),
}


def check(artifact: Artifact, model: Any, frame: pd.DataFrame, seed_frame: pd.DataFrame) -> None:
    for output in FORMAT.describe(artifact).outputs:
        loaded = load(artifact, output)
        for batch in arrangements(seed_frame):
            expected = ASK[output](model, trained(batch, frame))
            if expected.ndim == 2 and expected.shape[1] == 1:
                expected = expected[:, 0]
            assert_identical(loaded.score(batch), expected)


def trained(batch: pa.RecordBatch, frame: pd.DataFrame) -> pd.DataFrame:
    """A batch as the frame that its model was trained on."""
    return batch.to_pandas()[list(frame.columns)].astype(frame.dtypes)


@pytest.mark.parametrize("make", MODELS | NUMBERS_ONLY)
def test_predictions_are_the_librarys_own(saved: Any, make: str):
    model = (MODELS | NUMBERS_ONLY)[make](FRAME)
    check(saved(model), model, FRAME, numbers(seed=5))


@pytest.mark.parametrize("make", MODELS)
def test_categories_and_text(saved: Any, make: str):
    text = COLUMNS if make != "ranking" else {"cat_features": COLUMNS["cat_features"]}
    frame = MIXED if make != "ranking" else MIXED.drop(columns="note")
    model = MODELS[make](frame, **text)
    check(saved(model), model, frame, mixed(seed=5)[list(frame.columns)])


def test_the_names_of_outputs(saved: Any):
    model = MODELS["multi-class, named"](FRAME)
    scored = load(saved(model), "predict", "predict_proba", "raw_score").score(batch_of(FRAME))
    names = ("high", "low", "mid")
    assert scored.schema.names == [
        "prediction",
        *(f"probability_{name}" for name in names),
        *(f"raw_score_{name}" for name in names),
    ]
    assert set(scored["prediction"].to_pylist()) <= set(names)


@pytest.mark.parametrize("make", MODELS | NUMBERS_ONLY)
def test_the_classes_are_the_librarys(saved: Any, make: str):
    model = (MODELS | NUMBERS_ONLY)[make](FRAME)
    classes = FORMAT.describe(saved(model)).classes
    assert list(classes or ()) == [str(name) for name in model.classes_]


# --- what comes in ---------------------------------------------------------------------------


def test_the_contract_is_the_models(saved: Any):
    contract = load(saved(MODELS["binary"](MIXED, **COLUMNS))).contract
    assert contract.names == tuple(MIXED.columns)
    assert {feature.name: feature.kind for feature in contract.features} == {
        "a": "number",
        "plan": "category",
        "b": "number",
        "zone": "category",
        "c": "number",
        "d": "number",
        "note": "text",
    }
    assert [feature.name for feature in contract.features if not feature.nullable] == [
        *("plan", "zone", "note")
    ]


def test_a_model_without_names_needs_them(saved: Any):
    artifact = saved(regressor(FRAME.to_numpy(np.float64), target(FRAME)))
    with pytest.raises(ContractError, match="takes 4 columns and cannot know which"):
        load(artifact)
    with pytest.raises(ContractError, match="takes 4 columns, but --features names 1"):
        load(artifact, features=("a",))
    named = load(saved(regressor(FRAME, target(FRAME))))
    model = load(artifact, features=NUMBERS)
    assert model.score(batch_of(FRAME)).equals(named.score(batch_of(FRAME)))


def test_missing_numbers_and_infinities_are_taken(saved: Any):
    model = regressor(FRAME, target(FRAME))
    loaded = load(saved(model))
    batch = batch_of(FRAME.assign(a=np.float32(np.inf), b=-np.inf))
    batch = batch.set_column(2, "c", pa.array([None, *range(299)], pa.int64()))
    assert_identical(loaded.score(batch), model.predict(batch.to_pandas()))


def test_numbers_where_the_training_had_none_missing(saved: Any):
    model = regressor(FRAME.fillna(0), target(FRAME))
    assert_identical(load(saved(model)).score(batch_of(FRAME)), model.predict(FRAME))


def test_an_unknown_category_is_as_unknown_to_the_library(saved: Any):
    model = MODELS["binary"](MIXED, **COLUMNS)
    names = pd.Index(["platinum"], dtype=object)
    strange = MIXED.assign(plan=pd.Categorical(["platinum"] * len(MIXED), categories=names))
    scored = load(saved(model), "raw_score").score(batch_of(strange))
    assert_identical(scored, model.predict(strange, prediction_type="RawFormulaVal"))


@pytest.mark.parametrize("column", ["plan", "note"])
def test_a_missing_category_or_text_is_refused_as_in_the_library(saved: Any, column: str):
    model = MODELS["binary"](MIXED, **COLUMNS)
    frame = MIXED.assign(**{column: MIXED[column].astype(object).where(MIXED["c"] > 0)})
    for ask in (model.predict, lambda frame: load(saved(model)).score(batch_of(frame))):
        with pytest.raises(catboost.CatBoostError, match=r"(cat_features|text_features) must"):
            ask(frame)


@pytest.mark.parametrize("type_", [pa.large_string(), pa.string_view(), pa.binary()], ids=str)
def test_any_text_is_a_category(saved: Any, type_: pa.DataType):
    model = MODELS["binary"](MIXED, **COLUMNS)
    loaded = load(saved(model), "raw_score")
    expected = loaded.score(batch_of(MIXED))
    batch = batch_of(MIXED)
    for name in ("plan", "note"):
        index = batch.schema.get_field_index(name)
        batch = batch.set_column(index, name, batch.column(name).cast(pa.string()).cast(type_))
    assert loaded.score(batch).equals(expected)


def test_a_dictionary_that_repeats_a_value_or_holds_a_null(saved: Any):
    model = MODELS["binary"](MIXED, **COLUMNS)
    loaded = load(saved(model), "raw_score")
    words = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, 3], pa.int8()), pa.array(["gold", "basic", "gold", None])
    )
    plain = pa.array(["gold", "basic", "gold", "basic"])
    batch = batch_of(MIXED).slice(0, 3)
    scored = loaded.score(batch.set_column(1, "plan", words.slice(0, 3)))
    assert scored.equals(loaded.score(batch.set_column(1, "plan", plain.slice(0, 3))))
    with pytest.raises(catboost.CatBoostError, match="NaN"):
        loaded.score(batch_of(MIXED).slice(0, 4).set_column(1, "plan", words))


def test_a_column_of_vectors(saved: Any):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(300, 3)).astype(np.float32)
    frame = FRAME.assign(v=list(vectors))
    model = classifier(frame, target(FRAME, 2), embedding_features=["v"])
    batch = batch_of(FRAME).append_column("v", pa.array(list(vectors)))
    artifact = saved(model)
    assert "embedding columns: v" in FORMAT.describe(artifact).notes
    assert_identical(load(artifact, "predict_proba").score(batch), model.predict_proba(frame))


def test_an_output_that_the_model_lacks(saved: Any):
    with pytest.raises(ContractError) as raised:
        load(saved(regressor(FRAME, target(FRAME))), "predict_proba")
    assert str(raised.value) == (
        "model 'churn' (RMSE) has no predict_proba; it offers --outputs predict,raw_score"
    )


# --- files -----------------------------------------------------------------------------------


def test_a_file_is_told_from_its_content(saved: Any):
    assert format_of(Artifact("m.bin", saved(MODELS["binary"](FRAME)).data)) is FORMAT


def test_what_a_file_says_of_itself(saved: Any, monkeypatch: pytest.MonkeyPatch):
    artifact = saved(MODELS["multi-class, named"](MIXED, **COLUMNS))
    monkeypatch.setitem(sys.modules, "catboost", None)
    assert FORMAT.describe(artifact) == Description(
        kind="CatBoost classifier",
        features=tuple(MIXED.columns),
        outputs=("predict", "predict_proba", "raw_score"),
        classes=("high", "low", "mid"),
        made_with={"catboost": catboost.__version__},
        notes=(
            *("loss MultiClass", "6 trees", "categorical columns: plan, zone"),
            "text columns: note",
        ),
        rules=dict.fromkeys("abcd", Rule("number")) | {"note": Rule("text")},
    )
    with pytest.raises(ModelError, match=r"Install it: pip install 'scoreline\[catboost\]'"):
        load(artifact)


def test_a_file_of_another_library_version(saved: Any):
    artifact = saved(regressor(FRAME, target(FRAME)))
    made = f"tags/v{catboost.__version__}".encode()
    assert made in artifact.data

    def of_version(text: str) -> Artifact:
        new = f"tags/v{text}".encode()
        padded = new + b"." + b"0" * (len(made) - len(new) - 1) if len(new) < len(made) else new
        return Artifact(artifact.uri, artifact.data.replace(made, padded))

    with pytest.raises(ModelError, match=r"made by CatBoost 9\.9\.\d+, which is newer than the"):
        load(of_version("9.9"))
    (note,) = load(of_version("1.1")).info.notes
    assert note.startswith("made by CatBoost 1.1.")


def test_a_file_that_was_cut_short(saved: Any):
    artifact = saved(MODELS["binary"](MIXED, **COLUMNS))
    for length in (4, 9, 100, 1000):
        short = Artifact(artifact.uri, artifact.data[:length])
        with pytest.raises(ModelError, match="the file is damaged or cut short"):
            FORMAT.describe(short)
        with pytest.raises(ModelError, match="the file is damaged or cut short"):
            load(short)
    with pytest.raises(ModelError, match="cannot load model"):
        load(Artifact(artifact.uri, artifact.data[:-1]))


# --- threads ---------------------------------------------------------------------------------


def test_eight_threads_share_one_model(saved: Any):
    model = load(
        saved(MODELS["multi-class"](MIXED, **COLUMNS)), "predict", "predict_proba", "raw_score"
    )
    batches = [batch_of(mixed(200, seed)) for seed in range(8)]
    expected = [model.score(batch) for batch in batches]
    assert_same_in_threads(model, batches, expected)


def test_damaged_files(saved: Any):
    artifact = saved(MODELS["multi-class, named"](MIXED, **COLUMNS))
    check_damaged(FORMAT, artifact, batch_of(MIXED.head(20)), mutations=60)


def test_a_pickle_in_the_metadata_is_text_and_no_more(saved: Any, tmp_path: Path):
    marker = tmp_path / "ran"
    model = MODELS["binary"](FRAME)
    expected = load(saved(model)).score(batch_of(FRAME))
    for text in pickles_as_text(marker):
        for key in ("handle", "train_finish_time", "model_guid"):
            model.get_metadata()[key] = text
        artifact = saved(model)
        assert text.encode() in artifact.data
        FORMAT.describe(artifact)
        assert load(artifact).score(batch_of(FRAME)).equals(expected)
    assert not marker.exists()


@pytest.mark.parametrize(("asked", "threads"), [("2", 2), ("0", -1), ("", -1), ("many", -1)])
def test_how_many_threads_a_call_takes(
    saved: Any, monkeypatch: pytest.MonkeyPatch, asked: str, threads: int
):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    model = regressor(FRAME, target(FRAME))
    loaded = load(saved(model))
    seen = []
    predict = loaded._model.predict
    monkeypatch.setattr(
        loaded._model, "predict", lambda *a, **k: seen.append(k["thread_count"]) or predict(*a, **k)
    )
    assert_identical(loaded.score(batch_of(FRAME)), model.predict(FRAME))
    assert seen == [threads]
