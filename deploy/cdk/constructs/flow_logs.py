"""Flow logs of the VPC: who talked to whom, and who was refused."""

from __future__ import annotations

from aws_cdk import aws_ec2, aws_iam
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.log_group import log_group
from deploy.cdk.settings import AwsEnvironment


class FlowLogs(Construct):
    """Flow logs in a log group of their own, kept for as long as the setting says; the role may write there only."""

    def __init__(
        self, scope: Construct, construct_id: str, env: AwsEnvironment, *, vpc_id: str, key_arn: str | None
    ) -> None:
        super().__init__(scope, construct_id)
        name = names.log_group(env, "vpc-flow")
        group = log_group(self, "Group", env, name=name, days=env.network.flow_log_days, key_arn=key_arn)
        # Amazon VPC user guide, "IAM role for publishing flow logs to CloudWatch Logs".
        arn = names.arn(env, "logs", f"log-group:{name}")
        role = aws_iam.CfnRole(
            self,
            "Role",
            description="Writes the flow logs of Darkroom's VPC",
            assume_role_policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                        "Condition": {
                            "StringEquals": {"aws:SourceAccount": env.account},
                            "ArnLike": {"aws:SourceArn": names.arn(env, "ec2", "vpc-flow-log/*")},
                        },
                    }
                ],
            },
            policies=[
                aws_iam.CfnRole.PolicyProperty(
                    policy_name="write",
                    policy_document={
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                                "Resource": [arn, f"{arn}:*"],
                            }
                        ],
                    },
                )
            ],
        )
        acknowledge(
            role,
            f"AwsSolutions-IAM5[Resource::{arn}:*]",
            reason="The last part is the log stream: one a network interface, made as tasks come and go.",
        )
        log = aws_ec2.CfnFlowLog(
            self,
            "FlowLog",
            resource_id=vpc_id,
            resource_type="VPC",
            traffic_type=env.network.flow_log_traffic,
            log_destination_type="cloud-watch-logs",
            log_group_name=name,
            deliver_logs_permission_arn=role.attr_arn,
            max_aggregation_interval=600,
        )
        log.add_resource_dependency(group)
