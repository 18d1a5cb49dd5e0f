"""The API's own name, where the environment has one."""

from __future__ import annotations

from aws_cdk import CfnOutput, aws_apigateway
from constructs import Construct

from deploy.cdk.settings import AwsEnvironment


class Domain(Construct):
    """A regional domain name with its certificate, whose whole path is the API's stage.

    The name's DNS entry is the owner's: an alias or CNAME to the output `DomainTarget`.
    """

    def __init__(self, scope: Construct, construct_id: str, env: AwsEnvironment, *, api_id: str, stage: str) -> None:
        super().__init__(scope, construct_id)
        domain = aws_apigateway.CfnDomainName(
            self,
            "Name",
            domain_name=env.edge.domain,
            regional_certificate_arn=env.edge.certificate_arn,
            endpoint_configuration=aws_apigateway.CfnDomainName.EndpointConfigurationProperty(types=["REGIONAL"]),
            security_policy=env.edge.tls_policy,
            endpoint_access_mode=access_mode(env),
        )
        aws_apigateway.CfnBasePathMapping(self, "Mapping", domain_name=domain.ref, rest_api_id=api_id, stage=stage)
        target = CfnOutput(self, "Target", value=domain.attr_regional_domain_name)
        target.override_logical_id("DomainTarget")


def access_mode(env: AwsEnvironment) -> str | None:
    """What API Gateway wants to know beside a policy of its newer kind: here, that host and SNI must be the same."""
    return "STRICT" if env.edge.tls_policy.startswith("SecurityPolicy_") else None
