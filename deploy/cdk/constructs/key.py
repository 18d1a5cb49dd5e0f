"""The encryption key, where an environment asks for one of its own."""

from __future__ import annotations

from aws_cdk import aws_kms
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.keep import keep
from deploy.cdk.settings import Environment


class Key(Construct):
    """One key for everything that is stored: objects, messages, secrets, rows, logs. Yearly rotation; AWS's own
    services use it for this account only.

    The account's policies decide who else uses it. A role that signs URLs needs it too, because S3 acts for the signer:
    `kms:GenerateDataKey` to write, `kms:Decrypt` to read and to complete a multipart upload.
    """

    def __init__(self, scope: Construct, construct_id: str, env: Environment) -> None:
        super().__init__(scope, construct_id)
        from_here = {"StringEquals": {"aws:SourceAccount": env.account}}
        self.resource = aws_kms.CfnKey(
            self,
            "Key",
            description=f"{names.PRODUCT} {env.stage}: buckets, queues, topics, secrets, database, logs",
            enable_key_rotation=True,
            pending_window_in_days=30 if env.keep_data else 7,
            key_policy={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "TheAccountsPoliciesDecide",
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:aws:iam::{env.account}:root"},
                        "Action": "kms:*",
                        "Resource": "*",
                    },
                    {
                        "Sid": "EventsReachEncryptedQueuesAndTopics",
                        "Effect": "Allow",
                        "Principal": {"Service": ["s3.amazonaws.com", "cloudwatch.amazonaws.com"]},
                        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                        "Resource": "*",
                        "Condition": from_here,
                    },
                    {
                        # EventBridge says nothing of itself, but SNS says for which topic it asks.
                        "Sid": "EventsReachTheAlarmTopic",
                        "Effect": "Allow",
                        "Principal": {"Service": "events.amazonaws.com"},
                        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                        "Resource": "*",
                        "Condition": {
                            "StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": names.alarm_topic(env)}
                        },
                    },
                    {
                        # CloudWatch Logs user guide, "Encrypt log data using AWS KMS": the context is the log group.
                        "Sid": "LogGroupsOfThisEnvironment",
                        "Effect": "Allow",
                        "Principal": {"Service": f"logs.{env.region}.amazonaws.com"},
                        "Action": [
                            "kms:Encrypt",
                            "kms:Decrypt",
                            "kms:ReEncrypt*",
                            "kms:GenerateDataKey*",
                            "kms:Describe*",
                        ],
                        "Resource": "*",
                        "Condition": {
                            "ArnLike": {
                                "kms:EncryptionContext:aws:logs:arn": [
                                    names.arn(env, "logs", f"log-group:/{names.PRODUCT}/{env.stage}/*"),
                                    names.arn(env, "logs", f"log-group:/aws/rds/cluster/{names.resource(env, '*')}"),
                                    names.arn(env, "logs", f"log-group:/aws/lambda/{names.resource(env, 'rotate-*')}"),
                                    names.arn(env, "logs", f"log-group:aws-waf-logs-{names.PRODUCT}-{env.stage}-*"),
                                ]
                            }
                        },
                    },
                ],
            },
        )
        keep(self.resource, env)
        self.arn = self.resource.attr_arn
