"""XGBoost's predictions are its own, to the bit, whatever the batch looks like."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from booster_tables import (
    NUMBERS,
    PLANS,
    arrangements,
    as_trained,
    assert_identical,
    assert_same_in_threads,
    batch_of,
    mixed,
    numbers,
    pickles_as_text,
    target,
)
from fuzz import check_damaged

from scoreline.models import ContractError, ModelError, Trust
from scoreline.models.artifact import Artifact
from scoreline.models.model_format import Description
from scoreline.models.registry import format_of
from scoreline.models.restrict import Rule
from scoreline.models.xgboost_model import FORMAT, XGBoostModel

xgboost = pytest.importorskip("xgboost", reason="needs scoreline[xgboost]")

FRAME = numbers()
MIXED = mixed()
FEW = {"n_estimators": 6, "max_depth": 3, "nthread": 1, "enable_categorical": True}
EXTENSIONS = ("ubj", "json")


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Artifact]:
    """Saves a booster or a wrapper as a file, and reads that."""

    def save(model: Any, extension: str = "ubj") -> Artifact:
        path = tmp_path / f"churn.{extension}"
        model.save_model(path)
        return Artifact(str(path), path.read_bytes())

    return save


def load(artifact: Artifact, *outputs: str, features: tuple[str, ...] | None = None) -> Any:
    return XGBoostModel.load(artifact, Trust(), outputs or ("predict",), features)


def train(frame: pd.DataFrame, label: np.ndarray, rounds: int = 6, **params: Any) -> Any:
    data = xgboost.DMatrix(frame, label, enable_categorical=True, nthread=1)
    return xgboost.train({"max_depth": 3, "nthread": 1, **params}, data, rounds)


def stopped_early(frame: pd.DataFrame) -> Any:
    model = xgboost.XGBClassifier(early_stopping_rounds=1, **(FEW | {"n_estimators": 40}))
    label = np.random.default_rng(3).integers(0, 2, len(frame))  # nothing to learn: it stops soon
    return model.fit(frame[:200], label[:200], eval_set=[(frame[200:], label[200:])], verbose=False)


def ranker(frame: pd.DataFrame) -> Any:
    groups = np.repeat(np.arange(len(frame) // 10), 10)
    return xgboost.XGBRanker(**FEW).fit(frame, target(frame, 4), qid=groups)


WRAPPERS = {
    "binary": lambda frame: xgboost.XGBClassifier(**FEW).fit(frame, target(frame, 2)),
    "multi-class": lambda frame: xgboost.XGBClassifier(**FEW).fit(frame, target(frame, 3)),
    "softmax": lambda frame: xgboost.XGBClassifier(objective="multi:softmax", **FEW).fit(
        frame, target(frame, 3)
    ),
    "multi-label": lambda frame: xgboost.XGBClassifier(**FEW).fit(
        frame, np.stack([target(frame, 2), 1 - target(frame, 2), frame["d"]], axis=1)
    ),
    "random forest": lambda frame: xgboost.XGBRFClassifier(**FEW).fit(frame, target(frame, 2)),
    "regression": lambda frame: xgboost.XGBRegressor(**FEW).fit(frame, target(frame)),
    "two targets": lambda frame: xgboost.XGBRegressor(**FEW).fit(
        frame, np.stack([target(frame), -target(frame)], axis=1)
    ),
    "ranking": ranker,
    "early stopping": stopped_early,
    "dart": lambda frame: xgboost.XGBRegressor(booster="dart", **FEW).fit(frame, target(frame)),
}
LINEAR = {
    "linear": lambda frame: xgboost.XGBRegressor(booster="gblinear", n_estimators=6, nthread=1).fit(
        frame, target(frame)
    ),
}
BOOSTERS = {
    "binary": ({"objective": "binary:logistic"}, 2),
    "multi-class": ({"objective": "multi:softprob", "num_class": 3}, 3),
    "softmax": ({"objective": "multi:softmax", "num_class": 3}, 3),
    "regression": ({}, None),
    "gamma": ({"objective": "reg:tweedie"}, 3),
    "dart": ({"booster": "dart"}, None),
    "linear": ({"booster": "gblinear", "max_depth": None}, None),
}


@dataclass(frozen=True)
class Case:
    """What the library's wrapper says to one output."""

    name: str
    ask: Callable[[Any, pd.DataFrame], Any]


CASES = [
    Case("predict", lambda model, frame: model.predict(frame)),
    Case("predict_proba", lambda model, frame: model.predict_proba(frame)),
    Case("raw_score", lambda model, frame: model.predict(frame, output_margin=True)),
]


def outputs_of(artifact: Artifact) -> tuple[str, ...]:
    return FORMAT.describe(artifact).outputs


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("make", WRAPPERS | LINEAR)
def test_a_wrappers_file_predicts_as_the_wrapper(
    saved: Any, make: str, extension: str, tmp_path: Path
):
    artifact = saved((WRAPPERS | LINEAR)[make](FRAME), extension)
    wrapper = type((WRAPPERS | LINEAR)[make](FRAME))()
    wrapper.load_model(artifact.uri)
    for case in CASES:
        if case.name not in outputs_of(artifact):
            continue
        model = load(artifact, case.name)
        for batch in arrangements(numbers(seed=5)):
            assert_identical(model.score(batch), case.ask(wrapper, as_trained(batch, FRAME)))


@pytest.mark.parametrize("make", WRAPPERS)
def test_a_wrappers_file_with_categories(saved: Any, make: str):
    artifact = saved(WRAPPERS[make](MIXED))
    wrapper = type(WRAPPERS[make](MIXED))()
    wrapper.load_model(artifact.uri)
    for case in CASES:
        if case.name not in outputs_of(artifact):
            continue
        model = load(artifact, case.name)
        for batch in arrangements(mixed(seed=5)):
            assert_identical(model.score(batch), case.ask(wrapper, as_trained(batch, MIXED)))


@pytest.mark.parametrize("frame", [FRAME, MIXED], ids=["numbers", "categories"])
@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("make", BOOSTERS)
def test_a_boosters_file_predicts_as_the_booster(
    saved: Any, make: str, extension: str, frame: pd.DataFrame
):
    params, classes = BOOSTERS[make]
    if make == "linear" and frame is MIXED:
        pytest.skip("a linear booster takes no categories")
    label = target(frame, classes)
    booster = train(frame, label, **{k: v for k, v in params.items() if v is not None})
    artifact = saved(booster, extension)
    for batch in arrangements(numbers(seed=5) if frame is FRAME else mixed(seed=5)):
        data = xgboost.DMatrix(as_trained(batch, frame), enable_categorical=True)
        assert_identical(load(artifact).score(batch), booster.predict(data))
        margins = booster.predict(data, output_margin=True)
        assert_identical(load(artifact, "raw_score").score(batch), margins)


def test_the_probabilities_of_a_booster_are_those_of_the_classifier(saved: Any):
    for params, classes in (BOOSTERS["binary"], BOOSTERS["multi-class"]):
        artifact = saved(train(FRAME, target(FRAME, classes), **params))
        classifier = xgboost.XGBClassifier()
        classifier.load_model(artifact.uri)
        scored = load(artifact, "predict_proba").score(batch_of(FRAME))
        assert scored.schema.names == [f"probability_{number}" for number in range(classes)]
        assert_identical(scored, classifier.predict_proba(FRAME))


def test_the_names_of_outputs(saved: Any):
    model = load(saved(WRAPPERS["multi-class"](FRAME)), "predict", "predict_proba", "raw_score")
    assert model.score(batch_of(FRAME)).schema.names == [
        "prediction",
        *(f"probability_{number}" for number in range(3)),
        *(f"raw_score_{number}" for number in range(3)),
    ]


def test_in_place_prediction_gives_the_bits_of_a_dmatrix():
    booster = train(FRAME, target(FRAME))
    data = xgboost.DMatrix(FRAME)
    assert booster.inplace_predict(FRAME).tobytes() == booster.predict(data).tobytes()
    matrix = np.asfortranarray(FRAME.to_numpy(np.float32))
    assert booster.inplace_predict(matrix).tobytes() == booster.predict(data).tobytes()


def test_whole_numbers_round_as_in_a_frame(saved: Any):
    big = 2**53 + np.arange(300) * 2**31 + 1
    frame = FRAME.assign(c=big)
    booster = train(frame, target(FRAME))
    for values in (pa.array(big), pa.array([None, *big[1:].tolist()], pa.int64())):
        batch = batch_of(frame).set_column(2, "c", values)
        expected = booster.predict(xgboost.DMatrix(batch.to_pandas()))
        assert_identical(load(saved(booster)).score(batch), expected)


# --- what comes in ---------------------------------------------------------------------------


def test_the_contract_is_the_models(saved: Any):
    contract = load(saved(train(MIXED, target(MIXED)))).contract
    assert contract.names == tuple(MIXED.columns)
    assert [feature.kind for feature in contract.features] == [
        *("number", "text", "number", "number", "number", "number")
    ]
    assert all(feature.nullable for feature in contract.features)


def test_a_model_without_names_needs_them(saved: Any):
    artifact = saved(train(FRAME.to_numpy(), target(FRAME)))
    with pytest.raises(ContractError, match="takes 4 columns and cannot know which"):
        load(artifact)
    with pytest.raises(ContractError, match="takes 4 columns, but --features names 1"):
        load(artifact, features=("a",))
    model = load(artifact, features=NUMBERS)
    expected = load(saved(train(FRAME, target(FRAME)))).score(batch_of(FRAME))
    assert model.score(batch_of(FRAME)).equals(expected)


def test_an_unknown_category_fails_its_row_as_in_the_library(saved: Any):
    booster = train(MIXED, target(MIXED))
    strange = MIXED.assign(plan=pd.Categorical(["tin"] * len(MIXED)))
    with pytest.raises(xgboost.core.XGBoostError, match="category not in the training set"):
        booster.predict(xgboost.DMatrix(strange, enable_categorical=True))
    model = load(saved(booster))
    for name in ("tin", "platinum"):
        strange = MIXED.assign(plan=pd.Categorical([name] * len(MIXED)))
        with pytest.raises(
            ValueError, match=f"'plan': the model has never seen the category '{name}"
        ):
            model.score(batch_of(strange))


def test_categories_that_are_not_ascii(saved: Any):
    names = ["gold", "größe", "zé"]  # the library stores the last two as «größ» and «ez» and a bit
    frame = FRAME.assign(plan=pd.Categorical(names * 100, categories=pd.Index(names, dtype=object)))
    model = load(saved(train(frame, target(FRAME))))
    assert model.info.notes == (
        "XGBoost may have cut categories of plan short that are not ASCII: a row with one of these "
        "becomes a dead letter",
    )
    gold = frame.assign(plan="gold")
    assert model.score(batch_of(gold)).num_rows == len(frame)
    with pytest.raises(ValueError, match="the model has never seen the category 'größe'"):
        model.score(batch_of(frame))


def test_infinities_are_refused_as_in_the_library(saved: Any):
    booster = train(FRAME, target(FRAME))
    infinite = FRAME.assign(b=np.inf)
    huge = FRAME.assign(b=1e39)
    for frame in (infinite, huge):
        with pytest.raises(xgboost.core.XGBoostError, match="contains `inf` or a value too large"):
            booster.predict(xgboost.DMatrix(frame))
        with pytest.raises(ValueError, match="beyond the range of float32"):
            load(saved(booster)).score(batch_of(frame))
    assert not any(feature.infinite for feature in load(saved(booster)).contract.features)


def test_a_wrapper_takes_infinities(saved: Any):
    wrapper = xgboost.XGBRegressor(**FEW).fit(FRAME, target(FRAME))
    frame = FRAME.assign(b=np.inf, a=np.float32(-np.inf))
    model = load(saved(wrapper))
    assert_identical(model.score(batch_of(frame)), wrapper.predict(frame))
    assert all(feature.infinite for feature in model.contract.features)


def test_an_output_that_the_model_lacks(saved: Any):
    with pytest.raises(ContractError) as raised:
        load(saved(train(FRAME, target(FRAME))), "predict_proba")
    assert str(raised.value) == (
        "model 'churn' (reg:squarederror) has no predict_proba; it offers --outputs "
        "predict,raw_score"
    )


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_file_is_told_from_its_content(saved: Any, extension: str):
    artifact = saved(train(FRAME, target(FRAME)), extension)
    assert format_of(Artifact("model.bin", artifact.data)) is FORMAT
    assert bytes(train(FRAME, target(FRAME)).save_raw(extension))[:1] == b"{"


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_a_file_says_of_itself(saved: Any, extension: str):
    classifier = xgboost.XGBClassifier(**FEW).fit(MIXED, target(MIXED, 3))
    assert FORMAT.describe(saved(classifier, extension)) == Description(
        kind="gbtree booster, written by the scikit-learn classifier",
        features=tuple(MIXED.columns),
        outputs=("predict", "predict_proba", "raw_score"),
        classes=("0", "1", "2"),
        made_with={"xgboost": xgboost.__version__},
        notes=("objective multi:softprob", "18 trees", "categorical columns: plan, zone"),
        rules=dict.fromkeys("abcd", Rule("number")),
    )


def test_a_description_needs_no_library(saved: Any, monkeypatch: pytest.MonkeyPatch):
    artifact = saved(train(FRAME, target(FRAME)))
    monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
    assert FORMAT.describe(artifact).features == NUMBERS
    with pytest.raises(ModelError, match=r"Install it: pip install 'scoreline\[xgboost\]'"):
        load(artifact)


def test_a_file_of_a_newer_library_is_refused(saved: Any):
    artifact = saved(train(FRAME, target(FRAME)), "json")
    document = json.loads(artifact.data)
    document["version"] = [99, 1, 0]
    newer = Artifact(artifact.uri, json.dumps(document).encode())
    with pytest.raises(ModelError, match=r"made by XGBoost 99\.1\.0, which is newer than the inst"):
        load(newer)
    document["version"] = [1, 7, 6]
    older = Artifact(artifact.uri, json.dumps(document, indent=1).encode())
    assert load(older).info.notes == (
        f"made by XGBoost 1.7.6, run by {xgboost.__version__}: predictions may differ",
    )


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_file_that_was_cut_short(saved: Any, extension: str):
    artifact = saved(train(FRAME, target(FRAME)), extension)
    for length in (30, len(artifact.data) // 2, len(artifact.data) - 1):
        short = Artifact(artifact.uri, artifact.data[:length])
        with pytest.raises(ModelError, match="the file is damaged or cut short"):
            FORMAT.describe(short)
        with pytest.raises(ModelError, match="the file is damaged or cut short"):
            load(short)


# --- threads ---------------------------------------------------------------------------------


def test_eight_threads_share_one_model(saved: Any):
    model = load(saved(WRAPPERS["multi-class"](MIXED)), "predict", "predict_proba", "raw_score")
    batches = [batch_of(mixed(200, seed)) for seed in range(8)]
    expected = [model.score(batch) for batch in batches]
    assert_same_in_threads(model, batches, expected)


def test_categories_that_were_trained_in_another_order(saved: Any):
    frame = MIXED.assign(plan=MIXED["plan"].cat.set_categories(PLANS[::-1]))
    booster = train(frame, target(MIXED))
    expected = booster.predict(xgboost.DMatrix(MIXED, enable_categorical=True))
    assert_identical(load(saved(booster)).score(batch_of(MIXED)), expected)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_damaged_files(saved: Any, extension: str):
    artifact = saved(train(MIXED, target(MIXED)), extension)
    check_damaged(FORMAT, artifact, batch_of(MIXED.head(20)), mutations=60)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_pickle_in_an_attribute_is_text_and_no_more(saved: Any, extension: str, tmp_path: Path):
    marker = tmp_path / "ran"
    booster = train(FRAME, target(FRAME))
    expected = load(saved(booster, extension)).score(batch_of(FRAME))
    for text in pickles_as_text(marker):
        booster.set_attr(handle=text, best_score=text, scikit_learn=json.dumps({"pickle": text}))
        artifact = saved(booster, extension)
        FORMAT.describe(artifact)
        assert load(artifact).score(batch_of(FRAME)).equals(expected)
    assert not marker.exists()


def test_a_tree_that_is_no_tree(saved: Any):
    artifact = saved(train(FRAME, target(FRAME)), "json")
    document = json.loads(artifact.data)
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    good = tree["left_children"]
    for bad in ([*good[:-1], 0], good[:-1], [1, 1, *good[2:]], [10**6, *good[1:]], [-1, *good[1:]]):
        tree["left_children"] = bad
        broken = Artifact(artifact.uri, json.dumps(document).encode())
        with pytest.raises(ModelError, match="the file is damaged or cut short"):
            load(broken)
