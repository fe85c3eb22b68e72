import hashlib
import pickle
from pathlib import Path

import pytest
from sklearn.linear_model import LinearRegression

from scoreline.models import ModelError
from scoreline.models.artifact import Artifact, read_artifact

FITTED = LinearRegression().fit([[0.0], [1.0]], [0, 1])


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
