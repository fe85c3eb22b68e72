import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.oauth2 import service_account

from scoreline.transforms.bigquery import credentials
from scoreline.transforms.bigquery.errors import BigQueryError

ACCOUNT = "scorer@own-project.iam.gserviceaccount.com"
VARIABLES = (
    "BIGQUERY_EMULATOR_HOST",
    "BIGQUERY_STORAGE_EMULATOR_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_QUOTA_PROJECT",
    "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT",
)


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind = serialization.PrivateFormat.PKCS8
    encoding = serialization.Encoding.PEM
    return key.private_bytes(encoding, kind, serialization.NoEncryption()).decode()


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    """An environment that says nothing, on a machine that nobody logged in to."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nobody"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    credentials._default.cache_clear()
    yield
    credentials._default.cache_clear()


@pytest.fixture
def file(private_key, tmp_path, monkeypatch):
    path = tmp_path / "key.json"
    said = {
        "type": "service_account",
        "project_id": "own-project",
        "client_email": ACCOUNT,
        "private_key": private_key,
        "private_key_id": "1",
        "token_uri": "http://127.0.0.1:9/token",
    }
    path.write_text(json.dumps(said))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


def test_an_emulator_knows_nobody(monkeypatch):
    for name in ("BIGQUERY_EMULATOR_HOST", "BIGQUERY_STORAGE_EMULATOR_HOST"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "127.0.0.1:1")
            found, quota_project = credentials.of()
        assert isinstance(found, AnonymousCredentials)
        assert quota_project is None


def test_without_a_login_there_are_none():
    with pytest.raises(DefaultCredentialsError):
        credentials.of()


def test_a_service_account_file_is_taken(file):
    found, quota_project = credentials.of()
    assert isinstance(found, service_account.Credentials)
    assert found.service_account_email == ACCOUNT
    assert quota_project is None
    assert credentials.charged_project("tables-project") == "own-project"


def test_the_project_that_is_charged_is_named(file, monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")
    found, quota_project = credentials.of()
    assert (found.quota_project_id, quota_project) == ("payer", "payer")
    assert credentials.charged_project("tables-project") == "payer"


def test_on_an_emulator_the_tables_project_is_charged(monkeypatch):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")
    assert credentials.charged_project("tables-project") == "tables-project"


def test_another_account_is_impersonated_through_those_before_it(file, monkeypatch):
    monkeypatch.setenv("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", "via@x, robot@x")
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")
    found, _ = credentials.of()
    assert isinstance(found, impersonated_credentials.Credentials)
    assert found.service_account_email == "robot@x"
    assert found._delegates == ["via@x"]
    assert found._source_credentials.service_account_email == ACCOUNT
    assert found.quota_project_id == "payer"


def test_a_variable_that_is_empty_says_nothing(file, monkeypatch):
    for name in ("BIGQUERY_EMULATOR_HOST", "GOOGLE_CLOUD_QUOTA_PROJECT"):
        monkeypatch.setenv(name, "")
    assert credentials.emulator() is None
    assert isinstance(credentials.of()[0], service_account.Credentials)
    assert credentials.charged_project("tables-project") == "own-project"


@pytest.mark.parametrize("address", ["127.0.0.1:9050", "http://127.0.0.1:9050"])
def test_an_emulator_may_be_named_without_its_scheme(monkeypatch, address):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", address)
    assert credentials.emulator() == "http://127.0.0.1:9050"


@pytest.mark.parametrize("named", VARIABLES[:2])
def test_half_an_emulator_is_refused(monkeypatch, named):
    credentials.check_emulators()
    monkeypatch.setenv(named, "127.0.0.1:1")
    (other,) = {*VARIABLES[:2]} - {named}
    said = f"^{named} names an emulator of BigQuery, and {other} does not: set both, or none"
    with pytest.raises(BigQueryError, match=said):
        credentials.check_emulators()
    monkeypatch.setenv(other, "127.0.0.1:2")
    credentials.check_emulators()
