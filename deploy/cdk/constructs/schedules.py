"""EventBridge Scheduler: a group of schedules with a queue for what could not be done, and an alarm on that queue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aws_cdk import aws_scheduler, aws_sqs
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.roles import Statement
from deploy.cdk.settings import AwsEnvironment

RETENTION: Final = 14 * 86_400  # seconds; SQS's longest
ATTEMPTS: Final = 5  # repeats by the scheduler, with back-off
TIME_ZONE: Final = "Asia/Seoul"  # of the business, as deploy/capacity/data/calendar.toml


class Schedules(Construct):
    """What could not be started ends up in `darkroom-<stage>-schedules-dlq`."""

    def __init__(self, scope: Construct, construct_id: str, env: AwsEnvironment, *, key: Key | None) -> None:
        super().__init__(scope, construct_id)
        self.group = aws_scheduler.CfnScheduleGroup(self, "Group", name=names.resource(env, "schedules"))
        self.dead_name = names.resource(env, "schedules-dlq")
        self.dead = aws_sqs.CfnQueue(
            self,
            "Dead",
            queue_name=self.dead_name,
            message_retention_period=RETENTION,
            **({"sqs_managed_sse_enabled": True} if key is None else {"kms_master_key_id": key.arn}),
        )
        acknowledge(
            self.dead,
            "AwsSolutions-SQS3",
            reason="It is a dead-letter queue itself: the scheduler's, which names it in every schedule.",
        )
        if key is None:
            acknowledge(
                self.dead,
                "CKV_AWS_27",
                reason="It is encrypted with SQS's own key (SqsManagedSseEnabled), which this check does not know. "
                "A key of the account's own is the setting encryption = kms.",
            )
        aws_sqs.CfnQueuePolicy(
            self,
            "DeadPolicy",
            queues=[self.dead.ref],
            policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "TlsOnly",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "sqs:*",
                        "Resource": self.dead.attr_arn,
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ],
            },
        )
        self.dead_letter = Statement(actions=("sqs:SendMessage",), resources=(names.arn(env, "sqs", self.dead_name),))

    def add(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        unit: str,
        expression: str,
        description: str,
        target: Mapping[str, Any],
        minutes: int,
        start: datetime | None = None,
    ) -> aws_scheduler.CfnSchedule:
        """A schedule named `darkroom-<stage>-<unit>`. What is not started within `minutes` is dropped into the queue:
        the next run does its work, or the moment has passed.
        """
        return aws_scheduler.CfnSchedule(
            scope,
            construct_id,
            name=names.resource(env, unit),
            group_name=self.group.ref,
            description=description,
            schedule_expression=expression,
            schedule_expression_timezone=TIME_ZONE,
            start_date=None if start is None else f"{start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            flexible_time_window={"mode": "OFF"},
            target={
                "retryPolicy": {"maximumRetryAttempts": ATTEMPTS, "maximumEventAgeInSeconds": minutes * 60},
                "deadLetterConfig": {"arn": self.dead.attr_arn},
                **target,
            },
        )


def payload(values: Mapping[str, Any]) -> str:
    """The input of a universal target: the parameters of the API call, as JSON."""
    return json.dumps(values, separators=(",", ":"))
