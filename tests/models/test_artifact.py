import gzip
import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import cloudpickle
import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn_models import pickled

from scoreline.models import ModelError
from scoreline.models.artifact import Artifact, read_artifact

FITTED = LinearRegression().fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("compress", [0, 1, 3, 6, 9, "gzip", "bz2", "xz", "lzma"], ids=str)
def test_what_joblib_writes_is_a_pickle(compress: object):
    options = {"compress": (compress, 3) if isinstance(compress, str) else compress}
    assert pickled(FITTED, **options).format == "pickle"


def test_lz4_is_a_pickle_too():
    assert Artifact("m.joblib", b"\x04\x22\x4d\x18 and so on").format == "pickle"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles(protocol: int):
    assert Artifact("m.pkl", pickle.dumps(FITTED, protocol)).format == "pickle"
    assert Artifact("m.pkl", cloudpickle.dumps(FITTED, protocol)).format == "pickle"
    assert Artifact("m.pkl.gz", gzip.compress(pickle.dumps(FITTED, protocol))).format == "pickle"


def test_skops_is_told_from_the_content():
    assert Artifact("m.joblib", skops.io.dumps(FITTED)).format == "skops"


def test_no_bytes():
    with pytest.raises(ModelError, match=r"^model m\.joblib is empty \(0 bytes\)$"):
        _ = Artifact("m.joblib", b"").format


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
        _ = Artifact("gs://models/m.txt", data).format
    message = str(raised.value)
    assert message.startswith("model gs://models/m.txt is no model that scoreline knows: it starts")
    assert repr(data[:8]) in message
    assert "Expected a scikit-learn model saved as .joblib, .pkl or .skops." in message


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("churn.joblib", "churn"),
        ("gs://models/v1.2/churn.v3.joblib", "churn.v3"),
        ("/models/churn", "churn"),
        ("/models/churn/", "churn"),
    ],
)
def test_the_name_of_a_model(uri: str, name: str):
    assert Artifact(uri, b"").name == name


def test_a_file_is_read_whole_and_hashed(tmp_path: Path):
    data = pickle.dumps(FITTED)
    for name in ("m.pkl", "m.gz"):  # a name must not make Beam decompress it
        (tmp_path / name).write_bytes(data)
        artifact = read_artifact(str(tmp_path / name))
        assert artifact.data == data
        assert artifact.sha256 == hashlib.sha256(data).hexdigest()
        assert repr(data)[:20] not in repr(artifact)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(ModelError, match=r"^cannot read model .*nowhere\.joblib: .*"):
        read_artifact(str(tmp_path / "nowhere.joblib"))
    with pytest.raises(ModelError, match=r"^cannot read model"):
        read_artifact(str(tmp_path))


def test_a_scheme_that_no_file_system_knows():
    with pytest.raises(ModelError, match=r"^cannot read model nope://m"):
        read_artifact("nope://m.joblib")
