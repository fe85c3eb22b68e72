import gc
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn_models import batch_of, classes, numbers

from scoreline.models import ContractError, ModelError, ModelRef, Trust, UntrustedModelError
from scoreline.models.artifact import Artifact, read_artifact
from scoreline.models.model import ModelInfo, load_model, pinned

FRAME = numbers()


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "churn.joblib")
    joblib.dump(LogisticRegression().fit(FRAME, classes(FRAME)), path)
    return path


def pinned_ref(path: str) -> ModelRef:
    return ModelRef(path, Trust(sha256=read_artifact(path).sha256))


def test_a_model_scores(path: str):
    model = load_model(ModelRef(path, Trust(allow_pickle=True), ("predict", "predict_proba")))
    scored = model.score(batch_of(FRAME))
    assert scored.schema.names == ["prediction", "probability_0", "probability_1"]
    assert model.info.name == "churn"
    assert model.info.uri == path
    assert model.info.format == "pickle"


def test_refusals(path: str):
    with pytest.raises(UntrustedModelError):
        load_model(ModelRef(path))
    with pytest.raises(ModelError, match="expected sha256 000"):
        load_model(ModelRef(path, Trust(sha256="0" * 64, allow_pickle=True)))
    with pytest.raises(ContractError, match="has no transform"):
        load_model(ModelRef(path, Trust(allow_pickle=True), ("transform",)))
    with pytest.raises(ContractError, match="but --features names"):
        load_model(ModelRef(path, Trust(allow_pickle=True), features=("x",)))
    with pytest.raises(ModelError, match="cannot read model"):
        load_model(ModelRef(f"{path}.not", Trust(allow_pickle=True)))


def test_a_pinned_model_is_loaded_once_while_it_lives(path: str):
    ref = pinned_ref(path)
    model = load_model(ref)
    Path(path).unlink()
    assert load_model(pickle.loads(pickle.dumps(ref))) is model
    assert load_model(ModelRef(path, Trust(sha256=ref.trust.sha256))) is model
    del model
    gc.collect()
    with pytest.raises(ModelError, match="cannot read"):
        load_model(ref)


def test_a_model_that_is_not_pinned_may_change(path: str):
    ref = ModelRef(path, Trust(allow_pickle=True))
    first = load_model(ref)
    joblib.dump(LinearRegression().fit(FRAME, classes(FRAME)), path)
    second = load_model(ref)
    assert first is not second
    assert first.info.version != second.info.version


def test_other_outputs_are_another_model(path: str):
    ref = pinned_ref(path)
    other = ModelRef(path, ref.trust, ("predict_proba",))
    model, proba = load_model(ref), load_model(other)
    assert model is not proba
    assert proba.score(batch_of(FRAME)).schema.names == ["probability_0", "probability_1"]


def test_eight_threads_at_once_get_one_model(path: str):
    ref = pinned_ref(path)
    together = threading.Barrier(8)

    def load() -> object:
        together.wait()
        return load_model(ref)

    with ThreadPoolExecutor(8) as pool:
        models = [future.result() for future in [pool.submit(load) for _ in range(8)]]
    assert len(set(map(id, models))) == 1


def test_pinned_names_the_very_model_that_was_loaded(path: str):
    ref = ModelRef(path, Trust(allow_pickle=True, allow_code=True, skops_types=("x.Y",)))
    model = load_model(ref)
    same = pinned(ref, model)
    assert same == ModelRef(
        path,
        Trust(model.info.sha256, allow_pickle=True, allow_code=True, skops_types=("x.Y",)),
    )
    joblib.dump(LinearRegression().fit(FRAME, classes(FRAME)), path)
    assert load_model(same) is model
    del model
    gc.collect()
    with pytest.raises(ModelError, match="It is not the file that was pinned"):
        load_model(same)


def test_info_labels_predictions_with_the_first_digits_of_the_hash():
    artifact = Artifact("gs://models/churn.skops", b"")
    info = ModelInfo("churn", "e3b0c44298fc", artifact.sha256, "skops", artifact.uri, ("a note",))
    assert info.version == info.sha256[:12]
