"""SQS and SNS: where the outbox's messages go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID
from xml.etree import ElementTree as ET

import msgspec
import structlog
from darkroom.image.v1 import command_pb2
from google.protobuf.json_format import MessageToJson

from metadata_svc.domain.events import COMMANDS, rfc3339
from metadata_svc.domain.keys import media_prefix, original_key
from metadata_svc.ports import Outgoing
from runtime.aws_http import AwsHttp

_log = structlog.get_logger(__name__)

_BATCH: Final = 10  # SendMessageBatch and PublishBatch take no more
_SQS_JSON: Final = "application/x-amz-json-1.0"
_SNS_VERSION: Final = "2010-03-31"  # the only one; SNS speaks no JSON
_encoder: Final = msgspec.json.Encoder()


class AwsPublisher:
    """A `Publisher`: commands to a queue, events to a topic."""

    def __init__(self, sqs: AwsHttp, sns: AwsHttp, *, queue_url: str, topic_arn: str) -> None:
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
            answer = await self._sqs.call(
                "AmazonSQS.SendMessageBatch",
                {"QueueUrl": self._queue_url, "Entries": entries},
                content_type=_SQS_JSON,
            )
            refused = [(failure.get("Code"), failure.get("Message")) for failure in answer.get("Failed", ())]
            taken = [entry["Id"] for entry in answer.get("Successful", ())]
        except Exception as error:  # whatever it was: the messages stay in the outbox
            _log.warning("queue not reachable", error=repr(error))
            return set()
        return _taken(messages, taken, refused)

    async def _publish(self, messages: Sequence[Outgoing]) -> set[UUID]:
        parameters = {"Action": "PublishBatch", "Version": _SNS_VERSION, "TopicArn": self._topic_arn}
        for number, message in enumerate(messages):
            entry = f"PublishBatchRequestEntries.member.{number + 1}"
            parameters[f"{entry}.Id"] = str(number)
            parameters[f"{entry}.Message"] = event(message)
            attributes = (("tenant_id", str(message.tenant_id)), ("type", message.kind))
            for place, (name, value) in enumerate(attributes, 1):
                attribute = f"{entry}.MessageAttributes.entry.{place}"
                parameters[f"{attribute}.Name"] = name
                parameters[f"{attribute}.Value.DataType"] = "String"
                parameters[f"{attribute}.Value.StringValue"] = value
        try:
            answer = ET.fromstring(await self._sns.query(parameters))  # noqa: S314  # AWS's own
            refused = [
                (failure.findtext("{*}Code"), failure.findtext("{*}Message"))
                for failure in answer.iterfind(".//{*}Failed/{*}member")
            ]
            taken = [found.text or "" for found in answer.iterfind(".//{*}Successful/{*}member/{*}Id")]
        except Exception as error:  # whatever it was: the messages stay in the outbox
            _log.warning("topic not reachable", error=repr(error))
            return set()
        return _taken(messages, taken, refused)


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


def _taken(
    messages: Sequence[Outgoing], taken: Iterable[str], refused: Iterable[tuple[str | None, str | None]]
) -> set[UUID]:
    for code, reason in refused:
        _log.warning("message refused", code=code, reason=reason)
    return {messages[int(number)].id for number in taken}


def _slices(messages: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
    return [messages[start : start + _BATCH] for start in range(0, len(messages), _BATCH)]
