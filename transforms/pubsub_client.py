"""Talks to Pub/Sub in plain protocol buffers: pull, acknowledge, extend, publish.

The client library's own message classes cost more for each message than everything else that is
done with it, so the calls here take and give the protocol buffers below them.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import grpc
from google.api_core import grpc_helpers
from google.iam.v1 import iam_policy_pb2
from google.pubsub_v1 import types

_HOST = "pubsub.googleapis.com:443"
_SCOPES = ("https://www.googleapis.com/auth/pubsub",)
_CALL_SECS = 30.0
_ASK_SECS = 10.0  # of the checks before a start: a person waits for them
_MAX_IDS = 1_000  # of a request, which may have 512 KiB; an id has up to about 200 bytes

# Google's advice for long-lived channels: a connection that a middlebox dropped is noticed.
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
)

# What a service says of itself, not of what was asked: the same call may succeed later.
TRANSIENT = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)

PubsubMessage = types.PubsubMessage.pb()
PublishRequest = types.PublishRequest.pb()

# The fields of a subscription that the service itself takes the messages of.
_DELIVERIES = {
    "bigquery_config": "BigQuery",
    "cloud_storage_config": "Cloud Storage",
    "bigtable_config": "Bigtable",
}

Kind = Literal["subscriptions", "topics"]


def check_path(path: str, kind: Kind) -> str:
    """Checks the name of a subscription or topic, and gives it back.

    Raises:
        ValueError: it is not `projects/PROJECT/<kind>/NAME`.

    >>> check_path("projects/p/topics/scores", "topics")
    'projects/p/topics/scores'
    """
    if not re.fullmatch(rf"projects/[^/]+/{kind}/[^/]+", path):
        raise ValueError(f"expected projects/PROJECT/{kind}/NAME, got {path!r}")
    return path


@dataclass(frozen=True)
class Subscription:
    """What a subscription says of itself.

    Attributes:
        topic: whose messages it holds.
        ack_deadline_secs: how long a lease lasts.
        delivers_to: where the service itself takes the messages, such as `BigQuery`; empty for a
            subscription that is pulled from.
        is_detached: whether it was cut off from its topic.
    """

    topic: str
    ack_deadline_secs: float
    delivers_to: str = ""
    is_detached: bool = False


class PubsubClient:
    """The calls of one process to Pub/Sub, or to the emulator that PUBSUB_EMULATOR_HOST names."""

    def __init__(self) -> None:
        self._channel = _channel()
        calls = _Calls(self._channel)
        self._get_subscription = calls.unary("Subscriber/GetSubscription", types.Subscription.pb())
        self._get_topic = calls.unary("Publisher/GetTopic", types.Topic.pb())
        self._test_permissions = calls.unary(
            "IAMPolicy/TestIamPermissions",
            iam_policy_pb2.TestIamPermissionsResponse,
            package="google.iam.v1",
        )
        self._pull = calls.unary("Subscriber/Pull", types.PullResponse.pb())
        self._acknowledge = calls.unary("Subscriber/Acknowledge", None)
        self._modify = calls.unary("Subscriber/ModifyAckDeadline", None)
        self._publish = calls.unary("Publisher/Publish", types.PublishResponse.pb())

    def describe_subscription(self, path: str) -> Subscription:
        """Asks for a subscription; raises grpc.RpcError if there is none or it may not be seen."""
        request = types.GetSubscriptionRequest.pb()(subscription=path)
        found = self._get_subscription(request, _ASK_SECS, _routed("subscription", path))
        return Subscription(
            found.topic,
            float(found.ack_deadline_seconds or 10),
            _delivers_to(found),
            found.detached,
        )

    def check_topic(self, path: str) -> None:
        """Asks for a topic; raises grpc.RpcError if there is none or it may not be seen."""
        request = types.GetTopicRequest.pb()(topic=path)
        self._get_topic(request, _ASK_SECS, _routed("topic", path))

    def may(self, path: str, permission: str) -> bool | None:
        """Whether we have a permission on a subscription or topic; None if nobody says.

        An emulator, which has no permissions, says nothing. It raises grpc.RpcError.
        """
        request = iam_policy_pb2.TestIamPermissionsRequest(resource=path, permissions=[permission])
        try:
            found = self._test_permissions(request, _ASK_SECS, _routed("resource", path))
        except grpc.RpcError as error:
            if isinstance(error, grpc.Call) and error.code() == grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise
        return permission in found.permissions

    def start_pull(self, path: str, max_messages: int, timeout_secs: float) -> "Future[Any]":
        """Asks for messages; the call waits at the service until there are some."""
        request = types.PullRequest.pb()(subscription=path, max_messages=max_messages)
        metadata = _routed("subscription", path)
        future: Future[Any] = self._pull.future(request, timeout_secs, metadata)
        return future

    def acknowledge(self, path: str, ack_ids: Sequence[str]) -> None:
        """Tells that messages are done with; raises grpc.RpcError."""
        make = types.AcknowledgeRequest.pb()
        for ids in _chunks(ack_ids):
            request = make(subscription=path, ack_ids=ids)
            self._acknowledge(request, _CALL_SECS, _routed("subscription", path))

    def extend(self, path: str, ack_ids: Sequence[str], secs: float) -> None:
        """Leases messages for so many seconds from now; 0 hands them back."""
        make = types.ModifyAckDeadlineRequest.pb()
        for ids in _chunks(ack_ids):
            request = make(subscription=path, ack_ids=ids, ack_deadline_seconds=int(secs))
            self._modify(request, _CALL_SECS, _routed("subscription", path))

    def publish(self, topic: str, messages: Sequence[Any]) -> None:
        """Publishes at most 1,000 messages and 10 MB in one request; raises grpc.RpcError."""
        request = PublishRequest(topic=topic, messages=messages)
        self._publish(request, _CALL_SECS, _routed("topic", topic))


@lru_cache(maxsize=1)
def client() -> PubsubClient:
    """The client of this process; a channel serves all threads."""
    return PubsubClient()


class _Calls:
    def __init__(self, channel: grpc.Channel):
        self._channel = channel

    def unary(self, name: str, answer: Any, package: str = "google.pubsub.v1") -> Any:
        parse: Callable[[bytes], Any] = bytes if answer is None else answer.FromString
        return self._channel.unary_unary(
            f"/{package}.{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=parse,
        )


def _channel() -> grpc.Channel:
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    if emulator:
        return grpc.insecure_channel(emulator, options=_OPTIONS)
    channel: grpc.Channel = grpc_helpers.create_channel(
        _HOST, default_scopes=_SCOPES, options=_OPTIONS
    )
    return channel


def _delivers_to(found: Any) -> str:
    if found.push_config.push_endpoint:
        return "an endpoint"
    fields = {field.name for field, _ in found.ListFields()}
    return next((place for name, place in _DELIVERIES.items() if name in fields), "")


def _routed(key: str, path: str) -> tuple[tuple[str, str], ...]:
    return (("x-goog-request-params", f"{key}={path}"),)


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _MAX_IDS] for start in range(0, len(ids), _MAX_IDS)]
