"""The queue's alarms."""

from __future__ import annotations

from typing import Final

from aws_cdk import aws_cloudwatch
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.queues import Queues
from deploy.cdk.settings import Environment

# SQS refuses to hand out more than 120,000 messages at once: at this many, the workers hold what they do not finish.
IN_FLIGHT: Final = 90_000


class QueueAlarms(Construct):
    """Dead letters, a backlog that grows old, and messages in flight near SQS's limit; all tell the alarm topic.

    A queue without traffic sends no metrics: that is not an alarm.
    """

    def __init__(
        self, scope: Construct, construct_id: str, env: Environment, *, queues: Queues, topic_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        self._env = env
        self._topic = topic_arn
        queue, dead = queues.queue.attr_queue_name, queues.dead.attr_queue_name
        self._alarm(
            "DeadLetters",
            "dead-letters",
            "A message was received 20 times without success; its image is FAILED. Inspect, classify, redrive.",
            metric="ApproximateNumberOfMessagesVisible",
            queue=dead,
            threshold=1,
            minutes=1,
        )
        self._alarm(
            "Backlog",
            "backlog-age",
            "Uploads wait longer than they should: are the workers running, and are there enough of them?",
            metric="ApproximateAgeOfOldestMessage",
            queue=queue,
            threshold=env.backlog_alarm_seconds,
            minutes=3,
        )
        self._alarm(
            "InFlight",
            "in-flight",
            "The workers hold more messages than they finish; SQS hands out no more than 120,000 at once.",
            metric="ApproximateNumberOfMessagesNotVisible",
            queue=queue,
            threshold=IN_FLIGHT,
            minutes=3,
        )

    def _alarm(
        self, construct_id: str, unit: str, description: str, *, metric: str, queue: str, threshold: int, minutes: int
    ) -> None:
        aws_cloudwatch.CfnAlarm(
            self,
            construct_id,
            alarm_name=names.resource(self._env, unit),
            alarm_description=description,
            namespace="AWS/SQS",
            metric_name=metric,
            dimensions=[aws_cloudwatch.CfnAlarm.DimensionProperty(name="QueueName", value=queue)],
            statistic="Maximum",
            period=60,
            evaluation_periods=minutes,
            datapoints_to_alarm=minutes,
            threshold=threshold,
            comparison_operator="GreaterThanOrEqualToThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=[self._topic],
            ok_actions=[self._topic],
        )
