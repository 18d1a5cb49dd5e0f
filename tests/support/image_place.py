"""Buckets, queues and a topic of a test's own on LocalStack, wired as the Core template wires them."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from deploy.local import localstack as launcher
from image_svc.adapters.s3 import S3ObjectStore, config
from image_svc.adapters.sqs import SqsQueue
from runtime import aws_http
from runtime.aws import AwsSettings
from runtime.aws_http import AwsHttp
from tests.support.eventually import eventually
from tests.support.localstack import LocalStack


@dataclass(frozen=True)
class Place:
    """Where image_svc works. `s3`, `sqs`, `sns` and `secrets` are clients."""

    incoming: str
    media: str
    queue_url: str
    dlq_url: str
    topic_arn: str
    s3: Any
    sqs: Any
    sns: Any
    secrets: Any
    http: dict[str, AwsHttp]

    @property
    def store(self) -> S3ObjectStore:
        return store(self.http["s3"], self.s3, self.incoming, self.media)

    @property
    def queue(self) -> SqsQueue:
        return SqsQueue(self.http["sqs"], self.queue_url)

    @property
    def dead_letters(self) -> SqsQueue:
        return SqsQueue(self.http["sqs"], self.dlq_url)

    async def keys(self, bucket: str, prefix: str = "") -> dict[str, str]:
        """Every version of every object under a prefix: key and version to ETag; delete markers count."""
        found = {}
        async for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                found[f"{version['Key']}@{version['VersionId']}"] = version.get("ETag", "marker")
        return found

    async def variants(self, prefix: str) -> dict[str, bytes]:
        """The newest version of every variant under a prefix."""
        listed = await self.s3.list_objects_v2(Bucket=self.media, Prefix=prefix)
        found = {}
        for entry in listed.get("Contents", ()):
            answer = await self.s3.get_object(Bucket=self.media, Key=entry["Key"])
            found[entry["Key"]] = await answer["Body"].read()
        return found

    async def depth(self, url: str | None = None) -> tuple[int, int]:
        """How many messages of a queue are visible, and how many are in somebody's hand."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await self.sqs.get_queue_attributes(QueueUrl=url or self.queue_url, AttributeNames=names)
        visible, in_hand = (int(answer["Attributes"][name]) for name in names)
        return visible, in_hand

    async def empty(self, within: float = 60) -> None:
        """Waits until the queue has no message, in nobody's hand either."""

        async def none() -> bool:
            return not sum(await self.depth())

        await eventually(none, within=within)


@asynccontextmanager
async def place(localstack: LocalStack, *, versioned: bool = False, notify: bool = True) -> AsyncIterator[Place]:
    """A place of its own; LocalStack forgets it when it ends."""
    name = secrets.token_hex(5)
    s3_config = AioConfig(signature_version="s3v4", max_pool_connections=20).merge(config("path"))
    async with AsyncExitStack() as stack:
        clients = {}
        for service in ("s3", "sqs", "sns", "secretsmanager"):
            clients[service] = await stack.enter_async_context(
                get_session().create_client(
                    service,
                    region_name=localstack.region,
                    endpoint_url=localstack.endpoint_url,
                    config=s3_config if service == "s3" else None,
                )
            )
        s3, sqs = clients["s3"], clients["sqs"]
        http = {name: await requests(stack, name, localstack.endpoint_url) for name in ("s3", "sqs")}
        dlq = await sqs.create_queue(QueueName=f"dlq-{name}")
        dlq_arn = await _arn(sqs, dlq["QueueUrl"])
        redrive = json.dumps({"deadLetterTargetArn": dlq_arn, "maxReceiveCount": 20})
        queue = await sqs.create_queue(QueueName=f"images-{name}", Attributes={"RedrivePolicy": redrive})
        topic = await clients["sns"].create_topic(Name=f"events-{name}")
        for bucket in ("incoming", "media"):
            await s3.create_bucket(
                Bucket=f"{bucket}-{name}", CreateBucketConfiguration={"LocationConstraint": localstack.region}
            )
            if versioned:
                await s3.put_bucket_versioning(Bucket=f"{bucket}-{name}", VersioningConfiguration={"Status": "Enabled"})
        if notify:
            rule = {"FilterRules": [{"Name": "prefix", "Value": "incoming/"}]}
            await s3.put_bucket_notification_configuration(
                Bucket=f"incoming-{name}",
                NotificationConfiguration={
                    "QueueConfigurations": [
                        {
                            "QueueArn": await _arn(sqs, queue["QueueUrl"]),
                            "Events": ["s3:ObjectCreated:*"],
                            "Filter": {"Key": rule},
                        }
                    ]
                },
            )
        yield Place(
            incoming=f"incoming-{name}",
            media=f"media-{name}",
            queue_url=queue["QueueUrl"],
            dlq_url=dlq["QueueUrl"],
            topic_arn=topic["TopicArn"],
            s3=s3,
            sqs=sqs,
            sns=clients["sns"],
            secrets=clients["secretsmanager"],
            http=http,
        )


def store(http: AwsHttp, s3: Any, incoming: str, media: str) -> S3ObjectStore:
    """The two buckets of an emulator."""

    async def removals() -> Any:
        return s3

    return S3ObjectStore(http, removals, incoming_bucket=incoming, media_bucket=media, path_style=True)


async def requests(stack: AsyncExitStack, service: str, endpoint_url: str) -> AwsHttp:
    """Requests to a service somewhere, with the credentials of this process's environment."""
    where: dict[str, Any] = {"AWS_ENDPOINT_URL": endpoint_url, "AWS_REGION": launcher.REGION}
    return await aws_http.opened(stack, get_session(), service, AwsSettings(**where), connections=20)


async def _arn(sqs: Any, url: str) -> str:
    answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])
