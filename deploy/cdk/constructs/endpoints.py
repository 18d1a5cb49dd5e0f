"""VPC endpoints: AWS's services inside the VPC."""

from __future__ import annotations

from typing import Final

from aws_cdk import aws_ec2
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.settings import AwsEnvironment

# What tasks and the rotation functions call all the time: queue, topic, secrets, parameters, images, logs. By construct
# id, for its logical id.
SERVICES: Final = {
    "Sqs": "sqs",
    "Sns": "sns",
    "SecretsManager": "secretsmanager",
    "Ssm": "ssm",
    "EcrApi": "ecr.api",
    "EcrDkr": "ecr.dkr",
    "Logs": "logs",
}
# What is called a few times a day, by the reconciler and the administration: through NAT, where there is NAT.
SELDOM: Final = {"Ecs": "ecs", "Apigateway": "apigateway"}
HTTPS: Final = 443


class Endpoints(Construct):
    """S3 by a gateway endpoint, which is free, always; the others by interface endpoints where a setting asks for it.

    The gateway endpoint lets through to our two buckets and to the bucket that ECR keeps image layers in: a task that
    is not itself any more cannot carry files off to a bucket of somebody else's. Interface endpoints take HTTPS from
    inside the VPC, for principals of this account.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        vpc_id: str,
        route_table_ids: list[str],
        subnet_ids: list[str],
    ) -> None:
        super().__init__(scope, construct_id)
        self.s3 = aws_ec2.CfnVPCEndpoint(
            self,
            "S3",
            vpc_id=vpc_id,
            service_name=f"com.amazonaws.{env.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=route_table_ids,
            policy_document=_s3_policy(env),
        )
        if not env.network.interface_endpoints:
            return
        group = aws_ec2.CfnSecurityGroup(
            self,
            "SecurityGroup",
            group_description="Darkroom: endpoints of AWS services, HTTPS from inside the VPC",
            vpc_id=vpc_id,
            security_group_ingress=[
                aws_ec2.CfnSecurityGroup.IngressProperty(
                    ip_protocol="tcp",
                    from_port=HTTPS,
                    to_port=HTTPS,
                    cidr_ip=env.network.cidr,
                    description="HTTPS from tasks and rotation functions",
                )
            ],
            security_group_egress=[
                # An endpoint answers only; without any rule the default one would let everything out.
                aws_ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp",
                    from_port=HTTPS,
                    to_port=HTTPS,
                    cidr_ip="127.0.0.1/32",
                    description="Nothing: endpoints open no connections",
                )
            ],
        )
        services = dict(SERVICES)
        if env.encryption == "kms":
            services["Kms"] = "kms"
        if not env.network.nat_gateways:
            services |= SELDOM
        for construct, service in services.items():
            aws_ec2.CfnVPCEndpoint(
                self,
                construct,
                vpc_id=vpc_id,
                service_name=f"com.amazonaws.{env.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=subnet_ids[: env.network.endpoint_zones],
                security_group_ids=[group.attr_group_id],
                policy_document=_account_policy(env),
            )


def _s3_policy(env: AwsEnvironment) -> dict[str, object]:
    ours = [names.bucket_arn(env, unit) for unit in ("incoming", "media")]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OurBuckets",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn + end for arn in ours for end in ("", "/*")],
            },
            {
                # ECR user guide, "Amazon ECR interface VPC endpoints": layers are downloaded from there.
                "Sid": "LayersOfImages",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::prod-{env.region}-starport-layer-bucket/*",
            },
        ],
    }


def _account_policy(env: AwsEnvironment) -> dict[str, object]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "PrincipalsOfThisAccount",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "*",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:PrincipalAccount": env.account}},
            }
        ],
    }
