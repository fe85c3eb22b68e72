"""A format is told from the content; a name only decides between several."""

import gzip
import io
import pickle
import zipfile
from dataclasses import replace
from typing import Any

import cloudpickle
import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn_models import pickled

from scoreline.models import ModelError, ModelRef, Trust, UntrustedModelError, load_model, registry
from scoreline.models.artifact import Artifact
from scoreline.models.estimator_format import PICKLE
from scoreline.models.model import is_code
from scoreline.models.registry import FORMATS, format_of

FITTED = LinearRegression().fit([[0.0], [1.0]], [0, 1])


def told(artifact: Artifact) -> str:
    return format_of(artifact).name


def test_names_and_extensions_are_nobody_elses():
    names = [format_.name for format_ in FORMATS]
    assert len(set(names)) == len(names)
    for format_ in FORMATS:
        assert format_.extensions
        assert all(extension.startswith(".") for extension in format_.extensions)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@pytest.mark.parametrize("data", [b"", b"{", b"PK", b"\x80", b"\xff" * 64, bytes(64)], ids=repr)
def test_to_recognise_never_raises(format_: Any, data: bytes):
    assert format_.recognises(Artifact("m", data)) in (True, False)


def alike(name: str, *extensions: str) -> Any:
    return replace(PICKLE, name=name, title=name.title(), extensions=extensions)


def test_a_name_decides_between_several(monkeypatch: pytest.MonkeyPatch):
    several = (alike("one", ".a", ".b"), alike("two", ".c"), alike("three", ".b"))
    monkeypatch.setattr(registry, "FORMATS", several)
    assert told(Artifact("m.A", pickled(FITTED).data)) == "one"
    assert told(Artifact("gs://b/m.c", pickled(FITTED).data)) == "two"
    for uri in ("m.b", "m", "m.bin"):
        with pytest.raises(ModelError) as raised:
            format_of(Artifact(uri, pickled(FITTED).data))
        assert str(raised.value) == (
            f"model {uri} could be one of: One (.a, .b), Two (.c), Three (.b). Its content does "
            "not decide; rename it to the extension of what it is."
        )


@pytest.mark.parametrize("compress", [0, 1, 3, 6, 9, "gzip", "bz2", "xz", "lzma"], ids=str)
def test_what_joblib_writes_is_a_pickle(compress: object):
    options = {"compress": (compress, 3) if isinstance(compress, str) else compress}
    assert told(pickled(FITTED, **options)) == "pickle"


def test_lz4_is_a_pickle_too():
    assert told(Artifact("m.joblib", b"\x04\x22\x4d\x18 and so on")) == "pickle"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles(protocol: int):
    assert told(Artifact("m.pkl", pickle.dumps(FITTED, protocol))) == "pickle"
    assert told(Artifact("m.pkl", cloudpickle.dumps(FITTED, protocol))) == "pickle"
    assert told(Artifact("m.pkl.gz", gzip.compress(pickle.dumps(FITTED, protocol)))) == "pickle"


def test_skops_is_told_from_the_content():
    assert told(Artifact("m.joblib", skops.io.dumps(FITTED))) == "skops"


def test_no_bytes():
    with pytest.raises(ModelError, match=r"^model m\.joblib is empty \(0 bytes\)$"):
        told(Artifact("m.joblib", b""))


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "{}")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,2\n",
        b"x,y\n1,2\n",
        b"BZ is no archive",
        b"{}",
        b"PAR1",
        b"PK but no zip",
        zipped("model.txt"),
        zipped("schema.json")[:-9],
    ],
    ids=range(8),
)
def test_what_is_no_model(data: bytes):
    with pytest.raises(ModelError) as raised:
        told(Artifact("gs://models/m.txt", data))
    message = str(raised.value)
    assert message.startswith("model gs://models/m.txt is no model that scoreline knows: it starts")
    assert repr(data[:8]) in message
    assert "Expected one of: " in message
    assert all(format_.title in message for format_ in FORMATS)


# --- models that are code ---------------------------------------------------------------------


def test_code_is_loaded_only_if_it_is_allowed(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def load(ref: ModelRef) -> Any:
        asked.append(ref)
        return FITTED  # anything that a weak reference can point to

    monkeypatch.setattr(registry, "REFERENCES", ((lambda uri: uri.startswith("code:"), load),))
    assert is_code("code:f")
    assert not is_code("m.joblib")
    with pytest.raises(UntrustedModelError, match="'code:f' is code: allow it with --allow-code"):
        load_model(ModelRef("code:f", Trust(allow_pickle=True)))
    with pytest.raises(ModelError, match="model code:f is code, not a file: it has no sha256"):
        load_model(ModelRef("code:f", Trust("0" * 64, allow_code=True)))
    assert asked == []
    ref = ModelRef("code:f", Trust(allow_code=True))
    assert load_model(ref) is FITTED
    assert load_model(ref) is FITTED
    assert asked == [ref]
