"""The queue that drives the processing, and its dead-letter queue."""

from __future__ import annotations

from typing import Any, Final

from aws_cdk import aws_sqs
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.key import Key
from deploy.cdk.settings import Environment

# Attempts are counted in the database (5); this is only the backstop, and a message that is handed back does not count
# there but does here.
MAX_RECEIVES: Final = 20
# Seconds. A message's age in the dead-letter queue counts from its first enqueue, so the source's must be well below.
RETENTION: Final = 4 * 86_400
DEAD_LETTER_RETENTION: Final = 14 * 86_400  # SQS's longest
LONG_POLL: Final = 20  # SQS's longest
DATA_KEY_REUSE: Final = 3_600  # fewer calls to KMS; bounds how long a revoked key still works


class Queues(Construct):
    """Queue and dead-letter queue. Encrypted; TLS only; only the incoming bucket may send from outside the account's
    own policies; the dead-letter queue takes dead letters of this queue alone.
    """

    def __init__(
        self, scope: Construct, construct_id: str, env: Environment, *, source_bucket: str, key: Key | None
    ) -> None:
        super().__init__(scope, construct_id)
        name, dead_name = names.resource(env, "images"), names.resource(env, "images-dlq")
        encryption: dict[str, Any] = (
            {"sqs_managed_sse_enabled": True}
            if key is None
            else {"kms_master_key_id": key.arn, "kms_data_key_reuse_period_seconds": DATA_KEY_REUSE}
        )
        self.dead = aws_sqs.CfnQueue(
            self,
            "Dead",
            queue_name=dead_name,
            message_retention_period=DEAD_LETTER_RETENTION,
            # By its name, not by reference: each queue would wait for the other.
            redrive_allow_policy={
                "redrivePermission": "byQueue",
                "sourceQueueArns": [names.arn(env, "sqs", name)],
            },
            **encryption,
        )
        self.queue = aws_sqs.CfnQueue(
            self,
            "Queue",
            queue_name=name,
            message_retention_period=RETENTION,
            receive_message_wait_time_seconds=LONG_POLL,
            visibility_timeout=env.visibility_seconds,
            redrive_policy={"deadLetterTargetArn": self.dead.attr_arn, "maxReceiveCount": MAX_RECEIVES},
            **encryption,
        )
        if key is None:
            for queue in (self.queue, self.dead):
                acknowledge(
                    queue,
                    "CKV_AWS_27",
                    reason="It is encrypted with SQS's own key (SqsManagedSseEnabled), which this check does not know. "
                    "A key of the account's own is the setting encryption = kms.",
                )
        self.policy = aws_sqs.CfnQueuePolicy(
            self,
            "Policy",
            queues=[self.queue.ref],
            policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    _tls_only(self.queue.attr_arn),
                    {
                        "Sid": "UploadsAnnounceThemselves",
                        "Effect": "Allow",
                        "Principal": {"Service": "s3.amazonaws.com"},
                        "Action": "sqs:SendMessage",
                        "Resource": self.queue.attr_arn,
                        "Condition": {
                            "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{source_bucket}"},
                            "StringEquals": {"aws:SourceAccount": env.account},
                        },
                    },
                ],
            },
        )
        aws_sqs.CfnQueuePolicy(
            self,
            "DeadPolicy",
            queues=[self.dead.ref],
            policy_document={"Version": "2012-10-17", "Statement": [_tls_only(self.dead.attr_arn)]},
        )


def _tls_only(arn: str) -> dict[str, Any]:
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": arn,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
