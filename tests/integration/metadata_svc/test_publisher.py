"""What the outbox holds, at LocalStack's queue and topic: whole, in order, and kept where it was not taken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiobotocore.session import get_session

from metadata_svc.adapters.publisher import AwsPublisher
from metadata_svc.ports import Outgoing
from runtime import aws, aws_http
from runtime.aws import AwsSettings
from tests.support.localstack import LocalStack

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Ends:
    """Where a publisher sends to, and what came out there."""

    stack: AsyncExitStack
    sqs: Any
    queue_url: str
    events_url: str
    topic_arn: str

    async def publisher(self, **other: str) -> AwsPublisher:
        """One for these ends, but for what is named."""
        sqs, sns = [
            await aws_http.opened(self.stack, get_session(), name, AwsSettings(), connections=1)
            for name in ("sqs", "sns")
        ]
        return AwsPublisher(sqs, sns, **{"queue_url": self.queue_url, "topic_arn": self.topic_arn, **other})

    async def received(self, url: str, count: int) -> list[dict[str, Any]]:
        """So many messages of a queue, by body; fewer where no more come."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            answer = await self.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2, MessageAttributeNames=["All"]
            )
            if not answer.get("Messages"):
                break
            for message in answer["Messages"]:
                attributes = message.get("MessageAttributes", {}).items()
                found.append(
                    {**json.loads(message["Body"]), "attributes": {k: v["StringValue"] for k, v in attributes}}
                )
                await self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture
async def ends(localstack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ends]:
    for name, value in localstack.environment.items():
        monkeypatch.setenv(name, value)
    async with AsyncExitStack() as stack:
        sqs, sns = [await aws.client(stack, aws.session(), name, AwsSettings()) for name in ("sqs", "sns")]
        urls = [(await sqs.create_queue(QueueName=f"q{uuid4().hex[:8]}"))["QueueUrl"] for _ in range(2)]
        topic = (await sns.create_topic(Name=f"t{uuid4().hex[:8]}"))["TopicArn"]
        described = await sqs.get_queue_attributes(QueueUrl=urls[1], AttributeNames=["QueueArn"])
        await sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=described["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        yield Ends(stack, sqs, urls[0], urls[1], topic)


def outgoing(kind: str, number: int, data: str | None = None) -> Outgoing:
    return Outgoing(uuid4(), kind, uuid4(), UUID(int=number), data, "", START + timedelta(seconds=number), 1)


async def test_events_reach_the_topic_whole_with_what_subscribers_filter_by(ends: Ends) -> None:
    text = {"filename": "a&b=c+d %20;é\"'<>\n\U0001f4f7.jpg"}
    events = [outgoing("image.ready", number, json.dumps(text | {"number": number})) for number in range(23)]
    assert await (await ends.publisher()).publish(events) == {event.id for event in events}
    found = await ends.received(ends.events_url, 23)
    assert sorted(one["data"]["number"] for one in found) == list(range(23))
    for one in found:
        sent = events[one["data"]["number"]]
        assert one["id"] == f"evt_{sent.id.hex}"
        assert one["data"]["filename"] == text["filename"]
        assert one["attributes"] == {"tenant_id": str(sent.tenant_id), "type": "image.ready"}


async def test_commands_reach_the_queue(ends: Ends) -> None:
    commands = [outgoing("darkroom.purge/1", number) for number in range(12)]
    assert await (await ends.publisher()).publish(commands) == {command.id for command in commands}
    found = await ends.received(ends.queue_url, 12)
    assert {one["image_id"] for one in found} == {str(command.image_id) for command in commands}
    assert {one["schema"] for one in found} == {"darkroom.purge/1"}


async def test_what_one_end_does_not_take_is_not_said_to_be_sent(ends: Ends) -> None:
    command, event = outgoing("darkroom.purge/1", 1), outgoing("image.ready", 2, "{}")
    without_topic = await ends.publisher(topic_arn=f"{ends.topic_arn}-none")
    assert await without_topic.publish([command, event]) == {command.id}
    without_queue = await ends.publisher(queue_url=f"{ends.queue_url}-none")
    assert await without_queue.publish([command, event]) == {event.id}
