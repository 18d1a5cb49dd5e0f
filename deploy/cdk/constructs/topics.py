"""The topics: state changes of images for whoever subscribes, and alarms for whoever is on call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aws_cdk import aws_sns
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.key import Key
from deploy.cdk.settings import Environment

# SNS's own key of the account: no monthly price, and whoever may publish may use it. AWS services may not.
SNS_KEY: Final = "alias/aws/sns"
CLOUDWATCH: Final = "cloudwatch.amazonaws.com"
# EventBridge publishes by the topic's own policy. A role in the rule's target may make delivery fail, and a condition
# here does, because it fills none in (EventBridge user guide, "Using resource-based policies").
EVENTS: Final = "events.amazonaws.com"


class Topic(Construct):
    """A topic that takes messages over TLS only and keeps them encrypted. Publishers in the account get their right by
    their role; `publishers` are AWS services that may publish for this account.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: Environment,
        *,
        unit: str,
        key: Key | None,
        publishers: Sequence[str] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        master_key = key.arn if key is not None else None if env.local or publishers else SNS_KEY
        self.resource = aws_sns.CfnTopic(
            self,
            "Topic",
            topic_name=names.resource(env, unit),
            kms_master_key_id=master_key,
        )
        if master_key is None:
            acknowledge(
                self.resource,
                "CKV_AWS_26",
                reason="The emulator cannot make keys; what it holds never leaves this machine."
                if env.local
                else "Neither CloudWatch nor EventBridge may use SNS's own key, so alarms to a topic with it are lost. "
                "Alarms hold names and figures of ours alone; a key that admits both is the setting encryption = kms.",
            )
        self.arn = self.resource.ref
        statements: list[dict[str, Any]] = [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sns:Publish",
                "Resource": self.arn,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ]
        for publisher in publishers:
            allowed: dict[str, Any] = {
                "Sid": f"{publisher.partition('.')[0].capitalize()}OfThisAccount",
                "Effect": "Allow",
                "Principal": {"Service": publisher},
                "Action": "sns:Publish",
                "Resource": self.arn,
            }
            if publisher != EVENTS:
                allowed["Condition"] = {"StringEquals": {"aws:SourceAccount": env.account}}
            statements.append(allowed)
        aws_sns.CfnTopicPolicy(
            self,
            "Policy",
            topics=[self.arn],
            policy_document={"Version": "2012-10-17", "Statement": statements},
        )
