import builtins
import pickle
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pytest
import sklearn
import skops.io
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn_models import NAMES, classes, numbers, pickled

from scoreline.models import ModelError, Trust, UntrustedModelError
from scoreline.models.artifact import Artifact
from scoreline.models.unpickle import load_estimator

FRAME = numbers()
FITTED = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, classes(FRAME))
PICKLES = Trust(allow_pickle=True)


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def same_predictions(loaded: Any) -> bool:
    return bool((loaded.predict_proba(FRAME) == FITTED.predict_proba(FRAME)).all())


# --- pickles ---------------------------------------------------------------------------------


def test_nothing_of_a_refused_pickle_runs(tmp_path: Path):
    written = tmp_path / "written"
    artifact = pickled(Bomb(written))
    with pytest.raises(UntrustedModelError, match="is a pickle: loading it runs"):
        load_estimator(artifact, Trust())
    with pytest.raises(UntrustedModelError):
        load_estimator(artifact, Trust(allow_code=True, skops_types=("pathlib.Path",)))
    assert not written.exists()
    load_estimator(artifact, PICKLES)
    assert written.exists()


def test_a_pinned_pickle_is_loaded():
    artifact = pickled(FITTED)
    loaded, notes = load_estimator(artifact, Trust(sha256=artifact.sha256))
    assert same_predictions(loaded)
    assert notes == ()


@pytest.mark.parametrize("compress", [0, 9, "gzip", "bz2", "xz", "lzma"], ids=str)
def test_compressed_files(compress: Any):
    options = {"compress": (compress, 3) if isinstance(compress, str) else compress}
    assert same_predictions(load_estimator(pickled(FITTED, **options), PICKLES)[0])


def test_lz4_files():
    pytest.importorskip("lz4")
    assert same_predictions(load_estimator(pickled(FITTED, compress=("lz4", 3)), PICKLES)[0])


@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_files_of_other_libraries(library: Any):
    artifact = Artifact("m.pkl", library.dumps(FITTED))
    assert same_predictions(load_estimator(artifact, PICKLES)[0])


def test_a_function_of_the_main_program_travels_with_cloudpickle():
    pipeline = make_pipeline(FunctionTransformer(lambda frame: frame * 2), LinearRegression())
    pipeline.fit(FRAME, classes(FRAME))
    loaded, _ = load_estimator(Artifact("m.pkl", cloudpickle.dumps(pipeline)), PICKLES)
    assert (loaded.predict(FRAME) == pipeline.predict(FRAME)).all()


@pytest.mark.parametrize("cut", [2, 40, 400])
@pytest.mark.parametrize("compress", [0, 3])
def test_a_file_that_was_cut_short(cut: int, compress: int):
    whole = pickled(FITTED, compress=compress)
    with pytest.raises(ModelError) as raised:
        load_estimator(Artifact("cut.joblib", whole.data[:cut]), PICKLES)
    message = str(raised.value)
    assert message.startswith("cannot load model cut.joblib: ")
    assert "The file may be cut short, no model at all, or made by other library" in message
    assert f"than the installed scikit-learn {sklearn.__version__}; install the versions" in message
    assert raised.value.__cause__ is not None


def test_a_class_whose_module_is_missing(monkeypatch: pytest.MonkeyPatch):
    module = ModuleType("fraudlib")
    module.Model = type("Model", (BaseEstimator,), {"__module__": "fraudlib"})
    with monkeypatch.context() as installed:
        installed.setitem(sys.modules, "fraudlib", module)
        artifact = pickled(module.Model())
    with pytest.raises(ModelError) as raised:
        load_estimator(artifact, PICKLES)
    assert str(raised.value) == (
        "cannot load model models/churn.joblib: ModuleNotFoundError: No module named 'fraudlib'. "
        "The model needs the module 'fraudlib': install the package that holds it, or put its "
        "folder on PYTHONPATH."
    )


def test_a_module_that_only_another_scikit_learn_has():
    data = pickled(FITTED).data.replace(b"sklearn.pipeline", b"sklearn.pipelane")
    with pytest.raises(ModelError, match="made by other library versions than the installed sciki"):
        load_estimator(Artifact("m.joblib", data), PICKLES)


# --- versions --------------------------------------------------------------------------------

MAJOR, MINOR = (int(part) for part in sklearn.__version__.split(".")[:2])


def made_by(version: str, monkeypatch: pytest.MonkeyPatch, form: str = "pickle") -> Artifact:
    """The model as scikit-learn of another version would have saved it."""
    with monkeypatch.context() as other:
        other.setattr(sklearn.base, "__version__", version)
        if form == "skops":
            return Artifact("m.skops", skops.io.dumps(FITTED))
        return pickled(FITTED)


@pytest.mark.parametrize("form", ["pickle", "skops"])
@pytest.mark.parametrize(
    "version", ["0.24.2", f"{MAJOR}.{MINOR - 1}.3", f"{MAJOR}.{MINOR}.99", f"{MAJOR}.{MINOR}.dev0"]
)
def test_an_older_scikit_learn_or_another_patch_is_noted(version: str, form: str, monkeypatch):
    loaded, notes = load_estimator(made_by(version, monkeypatch, form), PICKLES)
    assert same_predictions(loaded)
    assert notes == (
        f"made by scikit-learn {version}, run by {sklearn.__version__}: predictions may differ",
    )


@pytest.mark.parametrize("form", ["pickle", "skops"])
@pytest.mark.parametrize(
    "version", [f"{MAJOR}.{MINOR + 1}.0", f"{MAJOR}.{MINOR + 1}rc1", f"{MAJOR + 1}.0", "1.100.1"]
)
def test_a_newer_scikit_learn_is_refused_with_the_command(version: str, form: str, monkeypatch):
    artifact = made_by(version, monkeypatch, form)
    with pytest.raises(ModelError) as raised:
        load_estimator(artifact, PICKLES)
    assert str(raised.value) == (
        f"model {artifact.uri} was made by scikit-learn {version}, which is newer than the "
        f"installed {sklearn.__version__}. Install it: pip install 'scikit-learn=={version}'"
    )


def test_a_file_of_a_newer_scikit_learn_that_cannot_be_read_at_all(monkeypatch):
    """The version is what the user can act on, so it comes before what went wrong."""
    data = made_by(f"{MAJOR}.{MINOR + 1}.0", monkeypatch).data
    broken = data.replace(b"sklearn.linear_model._logistic", b"sklearn.linear_model._logistik")
    assert broken != data
    with pytest.raises(ModelError, match=rf"was made by scikit-learn {MAJOR}\.{MINOR + 1}\.0, whi"):
        load_estimator(Artifact("m.joblib", broken), PICKLES)


def test_an_unknown_version_is_noted(monkeypatch):
    _, notes = load_estimator(made_by("unknown", monkeypatch), PICKLES)
    assert notes[0].startswith("made by scikit-learn unknown, run by")


# --- skops -----------------------------------------------------------------------------------


def test_skops_needs_no_permission():
    loaded, notes = load_estimator(Artifact("m.skops", skops.io.dumps(FITTED)), Trust())
    assert same_predictions(loaded)
    assert notes == ()


def double(frame: Any) -> Any:
    return np.asarray(frame) * 2


def test_a_type_that_is_not_trusted_is_named_and_can_be_allowed(tmp_path: Path):
    pipeline = make_pipeline(FunctionTransformer(double), LinearRegression())
    artifact = Artifact("m.skops", skops.io.dumps(pipeline.fit(FRAME, classes(FRAME))))
    with pytest.raises(UntrustedModelError) as raised:
        load_estimator(artifact, Trust(allow_pickle=True, sha256=artifact.sha256))
    assert str(raised.value) == (
        "model m.skops holds types that are not trusted: test_unpickle.double\n"
        "If you trust them, allow them by name: --skops-types test_unpickle.double"
    )
    loaded, _ = load_estimator(artifact, Trust(skops_types=("test_unpickle.double",)))
    assert (loaded.predict(FRAME) == pipeline.predict(FRAME)).all()


@pytest.mark.parametrize("function", [np.save, np.load, builtins.print, builtins.exec, re.sub])
def test_functions_that_could_do_anything_are_not_trusted(function: Any):
    artifact = Artifact("m.skops", skops.io.dumps(FunctionTransformer(function)))
    with pytest.raises(UntrustedModelError, match="holds types that are not trusted: "):
        load_estimator(artifact, Trust())


def test_a_damaged_skops_file():
    data = skops.io.dumps(FITTED).replace(b".npy", b".nqy")
    with pytest.raises(ModelError, match=r"^cannot load model m\.skops: "):
        load_estimator(Artifact("m.skops", data), Trust())


def test_skops_that_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    artifact = Artifact("m.skops", skops.io.dumps(FITTED))
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(
        ModelError, match=r"m\.skops needs the library skops\.io, which.*'scoreline\[sk"
    ):
        load_estimator(artifact, Trust())


def test_names_survive():
    loaded, _ = load_estimator(Artifact("m.skops", skops.io.dumps(FITTED)), Trust())
    assert tuple(loaded.feature_names_in_) == NAMES
