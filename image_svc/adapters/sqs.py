"""One SQS queue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from image_svc.adapters.aws_errors import ClientError, code_of, reaching
from image_svc.domain.model import Message
from image_svc.ports import ReceiptLost

_SQS: Final = "SQS"
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
    """`Queue` over an SQS client."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self._url = url

    async def verify(self) -> None:
        """Raises `Unreachable`, or `LookupError` where there is no such queue or it is not ours to use."""
        with reaching(_SQS):
            try:
                await self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
            except ClientError as error:
                if code_of(error).startswith("5"):
                    raise
                raise LookupError(f"queue {self._url!r} cannot be used: {error}") from None

    async def receive(self, *, most: int, wait: float, visibility: float) -> list[Message]:
        """See `Queue`."""
        with reaching(_SQS):
            answer = await self._sqs.receive_message(
                QueueUrl=self._url,
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
            answer = await self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)],
            )
        return [receipts[int(entry["Id"])] for entry in answer.get("Failed", ())]

    async def keep(self, receipt: str, seconds: float) -> None:
        """See `Queue`. Whole seconds, rounded up: that is all SQS has."""
        with reaching(_SQS):
            try:
                await self._sqs.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=_whole(seconds)
                )
            except ClientError as error:
                if code_of(error) in _LOST:
                    raise ReceiptLost(code_of(error)) from None
                raise

    async def waiting(self) -> int:
        """About how many messages wait to be received."""
        with reaching(_SQS):
            answer = await self._sqs.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    async def send(self, body: str) -> str:
        """See `Queue`."""
        with reaching(_SQS):
            answer = await self._sqs.send_message(QueueUrl=self._url, MessageBody=body)
        return str(answer["MessageId"])


def _whole(seconds: float) -> int:
    return min(_LONGEST, max(0, math.ceil(seconds)))
