"""A log group of ours."""

from __future__ import annotations

from aws_cdk import aws_logs
from constructs import Construct

from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.keep import keep
from deploy.cdk.settings import AwsEnvironment


def log_group(
    scope: Construct, construct_id: str, env: AwsEnvironment, *, name: str, days: int, key_arn: str | None
) -> aws_logs.CfnLogGroup:
    """Kept for so many days, and beyond its stack where the environment keeps its data. `key_arn` is our own key's."""
    group = aws_logs.CfnLogGroup(scope, construct_id, log_group_name=name, retention_in_days=days, kms_key_id=key_arn)
    keep(group, env)
    if key_arn is None:
        acknowledge(
            group,
            "CKV_AWS_158",
            reason="CloudWatch Logs encrypts every group by itself, and no credential and no value of a request is "
            "written here. A key whose policy is ours is the setting encryption = kms.",
        )
    return group
