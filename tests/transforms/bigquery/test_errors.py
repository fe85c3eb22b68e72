import grpc
import pytest
import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from scoreline.transforms.bigquery.errors import BigQueryError, explain, in_words, status_of


class Refused(grpc.RpcError):
    """What a call over gRPC raises."""

    def __init__(self, code, details):
        self._code, self._details = code, details

    def code(self):
        return self._code

    def details(self):
        return self._details


def rest(kind, reason, message="it says"):
    return kind(message, errors=[{"reason": reason}])


@pytest.mark.parametrize(
    ("action", "role"),
    [
        ("look at", "roles/bigquery.metadataViewer or roles/bigquery.dataViewer on the table"),
        ("read", "roles/bigquery.readSessionUser on the project"),
        ("query", "roles/bigquery.jobUser on the project"),
        ("write to", "roles/bigquery.dataEditor on the table"),
        ("create", "roles/bigquery.dataEditor on the dataset"),
        ("alter", "roles/bigquery.dataEditor on the table"),
        ("replace", "roles/bigquery.jobUser on the project"),
        ("delete", "roles/bigquery.dataEditor on the dataset"),
    ],
)
@pytest.mark.parametrize(
    "error",
    [rest(api.Forbidden, "accessDenied"), Refused(grpc.StatusCode.PERMISSION_DENIED, "no")],
)
def test_the_role_that_is_missing_is_named(action, role, error):
    said = explain(error, action, "p.d.t")
    assert said.startswith(f"cannot {action} p.d.t: permission denied. Grant roles/")
    assert role in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("permission", "role"),
    [
        ("bigquery.jobs.create", "roles/bigquery.jobUser"),
        ("bigquery.readsessions.create", "roles/bigquery.readSessionUser"),
        ("serviceusage.services.use", "roles/serviceusage.serviceUsageConsumer"),
        ("iam.serviceAccounts.getAccessToken", "roles/iam.serviceAccountTokenCreator"),
    ],
)
def test_a_permission_that_is_named_has_its_own_role(permission, role):
    message = f"Access Denied: User does not have {permission} permission in project p"
    said = explain(Refused(grpc.StatusCode.PERMISSION_DENIED, message), "write to", "p.d.t")
    assert f"Grant {role}" in said
    assert said.endswith(f"BigQuery says: {message}")


@pytest.mark.parametrize(
    ("error", "status", "advice"),
    [
        (api.NotFound("Not found"), grpc.StatusCode.NOT_FOUND, "it is not there, or may not"),
        (api.Unauthorized("who?"), grpc.StatusCode.UNAUTHENTICATED, "no valid credentials"),
        (auth.RefreshError("old"), grpc.StatusCode.UNAUTHENTICATED, "gcloud auth application-"),
        (auth.DefaultCredentialsError("none"), grpc.StatusCode.UNAUTHENTICATED, "no valid cred"),
        (auth.TransportError("no net"), grpc.StatusCode.UNAVAILABLE, "does not answer"),
        (requests.ConnectionError("no net"), grpc.StatusCode.UNAVAILABLE, "does not answer"),
        (requests.Timeout("slow"), grpc.StatusCode.DEADLINE_EXCEEDED, "does not answer"),
        (api.RetryError("long", None), grpc.StatusCode.DEADLINE_EXCEEDED, "does not answer"),
        (api.ServiceUnavailable("down"), grpc.StatusCode.UNAVAILABLE, "does not answer"),
        (api.BadGateway("down"), grpc.StatusCode.UNAVAILABLE, "does not answer"),
        (
            rest(api.Forbidden, "quotaExceeded"),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "a quota is used up",
        ),
        (
            Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota"),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "a quota is used up",
        ),
        (api.BadRequest("syntax error"), grpc.StatusCode.INVALID_ARGUMENT, "it was refused"),
        (api.Conflict("exists"), grpc.StatusCode.ALREADY_EXISTS, "it was refused"),
        (RuntimeError("odd"), grpc.StatusCode.UNKNOWN, "it was refused"),
    ],
)
def test_each_failure_says_what_to_do(error, status, advice):
    assert status_of(error) == status
    said = explain(error, "read", "p.d.t")
    assert said.startswith("cannot read p.d.t: ")
    assert advice in said


def test_an_answer_of_many_lines_becomes_one():
    said = explain(api.BadRequest("Syntax error\n  at [1:2]"), "query", "the input")
    assert said.endswith("BigQuery says: Syntax error at [1:2]")


def test_an_error_without_words_shows_its_kind():
    assert explain(requests.ConnectionError(), "read", "t").endswith("says: ConnectionError")
    assert "UNAVAILABLE" in explain(Refused(grpc.StatusCode.UNAVAILABLE, ""), "read", "t")


def test_failures_inside_become_errors_in_words():
    cause = api.NotFound("gone")
    said = r"cannot delete p\.d\.t: it is not there"
    with pytest.raises(BigQueryError, match=said) as raised, in_words("delete", "p.d.t"):
        raise cause
    assert raised.value.__cause__ is cause


def test_other_errors_pass_unchanged():
    with pytest.raises(KeyError), in_words("read", "p.d.t"):
        raise KeyError("a bug")
