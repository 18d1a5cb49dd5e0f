"""The queue's alarms."""

from __future__ import annotations

from typing import Final

from constructs import Construct

from deploy.cdk.constructs.metric_alarm import metric_alarm
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
        queue, dead = queues.queue.attr_queue_name, queues.dead.attr_queue_name
        for logical, unit, description, metric, name, threshold, minutes in (
            (
                "DeadLetters",
                "dead-letters",
                "A message was received 20 times without success; its image is FAILED. Inspect, classify, redrive.",
                "ApproximateNumberOfMessagesVisible",
                dead,
                1,
                1,
            ),
            (
                "Backlog",
                "backlog-age",
                "Uploads wait longer than they should: are the workers running, and are there enough of them?",
                "ApproximateAgeOfOldestMessage",
                queue,
                env.backlog_alarm_seconds,
                3,
            ),
            (
                "InFlight",
                "in-flight",
                "The workers hold more messages than they finish; SQS hands out no more than 120,000 at once.",
                "ApproximateNumberOfMessagesNotVisible",
                queue,
                IN_FLIGHT,
                3,
            ),
        ):
            metric_alarm(
                self,
                logical,
                env,
                unit=unit,
                description=description,
                namespace="AWS/SQS",
                metric=metric,
                dimensions={"QueueName": name},
                threshold=threshold,
                minutes=minutes,
                topic_arn=topic_arn,
            )
