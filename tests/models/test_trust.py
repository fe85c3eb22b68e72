import pytest

from scoreline.models import ModelError, Trust, UntrustedModelError
from scoreline.models.artifact import Artifact
from scoreline.models.trust import check_hash, check_pickle

MODEL = Artifact("churn.joblib", b"\x80\x04N.")
OTHER = "0" * 64


@pytest.mark.parametrize("sha256", ["", "abc", "z" * 64, "0" * 63, "0" * 65, f"{OTHER}\n"])
def test_a_hash_is_64_hexadecimal_digits(sha256: str):
    with pytest.raises(ValueError, match="sha256: expected 64 hexadecimal digits, got"):
        Trust(sha256=sha256)


def test_without_a_pin_any_file_will_do():
    check_hash(MODEL, Trust())


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_the_pinned_file(change):
    trust = Trust(sha256=change(MODEL.sha256))
    check_hash(MODEL, trust)
    check_pickle(MODEL, trust)


def test_another_file_than_the_pinned_one():
    with pytest.raises(ModelError) as raised:
        check_hash(MODEL, Trust(sha256=OTHER, allow_pickle=True))
    assert str(raised.value) == (
        f"model churn.joblib: expected sha256 {OTHER}, but the file has {MODEL.sha256}. It is not "
        "the file that was pinned; find out who changed it."
    )


def test_a_pickle_must_be_allowed():
    check_pickle(MODEL, Trust(allow_pickle=True))
    with pytest.raises(UntrustedModelError) as raised:
        check_pickle(MODEL, Trust())
    first, second = str(raised.value).splitlines()
    assert first == (
        "model churn.joblib is a pickle: loading it runs whatever code its author put in."
    )
    assert second == (
        f"If you trust it, pin this very file with --sha256 {MODEL.sha256}, or allow any with "
        "--allow-pickle."
    )
