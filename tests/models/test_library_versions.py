import pytest

from scoreline.models import ModelError
from scoreline.models.artifact import Artifact
from scoreline.models.library_versions import version_notes

ARTIFACT = Artifact("m.ubj", b"x")


@pytest.mark.parametrize("made", [None, "3.2.0", "3.2.9", "3.2"])
def test_the_same_minor_version_is_no_news(made: str | None):
    assert version_notes(ARTIFACT, "XGBoost", made, "3.2.1") == ()


@pytest.mark.parametrize("made", ["3.1.9", "2.9.0", "0.90"])
def test_an_older_version_is_noted(made: str):
    assert version_notes(ARTIFACT, "XGBoost", made, "3.2.1") == (
        f"made by XGBoost {made}, run by 3.2.1: predictions may differ",
    )


@pytest.mark.parametrize("made", ["3.3.0", "4.0.0", "3.10.0"])
def test_a_newer_version_is_refused(made: str):
    with pytest.raises(ModelError) as raised:
        version_notes(ARTIFACT, "XGBoost", made, "3.2.1")
    assert str(raised.value) == (
        f"model m.ubj was made by XGBoost {made}, which is newer than the installed 3.2.1. Install "
        f"it: pip install 'xgboost=={made}'"
    )
