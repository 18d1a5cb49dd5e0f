"""The VPC's default security group, which CloudFormation can neither delete nor empty, without any rule."""

from __future__ import annotations

from typing import Final

from aws_cdk import aws_iam, aws_ssm
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.settings import AwsEnvironment

# AWS's own runbook (Systems Manager Automation runbook reference); it needs what the role below has.
RUNBOOK: Final = "AWSConfigRemediation-RemoveVPCDefaultSecurityGroupRules"
# Besides when the association is made: whoever puts a rule back finds it gone after a day at most.
SCHEDULE: Final = "rate(1 day)"


class ClosedDefaultSecurityGroup(Construct):
    """Has State Manager run AWS's runbook that removes every rule of the group, at once and then daily.

    Nothing of ours is in that group. Closing it means that what somebody starts by hand without naming a group is cut
    off, rather than able to talk to all else that forgot one. No function of ours and no custom resource is needed.
    """

    def __init__(self, scope: Construct, construct_id: str, env: AwsEnvironment, *, group_id: str) -> None:
        super().__init__(scope, construct_id)
        # Named, because its ARN stands inside its own policy.
        name = names.resource(env, f"{env.region}-close-default-group")
        role_arn = f"arn:aws:iam::{env.account}:role/{name}"
        runbook = f"arn:aws:ssm:{env.region}::automation-definition/{RUNBOOK}:*"
        executions = names.arn(env, "ssm", "automation-execution/*")
        role = aws_iam.CfnRole(
            self,
            "Role",
            role_name=name,
            description="Removes the rules of the default security group of Darkroom's VPC",
            assume_role_policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "ssm.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                        "Condition": {"StringEquals": {"aws:SourceAccount": env.account}},
                    }
                ],
            },
            policies=[
                aws_iam.CfnRole.PolicyProperty(
                    policy_name="close",
                    policy_document={
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Action": ["ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress"],
                                "Resource": f"arn:aws:ec2:{env.region}:{env.account}:security-group/{group_id}",
                            },
                            {"Effect": "Allow", "Action": "ec2:DescribeSecurityGroups", "Resource": "*"},
                            {
                                "Effect": "Allow",
                                "Action": "ssm:StartAutomationExecution",
                                "Resource": runbook,
                            },
                            {
                                "Effect": "Allow",
                                "Action": "ssm:GetAutomationExecution",
                                "Resource": executions,
                            },
                            {
                                "Effect": "Allow",
                                "Action": "iam:PassRole",
                                "Resource": role_arn,
                                "Condition": {"StringEquals": {"iam:PassedToService": "ssm.amazonaws.com"}},
                            },
                        ],
                    },
                )
            ],
        )
        aws_ssm.CfnAssociation(
            self,
            "Association",
            name=RUNBOOK,
            association_name=names.resource(env, "close-default-group"),
            parameters={"GroupId": [group_id], "AutomationAssumeRole": [role.attr_arn]},
            schedule_expression=SCHEDULE,
        )
        for resource, reason in {
            "*": "Describing security groups cannot be limited to one (service authorization reference); revoking is "
            "limited to this group.",
            runbook: "The last part is the version of AWS's own runbook, which AWS counts on.",
            executions: "An execution's id is not known before it runs; reading its state changes nothing.",
        }.items():
            acknowledge(role, f"AwsSolutions-IAM5[Resource::{resource}]", reason=reason)
