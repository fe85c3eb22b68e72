import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import google.auth.credentials
import grpc
import pytest
from google.api_core import grpc_helpers
from google.iam.v1 import iam_policy_pb2
from google.pubsub_v1 import types

from scoreline.transforms import pubsub_client
from scoreline.transforms.pubsub_client import PubsubClient, PubsubMessage, check_path, client


def take(queue, our_client, secs=5.0):
    """Pulls until something comes, as the emulator may answer with nothing at first."""
    deadline = time.monotonic() + secs
    while time.monotonic() < deadline:
        response = our_client.start_pull(queue.subscription, 100, 5.0).result()
        if response.received_messages:
            return response.received_messages
    raise AssertionError("nothing came")


@pytest.mark.parametrize(
    "path", ["", "s", "projects/p/topics/", "projects/p/topics/a/b", "projects//topics/a"]
)
def test_what_names_no_topic_is_refused(path):
    with pytest.raises(ValueError, match=r"expected projects/PROJECT/topics/NAME, got '"):
        check_path(path, "topics")


def test_a_topic_is_no_subscription():
    with pytest.raises(ValueError, match="expected projects/PROJECT/subscriptions/NAME"):
        check_path("projects/p/topics/a", "subscriptions")


def test_a_subscription_says_what_it_is(queue):
    found = client().describe_subscription(queue.subscription)
    assert (found.topic, found.ack_deadline_secs) == (queue.topic, 10.0)


@pytest.mark.parametrize(
    ("fields", "delivers_to", "is_detached"),
    [
        ({}, "", False),
        ({"push_config": {}}, "", False),
        ({"push_config": {"push_endpoint": "https://example.com"}}, "an endpoint", False),
        ({"bigquery_config": {"table": "p.d.t"}}, "BigQuery", False),
        ({"cloud_storage_config": {"bucket": "b"}}, "Cloud Storage", False),
        ({"detached": True}, "", True),
    ],
)
def test_what_cannot_be_pulled_from_says_so(service, monkeypatch, fields, delivers_to, is_detached):
    found = types.Subscription.pb(types.Subscription(topic="t", **fields))
    ours = PubsubClient()
    monkeypatch.setattr(ours, "_get_subscription", lambda *_: found)
    described = ours.describe_subscription("projects/p/subscriptions/s")
    assert (described.delivers_to, described.is_detached) == (delivers_to, is_detached)


def test_an_emulator_says_nothing_of_permissions(queue):
    assert client().may(queue.subscription, "pubsub.subscriptions.consume") is None


class Policies(grpc.GenericRpcHandler):
    """A service that grants one permission on one topic."""

    def __init__(self):
        self.asked = []

    def service(self, call):
        assert call.method == "/google.iam.v1.IAMPolicy/TestIamPermissions"
        return grpc.unary_unary_rpc_method_handler(
            self.answer,
            iam_policy_pb2.TestIamPermissionsRequest.FromString,
            iam_policy_pb2.TestIamPermissionsResponse.SerializeToString,
        )

    def answer(self, request, context):
        self.asked.append((request.resource, *request.permissions))
        if request.resource == "broken":
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        granted = [name for name in request.permissions if name == "pubsub.topics.publish"]
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=granted)


def test_a_service_says_what_we_may_do(monkeypatch):
    server = grpc.server(ThreadPoolExecutor(1), handlers=[policies := Policies()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
    ours = PubsubClient()
    assert ours.may("t", "pubsub.topics.publish") is True
    assert ours.may("s", "pubsub.subscriptions.consume") is False
    with pytest.raises(grpc.RpcError, match="gone"):
        ours.may("broken", "pubsub.topics.publish")
    assert policies.asked[0] == ("t", "pubsub.topics.publish")
    server.stop(None).wait()


def test_what_is_not_there_is_an_error(service):
    with pytest.raises(grpc.RpcError) as error:
        client().describe_subscription("projects/scoreline-tests/subscriptions/none")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as error:
        client().check_topic("projects/scoreline-tests/topics/none")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_messages_come_as_they_were_published(queue):
    ours = client()
    ours.check_topic(queue.topic)
    ours.publish(queue.topic, [PubsubMessage(data=b"\xff\0", attributes={"k": "v é"})])
    (received,) = take(queue, ours)
    assert received.message.data == b"\xff\0"
    assert dict(received.message.attributes) == {"k": "v é"}
    assert abs(received.message.publish_time.seconds - time.time()) < 60


def test_what_is_acknowledged_does_not_come_again_and_what_is_handed_back_does(queue):
    ours = client()
    queue.publish(b"0", b"1")
    ids = {}
    while len(ids) < 2:
        ids |= {each.message.data: each.ack_id for each in take(queue, ours)}
    ours.extend(queue.subscription, list(ids.values()), 20.0)
    ours.acknowledge(queue.subscription, [ids[b"0"]])
    ours.extend(queue.subscription, list(ids.values()), 0)
    assert [each.message.data for each in take(queue, ours)] == [b"1"]


def test_a_pull_waits_for_a_message_and_can_be_cancelled(queue):
    ours = client()
    pull = ours.start_pull(queue.subscription, 10, 5.0)
    assert not pull.done()
    queue.publish(b"late")
    assert pull.result().received_messages[0].message.data == b"late"
    pull = ours.start_pull(queue.subscription, 10, 5.0)
    pull.cancel()
    with pytest.raises(grpc.FutureCancelledError):
        pull.result()


def test_an_empty_pull_ends_with_its_time(queue):
    started = time.monotonic()
    pull = client().start_pull(queue.subscription, 10, 0.2)
    with suppress(grpc.RpcError):  # the emulator answers with nothing, at its own last moment
        assert not pull.result().received_messages
    assert time.monotonic() - started < 2


def test_many_ids_are_told_in_several_requests(service):
    sent = []
    ours = PubsubClient()
    ours._acknowledge = lambda request, *_: sent.append(list(request.ack_ids))
    ours._modify = lambda request, *_: sent.append(
        (list(request.ack_ids), request.ack_deadline_seconds)
    )
    ids = [str(number) for number in range(2_500)]
    ours.acknowledge("s", ids)
    assert [len(some) for some in sent] == [1_000, 1_000, 500]
    assert [ack_id for some in sent for ack_id in some] == ids
    sent.clear()
    ours.extend("s", ids[:1_001], 10.0)
    assert [(len(some), secs) for some, secs in sent] == [(1_000, 10), (1, 10)]


def test_a_process_has_one_client(service):
    assert client() is client()


def test_without_an_emulator_the_service_itself_is_called(monkeypatch):
    made = []
    real = grpc_helpers.create_channel

    def create_channel(target, **options):
        made.append(target)
        credentials = google.auth.credentials.AnonymousCredentials()
        return real(target, credentials=credentials, **options)

    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(pubsub_client.grpc_helpers, "create_channel", create_channel)
    PubsubClient()
    assert made == ["pubsub.googleapis.com:443"]
