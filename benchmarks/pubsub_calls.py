"""Turns Pub/Sub's calls into functions on plain protocol buffers, for one emulator.

Google's own client wraps each message in a Python object, which costs more than all that is done
with it here. Publisher, subscriber and the loop without Beam all use these calls, so that a ratio
is not won by a slower client of the others.
"""

import os
from typing import Any

import grpc
from google.pubsub_v1 import types

MAX_MESSAGES = 1_000  # of one request, to publish or to acknowledge
CALL_SECS = 30.0
PULL_SECS = 30.0  # how long a pull waits; the service gives an empty answer just before

PubsubMessage = types.PubsubMessage.pb()
_PublishRequest = types.PublishRequest.pb()
_PullRequest = types.PullRequest.pb()
_AcknowledgeRequest = types.AcknowledgeRequest.pb()
_ModifyAckDeadlineRequest = types.ModifyAckDeadlineRequest.pb()


class PubsubCalls:
    """The calls of one process to the emulator that PUBSUB_EMULATOR_HOST names."""

    def __init__(self) -> None:
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        options.append(("grpc.enable_http_proxy", 0))
        channel = grpc.insecure_channel(os.environ["PUBSUB_EMULATOR_HOST"], options)
        self._publish = _call(channel, "Publisher/Publish", types.PublishResponse.pb())
        self._pull = _call(channel, "Subscriber/Pull", types.PullResponse.pb())
        self._acknowledge = _call(channel, "Subscriber/Acknowledge", None)
        self._modify = _call(channel, "Subscriber/ModifyAckDeadline", None)

    def publish(self, topic: str, messages: list[Any]) -> None:
        """Publishes at most MAX_MESSAGES messages; raises grpc.RpcError."""
        self._publish(_PublishRequest(topic=topic, messages=messages), timeout=CALL_SECS)

    def start_publish(self, topic: str, messages: list[Any]) -> Any:
        """Starts to publish; gives a future."""
        request = _PublishRequest(topic=topic, messages=messages)
        return self._publish.future(request, timeout=CALL_SECS)

    def pull(self, subscription: str) -> list[Any]:
        """Waits for messages and gives those that have come, none after PULL_SECS."""
        request = _PullRequest(subscription=subscription, max_messages=MAX_MESSAGES)
        try:
            return list(self._pull(request, timeout=PULL_SECS).received_messages)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                return []
            raise

    def acknowledge(self, subscription: str, ack_ids: list[str]) -> None:
        """Acknowledges deliveries; raises grpc.RpcError."""
        for ids in _chunks(ack_ids):
            request = _AcknowledgeRequest(subscription=subscription, ack_ids=ids)
            self._acknowledge(request, timeout=CALL_SECS)

    def extend(self, subscription: str, ack_ids: list[str], secs: int) -> None:
        """Leases deliveries for so many seconds from now; 0 hands them back."""
        for ids in _chunks(ack_ids):
            request = _ModifyAckDeadlineRequest(
                subscription=subscription, ack_ids=ids, ack_deadline_seconds=secs
            )
            self._modify(request, timeout=CALL_SECS)


def _call(channel: grpc.Channel, name: str, answer: Any) -> Any:
    return channel.unary_unary(
        f"/google.pubsub.v1.{name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=answer.FromString if answer else bytes,
    )


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + MAX_MESSAGES] for start in range(0, len(ids), MAX_MESSAGES)]
