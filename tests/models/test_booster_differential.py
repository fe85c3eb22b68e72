"""XGBoost, LightGBM and CatBoost against themselves, over every shape of batch.

Their trees add up row by row, so predictions are equal to the bit in batches of any size; but a
linear booster's or a linear tree's are not.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from differential import Case, check_case, load, rows_of

from scoreline.models.artifact import Artifact

NUMBERS = pa.schema(
    [("a", pa.float32()), ("b", pa.float64()), ("c", pa.int64()), ("d", pa.bool_())]
)
PLANS = ("gold", "basic", "very good", "not bad at all", "", "ünïcode", "a b c d")
MIXED = pa.schema([*NUMBERS, ("plan", pa.string()), ("note", pa.string())])
WITHOUT_TEXT = pa.schema([field for field in MIXED if field.name != "note"])
FEW = 5  # rounds
OUTPUTS = ("predict", "predict_proba", "raw_score")


def in_order(batch: pa.RecordBatch, schema: pa.Schema) -> pd.DataFrame:
    """A batch as a frame with the model's columns; a plan is one of the known ones."""
    frame = pa.RecordBatch.from_arrays(
        [batch.column(name) for name in schema.names], schema.names
    ).to_pandas()
    if "plan" in frame:
        known = pd.Index(PLANS, dtype=object)
        frame["plan"] = pd.Categorical(frame["plan"].astype(object), categories=known)
    return frame.astype({"note": object}) if "note" in frame else frame


def target(frame: pd.DataFrame, classes: int | None = None) -> np.ndarray:
    score = frame["a"].fillna(0) + frame["b"].fillna(0) + frame["c"] / 50 + frame["d"]
    if "plan" in frame:
        score = score + frame["plan"].cat.codes
    if classes is None:
        return score.to_numpy(np.float64)
    return np.argsort(np.argsort(score)) * classes // len(score)


def named(results: Mapping[str, Any], classes: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The library's arrays by the names of our columns."""
    prefixes = {"predict": "prediction", "predict_proba": "probability", "raw_score": "raw_score"}
    columns = {}
    for output, result in results.items():
        array = np.asarray(result)
        if array.ndim == 1 or array.shape[1] == 1:
            columns[prefixes[output]] = np.ascontiguousarray(array.reshape(-1))
            continue
        labels = classes or tuple(map(str, range(array.shape[1])))
        for label, column in zip(labels, array.T, strict=True):
            columns[f"{prefixes[output]}_{label}"] = np.ascontiguousarray(column)
    return columns


def train(schema: pa.Schema, classes: int | None) -> tuple[pd.DataFrame, np.ndarray]:
    frame = in_order(rows_of(schema, 400, seed=1), schema)
    return frame, target(frame, classes)


def ascii_only(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with no other categories: XGBoost does not keep their names whole."""
    if "plan" not in frame:
        return frame
    known = [name for name in PLANS if name.isascii()]
    return frame.assign(plan=frame["plan"].cat.set_categories(pd.Index(known, dtype=object)))


def xgboost_cases() -> list[Callable[[], Case]]:
    def booster(classes: int | None, schema: pa.Schema, **params: Any) -> Case:
        import xgboost

        frame, label = train(schema, classes)
        frame = ascii_only(frame)
        data = xgboost.DMatrix(frame, label, enable_categorical=True)
        model = xgboost.train({"nthread": 2, **params}, data, FEW)
        outputs = ("predict", "raw_score")

        def own(batch: pa.RecordBatch) -> Mapping[str, Any]:
            rows = xgboost.DMatrix(ascii_only(in_order(batch, schema)), enable_categorical=True)
            margins = model.predict(rows, output_margin=True)
            return named({"predict": model.predict(rows), "raw_score": margins})

        return case("xgboost", bytes(model.save_raw("ubj")), outputs, schema, own)

    def wrapper(kind: str, classes: int | None, schema: pa.Schema, tmp_path: Any) -> Case:
        import xgboost

        frame, label = train(schema, classes)
        frame = ascii_only(frame)
        few = {"n_estimators": FEW, "enable_categorical": True, "n_jobs": 2}
        model = getattr(xgboost, kind)(**few).fit(frame, label)
        path = tmp_path / "m.json"
        model.save_model(path)
        outputs = OUTPUTS if classes else ("predict", "raw_score")

        def own(batch: pa.RecordBatch) -> Mapping[str, Any]:
            rows = ascii_only(in_order(batch, schema))
            answers: dict[str, Callable[[], Any]] = {
                "predict": lambda: model.predict(rows),
                "predict_proba": lambda: model.predict_proba(rows),
                "raw_score": lambda: model.predict(rows, output_margin=True),
            }
            return named({output: answers[output]() for output in outputs})

        return case("xgboost", path.read_bytes(), outputs, schema, own)

    plan = WITHOUT_TEXT
    return [
        lambda _: booster(None, NUMBERS),
        lambda _: booster(2, plan, objective="binary:logistic"),
        lambda _: booster(3, NUMBERS, objective="multi:softprob", num_class=3),
        lambda _: booster(None, NUMBERS, booster="dart"),
        lambda tmp_path: wrapper("XGBClassifier", 3, plan, tmp_path),
        lambda tmp_path: wrapper("XGBRegressor", None, plan, tmp_path),
    ]


def lightgbm_case(objective: str, classes: int | None, schema: pa.Schema) -> Case:
    import lightgbm

    frame, label = train(schema, classes)
    params = {"objective": objective, "verbose": -1, "num_threads": 2}
    params |= {"num_class": classes} if objective == "multiclass" else {}
    model = lightgbm.train(params, lightgbm.Dataset(frame, label, params={"verbose": -1}), FEW)

    def own(batch: pa.RecordBatch) -> Mapping[str, Any]:
        rows = in_order(batch, schema)
        raw = model.predict(rows, raw_score=True)
        return named({"predict": model.predict(rows), "raw_score": raw})

    data = model.model_to_string().encode()
    return case("lightgbm", data, ("predict", "raw_score"), schema, own)


def catboost_case(loss: str, classes: int | None, schema: pa.Schema, tmp_path: Any) -> Case:
    import catboost

    frame, label = train(schema, classes)
    words = {"cat_features": ["plan"]} if "plan" in frame else {}
    words |= {"text_features": ["note"]} if "note" in frame else {}
    quiet = {"verbose": False, "allow_writing_files": False, "random_seed": 0}
    kind = catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor
    model = kind(iterations=FEW, loss_function=loss, thread_count=2, **quiet)
    path = tmp_path / "m.cbm"
    labels = np.array(["low", "mid", "high"])[label] if classes else label
    model.fit(frame, labels, **words).save_model(str(path))
    outputs = OUTPUTS if classes else ("predict", "raw_score")

    def own(batch: pa.RecordBatch) -> Mapping[str, Any]:
        rows = catboost.Pool(in_order(batch, schema), **words)
        answers: dict[str, Callable[[], Any]] = {
            "predict": lambda: model.predict(rows),
            "predict_proba": lambda: model.predict_proba(rows),
            "raw_score": lambda: model.predict(rows, prediction_type="RawFormulaVal"),
        }
        results = {output: answers[output]() for output in outputs}
        return named(results, tuple(model.classes_) if classes else ())

    return case("catboost", path.read_bytes(), outputs, schema, own)


def case(
    name: str,
    data: bytes,
    outputs: tuple[str, ...],
    schema: pa.Schema,
    own: Callable[[pa.RecordBatch], Mapping[str, Any]],
) -> Case:
    nullable = ("b", "a") if name == "catboost" else ("b", "a", "c", *schema.names[4:5])
    return Case(
        name,
        load(Artifact("m.bin", data), *outputs),
        _ascii(rows_of(schema)) if name == "xgboost" else rows_of(schema),
        own,
        nullable=nullable,
        encodable=tuple(schema.names[4:5]),
    )


def _ascii(batch: pa.RecordBatch) -> pa.RecordBatch:
    """XGBoost does not keep other names of categories whole."""
    if "plan" not in batch.schema.names:
        return batch
    plan = pc.replace_substring(batch.column("plan"), "ünïcode", "gold")
    return batch.set_column(batch.schema.get_field_index("plan"), "plan", plan)


@pytest.mark.parametrize("make", xgboost_cases(), ids=range(6))
def test_xgboost(make: Callable[[Any], Case], tmp_path: Any):
    pytest.importorskip("xgboost", reason="needs scoreline[xgboost]")
    check_case(make(tmp_path))


@pytest.mark.parametrize("schema", [NUMBERS, WITHOUT_TEXT], ids=["numbers", "categories"])
@pytest.mark.parametrize(
    ("objective", "classes"), [("binary", 2), ("multiclass", 3), ("regression", None)]
)
def test_lightgbm(objective: str, classes: int | None, schema: pa.Schema):
    pytest.importorskip("lightgbm", reason="needs scoreline[lightgbm]")
    check_case(lightgbm_case(objective, classes, schema))


@pytest.mark.parametrize(
    "schema", [NUMBERS, WITHOUT_TEXT, MIXED], ids=["numbers", "categories", "text"]
)
@pytest.mark.parametrize(("loss", "classes"), [("Logloss", 2), ("MultiClass", 3), ("RMSE", None)])
def test_catboost(loss: str, classes: int | None, schema: pa.Schema, tmp_path: Any):
    pytest.importorskip("catboost", reason="needs scoreline[catboost]")
    check_case(catboost_case(loss, classes, schema, tmp_path))
