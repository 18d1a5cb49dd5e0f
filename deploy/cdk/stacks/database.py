"""`Database`: Aurora PostgreSQL, who may reach it, and the rotation of its passwords. AWS only."""

from __future__ import annotations

from aws_cdk import CfnOutput, aws_ec2, aws_secretsmanager
from constructs import Construct

from deploy.cdk import names, parameters
from deploy.cdk.constructs.aurora import PORT, Aurora
from deploy.cdk.constructs.database_alarms import DatabaseAlarms
from deploy.cdk.constructs.parameters import Parameters
from deploy.cdk.constructs.rotation import Rotation
from deploy.cdk.settings import AwsEnvironment
from deploy.cdk.stacks.base import DarkroomStack
from deploy.cdk.stacks.core import Core
from deploy.cdk.stacks.network import DATABASE, TASKS, Network


class Database(DarkroomStack):
    """Aurora cluster, its security group, attached and rotated secrets, parameters of its pools, alarms."""

    def __init__(self, scope: Construct, env: AwsEnvironment, *, network: Network, core: Core) -> None:
        super().__init__(scope, env)
        # The owner's secret is read by its name, which makes no dependency of itself.
        self.add_stack_dependency(core)
        vpc = network.vpc
        key_arn = None if core.key is None else core.key.arn
        self.port = PORT
        self.max_connections = env.database.max_connections
        # Whoever needs to get in adds a rule of its own in its own stack. Aurora opens no connection by itself.
        group = aws_ec2.CfnSecurityGroup(
            self,
            "SecurityGroup",
            group_description="Darkroom: database; each caller adds a rule of its own",
            vpc_id=vpc.vpc_id,
            security_group_egress=[
                aws_ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp",
                    from_port=PORT,
                    to_port=PORT,
                    cidr_ip="127.0.0.1/32",
                    description="Nothing: without a rule everything would be let out",
                )
            ],
        )
        self.security_group = group
        aurora = Aurora(
            self,
            "Aurora",
            env,
            subnet_ids=list(vpc.select_subnets(subnet_group_name=DATABASE).subnet_ids),
            security_group_id=group.attr_group_id,
            key_arn=key_arn,
        )
        self.cluster = aurora.cluster
        attached = {}
        for unit, secret in core.secrets.resources.items():
            attachment = aws_secretsmanager.CfnSecretTargetAttachment(
                self,
                f"{unit.capitalize()}Attachment",
                secret_id=secret.ref,
                target_id=aurora.cluster.ref,
                target_type="AWS::RDS::DBCluster",
            )
            attached[unit] = attachment.ref
        Rotation(
            self,
            "Rotation",
            env,
            vpc_id=vpc.vpc_id,
            subnet_ids=list(vpc.select_subnets(subnet_group_name=TASKS).subnet_ids),
            database_group=group,
            secrets=attached,
            key=core.key,
        )
        Parameters(
            self,
            "Parameters",
            env,
            entries=parameters.DATABASE,
            sources={
                "setting:database.app_pool_size": str(env.database.app_pool_size),
                "setting:database.maintenance_pool_size": str(env.database.maintenance_pool_size),
                "text:database_ssl": "verify-full",
            },
        )
        DatabaseAlarms(self, "Alarms", env, cluster=aurora.identifier, topic_arn=core.alarms.arn)
        CfnOutput(self, "ClusterEndpoint", value=aurora.cluster.attr_endpoint_address)
        CfnOutput(self, "OwnerSecret", value=names.secret(env, "owner"))
