"""`Network`: three zones, subnets without a way in, and the ways to AWS and to the internet. AWS only."""

from __future__ import annotations

import ipaddress
from typing import Final

from aws_cdk import CfnOutput, aws_ec2
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.default_security_group import ClosedDefaultSecurityGroup
from deploy.cdk.constructs.endpoints import Endpoints
from deploy.cdk.constructs.flow_logs import FlowLogs
from deploy.cdk.settings import AwsEnvironment
from deploy.cdk.stacks.base import DarkroomStack
from deploy.cdk.stacks.core import Core

# Groups of subnets, by the name under which `aws_ec2.SubnetSelection(subnet_group_name=...)` finds them.
TASKS: Final = "tasks"
DATABASE: Final = "database"
PUBLIC: Final = "public"
# Bits beyond the VPC's own: an eighth of it for tasks in each zone (8,187 addresses of a /16), a 64th for the rest.
TASK_BITS: Final = 3
OTHER_BITS: Final = 6


class Network(DarkroomStack):
    """VPC in three zones: private subnets for tasks, isolated ones for the database, endpoints or NAT, flow logs."""

    def __init__(self, scope: Construct, env: AwsEnvironment, *, core: Core) -> None:
        super().__init__(scope, env)
        network = env.network
        prefix = ipaddress.IPv4Network(network.cidr).prefixlen
        private = network.nat_gateways == 0
        # In this order, so that NAT can come and go later without new addresses for what is there.
        subnets = [
            aws_ec2.SubnetConfiguration(
                name=TASKS,
                subnet_type=aws_ec2.SubnetType.PRIVATE_ISOLATED if private else aws_ec2.SubnetType.PRIVATE_WITH_EGRESS,
                cidr_mask=prefix + TASK_BITS,
            ),
            aws_ec2.SubnetConfiguration(
                name=DATABASE, subnet_type=aws_ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=prefix + OTHER_BITS
            ),
        ]
        if not private:
            subnets.append(
                aws_ec2.SubnetConfiguration(
                    name=PUBLIC,
                    subnet_type=aws_ec2.SubnetType.PUBLIC,
                    cidr_mask=prefix + OTHER_BITS,
                    map_public_ip_on_launch=False,
                )
            )
        self.vpc = aws_ec2.Vpc(
            self,
            "Vpc",
            vpc_name=names.resource(env, "vpc"),
            ip_addresses=aws_ec2.IpAddresses.cidr(network.cidr),
            availability_zones=list(network.zones),
            nat_gateways=network.nat_gateways,
            nat_gateway_subnets=None if private else aws_ec2.SubnetSelection(subnet_group_name=PUBLIC),
            subnet_configuration=subnets,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            # That would be a custom resource with a function; `ClosedDefaultSecurityGroup` needs neither.
            restrict_default_security_group=False,
        )
        for subnet in (*self.vpc.private_subnets, *self.vpc.isolated_subnets, *self.vpc.public_subnets):
            acknowledge(
                subnet,
                "W3010",
                reason="Zones are a setting of the environment: the synth is offline, and a subnet must not move to "
                "another zone when AWS lists its zones in another order.",
            )
        self.task_subnets = aws_ec2.SubnetSelection(subnet_group_name=TASKS)
        self.database_subnets = aws_ec2.SubnetSelection(subnet_group_name=DATABASE)
        tasks = self.vpc.select_subnets(subnet_group_name=TASKS)
        ClosedDefaultSecurityGroup(self, "DefaultSecurityGroup", env, group_id=self.vpc.vpc_default_security_group)
        FlowLogs(self, "FlowLogs", env, vpc_id=self.vpc.vpc_id, key_arn=None if core.key is None else core.key.arn)
        Endpoints(
            self,
            "Endpoints",
            env,
            vpc_id=self.vpc.vpc_id,
            route_table_ids=[subnet.route_table.route_table_id for subnet in tasks.subnets],
            subnet_ids=list(tasks.subnet_ids),
        )
        # Of API Gateway's VPC link: the load balancer lets it in, and it reaches nothing but the load balancer.
        self.link_security_group = aws_ec2.CfnSecurityGroup(
            self,
            "LinkSecurityGroup",
            group_description="Darkroom: VPC link of API Gateway, to the internal load balancer only",
            vpc_id=self.vpc.vpc_id,
            security_group_egress=[
                aws_ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    cidr_ip=network.cidr,
                    description="The internal load balancer",
                )
                for port in (80, 443)
            ],
        )
        CfnOutput(self, "VpcId", value=self.vpc.vpc_id)
        CfnOutput(self, "TaskSubnets", value=",".join(tasks.subnet_ids))
