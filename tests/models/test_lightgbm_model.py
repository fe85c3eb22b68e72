"""LightGBM's predictions are its own, to the bit, whatever the batch looks like."""

import re
import sys
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

from scoreline.models import ContractError, ModelError, ModelOutputError, Trust
from scoreline.models.artifact import Artifact
from scoreline.models.lightgbm_model import FORMAT, LightGBMModel
from scoreline.models.model_format import Description
from scoreline.models.registry import format_of
from scoreline.models.restrict import Rule

lightgbm = pytest.importorskip("lightgbm", reason="needs scoreline[lightgbm]")

FRAME = numbers()
MIXED = mixed()
QUIET = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "min_data_in_leaf": 5}


def train(frame: Any, label: np.ndarray, rounds: int = 6, **params: Any) -> Any:
    of_data = {key: params.pop(key) for key in ("group", "categorical_feature") if key in params}
    data = lightgbm.Dataset(frame, label, params={"verbose": -1}, **of_data)
    return lightgbm.train({**QUIET, **params}, data, rounds)


def saved(booster: Any) -> Artifact:
    return Artifact("models/churn.txt", booster.model_to_string().encode())


def load(artifact: Artifact, *outputs: str, features: tuple[str, ...] | None = None) -> Any:
    return LightGBMModel.load(artifact, Trust(), outputs or ("predict",), features)


OBJECTIVES = {
    "binary": ({}, 2),
    "multiclass": ({"num_class": 3}, 3),
    "multiclassova": ({"num_class": 3}, 3),
    "regression": ({}, None),
    "poisson": ({}, 3),
    "lambdarank": ({"group": [30] * 10}, 4),
    "cross_entropy": ({}, 2),
}


def of_objective(objective: str, frame: pd.DataFrame, rounds: int = 6, **params: Any) -> Any:
    more, classes = OBJECTIVES[objective]
    return train(frame, target(frame, classes), rounds, objective=objective, **more, **params)


@pytest.mark.parametrize("frame", [FRAME, MIXED], ids=["numbers", "categories"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_predictions_are_the_librarys_own(objective: str, frame: pd.DataFrame):
    booster = of_objective(objective, frame)
    artifact = saved(booster)
    for batch in arrangements(numbers(seed=5) if frame is FRAME else mixed(seed=5)):
        expected = as_trained(batch, frame)
        assert_identical(load(artifact).score(batch), booster.predict(expected))
        raw = booster.predict(expected, raw_score=True)
        assert_identical(load(artifact, "raw_score").score(batch), raw)


@pytest.mark.parametrize("boosting", ["dart", "rf", "goss"])
def test_other_boosters(boosting: str):
    params = {"bagging_freq": 1, "bagging_fraction": 0.5} if boosting == "rf" else {}
    booster = of_objective("regression", FRAME, boosting=boosting, **params)
    assert_identical(load(saved(booster)).score(batch_of(FRAME)), booster.predict(FRAME))


def test_linear_trees():
    booster = of_objective("regression", FRAME, linear_tree=True)
    assert_identical(load(saved(booster)).score(batch_of(FRAME)), booster.predict(FRAME))


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_the_classifier(classes: int):
    classifier = lightgbm.LGBMClassifier(n_estimators=6, **QUIET).fit(MIXED, target(MIXED, classes))
    model = load(saved(classifier.booster_), "predict_proba")
    for batch in arrangements(mixed(seed=5)):
        expected = classifier.predict_proba(as_trained(batch, MIXED))
        assert_identical(model.score(batch), expected)


def test_the_names_of_outputs():
    model = load(saved(of_objective("multiclass", FRAME)), "predict", "predict_proba", "raw_score")
    assert model.score(batch_of(FRAME)).schema.names == [
        f"{prefix}_{number}"
        for prefix in ("prediction", "probability", "raw_score")
        for number in range(3)
    ]


@pytest.mark.parametrize(
    "types",
    [["float32"] * 4, ["int64"] * 4, ["int8"] * 4, ["bool"] * 4, ["float32", "int64"] * 2],
    ids=",".join,
)
def test_column_types_are_what_they_are_for_the_library(types: list[str]):
    booster = of_objective("regression", FRAME)
    frame = FRAME.fillna(0.3).astype(dict(zip(NUMBERS, types, strict=True)))
    assert_identical(load(saved(booster)).score(batch_of(frame)), booster.predict(frame))


def test_missing_values_and_infinities_are_taken():
    booster = of_objective("regression", FRAME)
    batch = batch_of(FRAME.assign(a=np.float32(np.inf), b=-np.inf))
    batch = batch.set_column(2, "c", pa.array([None, *range(299)], pa.int64()))
    model = load(saved(booster))
    assert_identical(model.score(batch), booster.predict(batch.to_pandas()))
    assert all(feature.nullable and feature.infinite for feature in model.contract.features)


# --- categories ------------------------------------------------------------------------------


def test_the_contract_is_the_models():
    contract = load(saved(of_objective("regression", MIXED))).contract
    assert contract.names == tuple(MIXED.columns)
    assert [feature.kind for feature in contract.features] == [
        *("number", "text", "number", "number", "number", "number")
    ]


def test_an_unknown_category_is_a_missing_value_as_in_the_library():
    booster = of_objective("regression", MIXED)
    strange = MIXED.assign(plan=pd.Categorical(["platinum"] * len(MIXED)))
    missing = MIXED.assign(plan=pd.Categorical([None] * len(MIXED), categories=PLANS))
    expected = booster.predict(strange)
    assert_identical(load(saved(booster)).score(batch_of(strange)), expected)
    assert expected.tobytes() == booster.predict(missing).tobytes()


ORDERED = MIXED.assign(plan=MIXED["plan"].cat.as_ordered())


def test_ordered_categories_are_told_from_the_input():
    booster = of_objective("regression", ORDERED)
    model = load(saved(booster))
    assert {feature.kind for feature in model.contract.features} == {"any"}
    batch = batch_of(ORDERED)
    assert_identical(model.score(batch), booster.predict(ORDERED))
    text = batch.column("plan").dictionary_decode()
    zone = batch.column("zone").dictionary_decode()
    batch = batch.set_column(1, "plan", text)
    assert_identical(model.score(batch), booster.predict(ORDERED))
    with pytest.raises(ModelOutputError) as raised:
        model.score(batch.set_column(5, "zone", zone))
    assert str(raised.value) == (
        "the model was trained on 2 columns of categories and does not tell which; the input has 1 "
        "columns of text or dictionary type: ['plan']. Give just those columns as text."
    )


def test_whole_numbers_that_were_trained_as_categories():
    booster = train(FRAME, target(FRAME), categorical_feature=["d"])
    assert_identical(load(saved(booster)).score(batch_of(FRAME)), booster.predict(FRAME))


# --- names -----------------------------------------------------------------------------------


def test_a_model_without_names_needs_them():
    artifact = saved(train(FRAME.to_numpy(np.float64), target(FRAME)))
    with pytest.raises(ContractError, match="takes 4 columns and cannot know which"):
        load(artifact)
    with pytest.raises(ContractError, match="takes 4 columns, but --features names 1"):
        load(artifact, features=("a",))
    expected = load(saved(train(FRAME, target(FRAME)))).score(batch_of(FRAME))
    assert load(artifact, features=NUMBERS).score(batch_of(FRAME)).equals(expected)


@pytest.mark.filterwarnings("ignore:Found whitespace in feature_names")
def test_blanks_in_names_that_lightgbm_replaced():
    frame = FRAME.rename(columns={"a": "first name"})
    booster = train(frame, target(FRAME))
    assert load(saved(booster)).contract.names == ("first_name", "b", "c", "d")
    model = load(saved(booster), features=("first name", "b", "c", "d"))
    assert_identical(model.score(batch_of(frame)), booster.predict(frame))


def test_an_output_that_the_model_lacks():
    with pytest.raises(ContractError) as raised:
        load(saved(of_objective("poisson", FRAME)), "predict_proba")
    assert str(raised.value) == (
        "model 'churn' (poisson) has no predict_proba; it offers --outputs predict,raw_score"
    )


# --- files -----------------------------------------------------------------------------------


def test_a_file_is_told_from_its_content():
    assert format_of(Artifact("m.bin", saved(of_objective("binary", FRAME)).data)) is FORMAT


def test_what_a_file_says_of_itself(monkeypatch: pytest.MonkeyPatch):
    artifact = saved(of_objective("multiclass", MIXED))
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert FORMAT.describe(artifact) == Description(
        kind="LightGBM booster",
        features=tuple(MIXED.columns),
        outputs=("predict", "predict_proba", "raw_score"),
        classes=("0", "1", "2"),
        made_with={"lightgbm": "format v4"},
        notes=("objective multiclass", "18 trees", "2 columns of categories"),
        rules=dict.fromkeys("abcd", Rule("number"))
        | {"plan": Rule(categories=PLANS), "zone": Rule(categories=(10, 20, 30))},
    )
    with pytest.raises(ModelError, match=r"Install it: pip install 'scoreline\[lightgbm\]'"):
        load(artifact)


def test_the_version_of_the_format():
    data = saved(of_objective("regression", FRAME)).data
    assert load(Artifact("m.txt", data)).info.notes == ()
    older = load(Artifact("m.txt", data.replace(b"version=v4", b"version=v3")))
    assert older.info.notes == (
        f"made by a LightGBM before 4.0, run by {lightgbm.__version__}: predictions may differ",
    )
    with pytest.raises(ModelError, match="is in version 'v5' of LightGBM's format; the installed"):
        load(Artifact("m.txt", data.replace(b"version=v4", b"version=v5")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"end of trees", b""),
        (b"max_feature_idx=3", b"max_feature_idx=4"),
        (b"feature_names=a b c d", b"feature_names=a b c"),
        (b"num_class=1\n", b"num_class=\n"),
        (b"a b c d", b"a b c \xff"),
        (b"pandas_categorical:[]", b"pandas_categorical:[[1"),
        (b"pandas_categorical:[]", b'pandas_categorical:[[1,"a"]]'),
        (b"[gpu_device_id: -1]", b"[gpu_device_id"),  # LightGBM reads beyond the end of the line
        (b"[gpu_device_id: -1]", b"[gpu_\0device_id: -1]"),
        (b"end of parameters", b"end of"),
    ],
    ids=range(10),
)
def test_what_is_damaged(old: bytes, new: bytes):
    data = saved(of_objective("regression", FRAME)).data
    assert old in data
    broken = Artifact("m.txt", data.replace(old, new))
    with pytest.raises(ModelError, match=r"m\.txt.*the file is damaged or cut short"):
        FORMAT.describe(broken)
    with pytest.raises(ModelError, match="the file is damaged or cut short"):
        load(broken)


def test_what_only_the_library_finds_to_be_damaged():
    # Not within a tree: there LightGBM ends the process, which is why `probe.py` loads it first.
    data = saved(of_objective("regression", FRAME)).data
    with pytest.raises(ModelError, match=r"cannot load model m\.txt: LightGBMError: "):
        load(Artifact("m.txt", data.replace(b"objective=regression", b"objective=riddle")))


def test_eight_threads_share_one_model():
    model = load(saved(of_objective("multiclass", MIXED)), "predict", "predict_proba", "raw_score")
    batches = [batch_of(mixed(200, seed)) for seed in range(8)]
    expected = [model.score(batch) for batch in batches]
    assert_same_in_threads(model, batches, expected)


def test_damaged_files():
    artifact = saved(of_objective("multiclass", MIXED, rounds=2))
    check_damaged(FORMAT, artifact, batch_of(MIXED.head(20)), mutations=30)


def test_a_pickle_in_a_parameter_is_text_and_no_more(tmp_path: Path):
    marker = tmp_path / "ran"
    data = saved(of_objective("regression", FRAME)).data
    payload = pickles_as_text(marker)[1].encode()
    for old, new in (
        (b"[boosting: gbdt]", b"[boosting: gbdt]\n[handle: " + payload + b"]"),
        (b"label_index=0", b"label_index=0\nhandle=" + payload),
    ):
        assert old in data
        artifact = Artifact("m.txt", data.replace(old, new))
        FORMAT.describe(artifact)
        assert load(artifact).score(batch_of(FRAME)).num_rows == len(FRAME)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("left_child", "0"), ("left_child", "99"), ("right_child", "-99"), ("num_leaves", "4")),
        *(
            ("split_feature", "99"),
            ("threshold", "1 2"),
            ("leaf_value", "12345"),
            ("num_leaves", "0"),
        ),
    ],
)
def test_a_tree_that_is_no_tree(key: str, value: str):
    text = saved(of_objective("regression", FRAME)).data.decode()
    old = re.search(rf"^{key}=\S+.*$", text, re.MULTILINE)
    assert old
    rest = old[0].partition("=")[2].split(" ", 1)[1:] if value.strip("-").isdigit() else []
    broken = text.replace(old[0], f"{key}={' '.join([value, *rest])}", 1)
    with pytest.raises(ModelError, match="the file is damaged or cut short"):
        load(Artifact("m.txt", broken.encode()))


def test_trees_whose_sizes_the_head_does_not_say():
    data = saved(of_objective("regression", FRAME)).data
    without = re.sub(rb"tree_sizes=.*\n", b"", data)
    expected = load(Artifact("m.txt", data)).score(batch_of(FRAME))
    assert load(Artifact("m.txt", without)).score(batch_of(FRAME)).equals(expected)
    assert FORMAT.describe(Artifact("m.txt", without)).notes[1] == "6 trees"
    with pytest.raises(ModelError, match="the file is damaged or cut short"):
        load(Artifact("m.txt", without.replace(b"left_child=", b"left_child=9")))


@pytest.mark.parametrize(
    ("old", "new"), [("cat_boundaries=0", "cat_boundaries=7"), ("num_cat=", "num_cat=9")]
)
def test_sets_of_categories_that_are_not_there(old: str, new: str):
    text = saved(of_objective("regression", MIXED)).data.decode()
    assert old in text
    with pytest.raises(ModelError, match="the file is damaged or cut short"):
        load(Artifact("m.txt", text.replace(old, new).encode()))
