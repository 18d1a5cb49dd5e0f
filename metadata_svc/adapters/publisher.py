"""SQS and SNS: where the outbox's messages go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from darkroom.image.v1 import command_pb2
from google.protobuf.json_format import MessageToJson

from metadata_svc.domain.events import COMMANDS, rfc3339
from metadata_svc.domain.keys import media_prefix, original_key
from metadata_svc.ports import Outgoing

_log = structlog.get_logger(__name__)

_BATCH: Final = 10  # SendMessageBatch and PublishBatch take no more
_encoder: Final = msgspec.json.Encoder()


class AwsPublisher:
    """A `Publisher`: commands to a queue, events to a topic."""

    def __init__(self, sqs: Any, sns: Any, *, queue_url: str, topic_arn: str) -> None:
        self._sqs = sqs
        self._sns = sns
        self._queue_url = queue_url
        self._topic_arn = topic_arn

    async def publish(self, messages: Sequence[Outgoing]) -> set[UUID]:
        """Sends what it can, in the given order; returns the ids of what was taken. It does not raise."""
        commands = [message for message in messages if message.kind in COMMANDS]
        events = [message for message in messages if message.kind not in COMMANDS]
        sent: set[UUID] = set()
        for few in _slices(commands):
            sent |= await self._send(few)
        for few in _slices(events):
            sent |= await self._publish(few)
        return sent

    async def _send(self, messages: Sequence[Outgoing]) -> set[UUID]:
        entries = [{"Id": str(number), "MessageBody": command(m)} for number, m in enumerate(messages)]
        try:
            answer = await self._sqs.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        except Exception as error:  # whatever it was: the messages stay in the outbox
            _log.warning("queue not reachable", error=repr(error))
            return set()
        return _taken(messages, answer)

    async def _publish(self, messages: Sequence[Outgoing]) -> set[UUID]:
        entries = [
            {
                "Id": str(number),
                "Message": event(m),
                "MessageAttributes": {
                    "tenant_id": {"DataType": "String", "StringValue": str(m.tenant_id)},
                    "type": {"DataType": "String", "StringValue": m.kind},
                },
            }
            for number, m in enumerate(messages)
        ]
        try:
            answer = await self._sns.publish_batch(TopicArn=self._topic_arn, PublishBatchRequestEntries=entries)
        except Exception as error:  # whatever it was: the messages stay in the outbox
            _log.warning("topic not reachable", error=repr(error))
            return set()
        return _taken(messages, answer)


def command(message: Outgoing) -> str:
    """The body of a queue message: `darkroom.image.v1.Command` in protobuf's JSON form."""
    return MessageToJson(
        command_pb2.Command(
            schema=message.kind,
            tenant_id=str(message.tenant_id),
            image_id=str(message.image_id),
            original_key=original_key(message.tenant_id, message.image_id),
            media_prefix=media_prefix(message.tenant_id, message.image_id),
            traceparent=message.traceparent,
        ),
        preserving_proto_field_name=True,
        indent=None,
    )


def event(message: Outgoing) -> str:
    """The body of an event, in the shape of Standard Webhooks (https://www.standardwebhooks.com): the same id however
    often it is sent.
    """
    return _encoder.encode(
        {
            "id": f"evt_{message.id.hex}",
            "type": message.kind,
            "timestamp": rfc3339(message.created_at),
            "data": msgspec.Raw((message.data or "{}").encode()),
        }
    ).decode()


def _taken(messages: Sequence[Outgoing], answer: Mapping[str, Any]) -> set[UUID]:
    for failure in answer.get("Failed", ()):
        _log.warning("message refused", code=failure.get("Code"), reason=failure.get("Message"))
    return {messages[int(entry["Id"])].id for entry in answer.get("Successful", ())}


def _slices(messages: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
    return [messages[start : start + _BATCH] for start in range(0, len(messages), _BATCH)]
