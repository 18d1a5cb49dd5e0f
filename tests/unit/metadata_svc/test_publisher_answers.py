"""A batch that SQS or SNS takes in part."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from metadata_svc.adapters.publisher import AwsPublisher
from metadata_svc.ports import Outgoing

_XML = b"""<?xml version="1.0"?>
<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult>
<Failed><member><Id>1</Id><Code>InternalError</Code><Message>Later.</Message><SenderFault>false</SenderFault></member>
</Failed>
<Successful><member><MessageId>a</MessageId><Id>0</Id></member><member><MessageId>b</MessageId><Id>2</Id></member>
</Successful></PublishBatchResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishBatchResponse>"""


class Answering:
    """An `AwsHttp` that takes the first and the third of a batch."""

    async def call(self, target: str, parameters: Mapping[str, Any], *, content_type: str) -> dict[str, Any]:
        assert target == "AmazonSQS.SendMessageBatch"
        return {
            "Successful": [{"Id": "0", "MessageId": "a"}, {"Id": "2", "MessageId": "b"}],
            "Failed": [{"Id": "1", "Code": "InternalError", "Message": "Later.", "SenderFault": False}],
        }

    async def query(self, parameters: Mapping[str, str]) -> bytes:
        assert parameters["Action"] == "PublishBatch"
        return _XML


async def test_what_was_refused_of_a_batch_is_not_said_to_be_sent() -> None:
    http: Any = Answering()
    publisher = AwsPublisher(http, http, queue_url="q", topic_arn="t")
    for kind in ("darkroom.purge/1", "image.ready"):
        batch = [Outgoing(uuid4(), kind, uuid4(), uuid4(), "{}", "", datetime.now(UTC), 1) for _ in range(3)]
        assert await publisher.publish(batch) == {batch[0].id, batch[2].id}
