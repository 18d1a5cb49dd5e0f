"""Rotation of the database's passwords, by AWS's own functions (`Transform: AWS::SecretsManager-2024-09-16`)."""

from __future__ import annotations

from typing import Final

from aws_cdk import Fn, Stack, aws_ec2, aws_secretsmanager
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.aurora import PORT
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.log_group import log_group
from deploy.cdk.settings import AwsEnvironment

TRANSFORM: Final = "AWS::SecretsManager-2024-09-16"
# Punctuation that needs quoting in a URL, a shell or a DSN; `-`, `_` and `.` stay.
EXCLUDED: Final = " %+~`#$&*()|[]{}:;<>?!'/@\"\\=^,"


class Rotation(Construct):
    """Rotates `app` and `maintenance` by alternating users and the owner's own password in place.

    Alternating: with each turn the other of two users (`darkroom_app`, `darkroom_app_clone`) gets a new password and
    becomes the current one; the one before stays valid until the next turn, so nobody is ever refused. AWS's function
    makes the clone a member of the first, as the owner, so that it has its rights and its policies (ADR 0014). The
    owner is used by one-off tasks alone, which read the secret when they start: nothing of it is open when it changes.

    `database_group` is the security group of the cluster; the functions run in `subnet_ids`, from where Secrets Manager
    can be reached.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        vpc_id: str,
        subnet_ids: list[str],
        database_group: aws_ec2.CfnSecurityGroup,
        secrets: dict[str, str],
        key: Key | None,
    ) -> None:
        super().__init__(scope, construct_id)
        Stack.of(self).add_transform(TRANSFORM)
        group = aws_ec2.CfnSecurityGroup(
            self,
            "SecurityGroup",
            group_description="Darkroom: functions that rotate database passwords",
            vpc_id=vpc_id,
            security_group_egress=[
                aws_ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp",
                    from_port=PORT,
                    to_port=PORT,
                    destination_security_group_id=database_group.attr_group_id,
                    description="The database",
                ),
                aws_ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp",
                    from_port=443,
                    to_port=443,
                    cidr_ip=env.network.cidr if env.network.interface_endpoints else "0.0.0.0/0",
                    description="Secrets Manager",
                ),
            ],
        )
        aws_ec2.CfnSecurityGroupIngress(
            self,
            "Ingress",
            group_id=database_group.attr_group_id,
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            source_security_group_id=group.attr_group_id,
            description="Rotation of passwords",
        )
        for unit, secret_arn in secrets.items():
            alternating = unit != "owner"
            function = names.resource(env, f"rotate-{unit}")
            # Lambda's name for it: it must be ours before the function would make one that is kept for ever.
            log = log_group(
                self,
                f"{unit.capitalize()}Log",
                env,
                name=f"/aws/lambda/{function}",
                days=env.database.log_days,
                key_arn=None if key is None else key.arn,
            )
            schedule = aws_secretsmanager.CfnRotationSchedule(
                self,
                unit.capitalize(),
                secret_id=secret_arn,
                rotation_rules=aws_secretsmanager.CfnRotationSchedule.RotationRulesProperty(
                    automatically_after_days=env.database.rotation_days
                ),
                # The roles are made by the first migration, after this stack.
                rotate_immediately_on_update=False,
                hosted_rotation_lambda=aws_secretsmanager.CfnRotationSchedule.HostedRotationLambdaProperty(
                    rotation_type="PostgreSQLMultiUser" if alternating else "PostgreSQLSingleUser",
                    rotation_lambda_name=function,
                    exclude_characters=EXCLUDED,
                    superuser_secret_arn=secrets["owner"] if alternating else None,
                    kms_key_arn=None if key is None else key.arn,
                    superuser_secret_kms_key_arn=key.arn if key is not None and alternating else None,
                    vpc_security_group_ids=group.attr_group_id,
                    vpc_subnet_ids=Fn.join(",", subnet_ids),
                ),
            )
            schedule.add_resource_dependency(log)
