"""`Core`: what holds data and messages. Deployed to LocalStack and to AWS alike."""

from __future__ import annotations

from aws_cdk import CfnOutput
from constructs import Construct

from deploy.cdk import names, parameters
from deploy.cdk.constructs.alarms import QueueAlarms
from deploy.cdk.constructs.buckets import Buckets
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.parameters import Parameters
from deploy.cdk.constructs.queues import Queues
from deploy.cdk.constructs.secrets import DatabaseSecrets
from deploy.cdk.constructs.topics import CLOUDWATCH, EVENTS, Topic
from deploy.cdk.settings import Environment
from deploy.cdk.stacks.base import DarkroomStack


class Core(DarkroomStack):
    """Buckets and their notification, queues, topics, secrets, parameters, queue alarms."""

    def __init__(self, scope: Construct, env: Environment) -> None:
        super().__init__(scope, env)
        self.key = Key(self, "Encryption", env) if env.encryption == "kms" else None
        self.queues = Queues(self, "Queues", env, source_bucket=names.bucket(env, "incoming"), key=self.key)
        self.buckets = Buckets(self, "Buckets", env, queues=self.queues, key=self.key)
        self.events = Topic(self, "Events", env, unit="events", key=self.key)
        self.alarms = Topic(self, "Alarms", env, unit="alarms", key=self.key, publishers=(CLOUDWATCH, EVENTS))
        self.secrets = DatabaseSecrets(self, "DatabaseSecrets", env, key=self.key)
        QueueAlarms(self, "QueueAlarms", env, queues=self.queues, topic_arn=self.alarms.arn)
        Parameters(
            self,
            "Parameters",
            env,
            entries=parameters.CORE if env.local else parameters.CORE + parameters.CORE_AWS,
            sources={
                "bucket:incoming": self.buckets.incoming.ref,
                "bucket:media": self.buckets.media.ref,
                "queue_url:images": self.queues.queue.ref,
                "queue_url:images-dlq": self.queues.dead.ref,
                "topic_arn:events": self.events.arn,
                "text:presets": parameters.presets(),
                "setting:browser_origins": ",".join(env.browser_origins),
                **{f"secret:{unit}": name for unit, name in self.secrets.names.items()},
            },
        )
        outputs = {
            "IncomingBucket": self.buckets.incoming.ref,
            "MediaBucket": self.buckets.media.ref,
            "QueueUrl": self.queues.queue.ref,
            "DlqUrl": self.queues.dead.ref,
            "TopicArn": self.events.arn,
            **{f"{unit.capitalize()}Secret": name for unit, name in self.secrets.names.items()},
        }
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
