"""Who may call whom: groups that start with nothing, and one line for each edge."""

from __future__ import annotations

from aws_cdk import aws_ec2
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.settings import Environment


class SecurityGroup(Construct):
    """A group without a way in. The way out is HTTPS where `https` is set (AWS's APIs, inside the VPC or through
    NAT); all else is added by `allow`.
    """

    def __init__(
        self, scope: Construct, construct_id: str, env: Environment, *, unit: str, vpc: aws_ec2.IVpc, https: bool
    ) -> None:
        super().__init__(scope, construct_id)
        self.resource = aws_ec2.CfnSecurityGroup(
            self,
            "Group",
            group_name=names.resource(env, unit),
            group_description=f"Darkroom: {unit}",
            vpc_id=vpc.vpc_id,
            security_group_egress=[
                {
                    "ipProtocol": "tcp",
                    "fromPort": 443,
                    "toPort": 443,
                    "cidrIp": "0.0.0.0/0",
                    "description": "AWS APIs",
                }
                if https
                # CloudFormation opens everything where nothing is listed: a rule that leads nowhere, as CDK's own.
                else {
                    "ipProtocol": "icmp",
                    "fromPort": 252,
                    "toPort": 86,
                    "cidrIp": "255.255.255.255/32",
                    "description": "Nothing by default",
                }
            ],
        )
        self.id = self.resource.attr_group_id


def allow(scope: Construct, name: str, *, source: str, target: str, port: int) -> None:
    """Lets the group `source` call the group `target` at a port: the way out of one, the way into the other."""
    way_in(scope, name, source=source, target=target, port=port)
    aws_ec2.CfnSecurityGroupEgress(
        scope,
        f"{name}Out",
        group_id=source,
        destination_security_group_id=target,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        description=name,
    )


def way_in(scope: Construct, name: str, *, source: str, target: str, port: int) -> None:
    """Only the way into `target`, where `source` has its way out already."""
    aws_ec2.CfnSecurityGroupIngress(
        scope,
        f"{name}In",
        group_id=target,
        source_security_group_id=source,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        description=name,
    )
