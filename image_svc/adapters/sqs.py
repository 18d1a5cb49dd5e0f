"""One SQS queue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from image_svc.adapters.aws_errors import Refused, reaching
from image_svc.domain.model import Message
from image_svc.ports import ReceiptLost
from runtime.aws_http import AwsHttp

_SQS: Final = "SQS"
_SERVER_ERROR: Final = 500
_JSON: Final = "application/x-amz-json-1.0"
# The longest that SQS hides a message for.
_LONGEST: Final = 43_200
# The receipt is no longer good: the message was deleted, became visible, or was received again.
_LOST: Final = frozenset(
    {
        "InvalidParameterValue",
        "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
        "ReceiptHandleIsInvalid",
    }
)


class SqsQueue:
    """`Queue` in SQS's JSON protocol."""

    def __init__(self, http: AwsHttp, url: str) -> None:
        self._http = http
        self._url = url

    async def verify(self) -> None:
        """Raises `Unreachable`, or `LookupError` where there is no such queue or it is not ours to use."""
        with reaching(_SQS):
            try:
                await self._call("GetQueueAttributes", AttributeNames=["QueueArn"])
            except Refused as error:
                if error.status >= _SERVER_ERROR:
                    raise
                raise LookupError(f"queue {self._url!r} cannot be used: {error}") from None

    async def receive(self, *, most: int, wait: float, visibility: float) -> list[Message]:
        """See `Queue`."""
        with reaching(_SQS):
            answer = await self._call(
                "ReceiveMessage",
                MaxNumberOfMessages=most,
                WaitTimeSeconds=math.floor(wait),
                VisibilityTimeout=_whole(visibility),
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        return [
            Message(
                id=message["MessageId"],
                receipt=message["ReceiptHandle"],
                body=message["Body"],
                receives=int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
                # Of its first sending, in milliseconds: a move to another queue keeps it.
                sent_at=int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000,
            )
            for message in answer.get("Messages", ())
        ]

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        """See `Queue`."""
        with reaching(_SQS):
            answer = await self._call(
                "DeleteMessageBatch",
                Entries=[{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)],
            )
        return [receipts[int(entry["Id"])] for entry in answer.get("Failed", ())]

    async def keep(self, receipt: str, seconds: float) -> None:
        """See `Queue`. Whole seconds, rounded up: that is all SQS has."""
        with reaching(_SQS):
            try:
                await self._call("ChangeMessageVisibility", ReceiptHandle=receipt, VisibilityTimeout=_whole(seconds))
            except Refused as error:
                if error.code in _LOST:
                    raise ReceiptLost(error.code) from None
                raise

    async def waiting(self) -> int:
        """About how many messages wait to be received."""
        with reaching(_SQS):
            answer = await self._call("GetQueueAttributes", AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    async def send(self, body: str) -> str:
        """See `Queue`."""
        with reaching(_SQS):
            answer = await self._call("SendMessage", MessageBody=body)
        return str(answer["MessageId"])

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return await self._http.call(
            f"AmazonSQS.{operation}", {"QueueUrl": self._url, **parameters}, content_type=_JSON
        )


def _whole(seconds: float) -> int:
    return min(_LONGEST, max(0, math.ceil(seconds)))
