"""`Edge`: the way in from outside. Deployed to LocalStack and to AWS alike.

On AWS it has more: the link into the VPC, an access log, a firewall, a name of its own, the alarm on its failures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import CfnOutput, CfnParameter, aws_apigatewayv2
from constructs import Construct

from deploy.cdk import api_document, names, parameters
from deploy.cdk.constructs.access_log import AccessLog
from deploy.cdk.constructs.api import STAGE_NAME, Api
from deploy.cdk.constructs.api_alarms import ApiAlarms
from deploy.cdk.constructs.domain import Domain
from deploy.cdk.constructs.firewall import Firewall
from deploy.cdk.constructs.parameters import Parameters
from deploy.cdk.settings import AwsEnvironment, Environment
from deploy.cdk.stacks.base import DarkroomStack
from deploy.cdk.stacks.core import Core
from deploy.cdk.stacks.network import TASKS, Network

# What the gateway is called towards a load balancer without a certificate: nobody looks the name up.
UNNAMED: Final = "gateway.darkroom.internal"


@dataclass(frozen=True)
class Behind:
    """What the API leads to on AWS; `domain` is the name on the load balancer's certificate, empty without one."""

    core: Core
    network: Network
    load_balancer_arn: str
    domain: str


class Edge(DarkroomStack):
    """REST API, usage plan, throttles, gateway responses, and the parameter that names the plan."""

    def __init__(self, scope: Construct, env: Environment, *, behind: Behind | None = None) -> None:
        super().__init__(scope, env)
        log: AccessLog | None = None
        if behind is None:
            gateway, scheme, integration = self._direct()
        else:
            gateway, scheme, integration = self._linked(env, behind)
        document = api_document.derive(
            api_document.source(), title=names.resource(env, "api"), integration=integration, scheme=scheme
        )
        if behind is not None and isinstance(env, AwsEnvironment):
            log = AccessLog(self, "AccessLog", env, key_arn=_key(behind))
        self.api = Api(self, "Api", env, document=document, gateway=gateway, log=log)
        api_id, stage = self.api.rest_api.ref, self.api.stage.ref
        host = f"{api_id}.execute-api.{env.region}.amazonaws.com/{STAGE_NAME}"
        if behind is not None and isinstance(env, AwsEnvironment):
            if env.edge.firewall:
                Firewall(self, "Firewall", env, api_id=api_id, stage=stage, key_arn=_key(behind))
            if env.edge.domain:
                Domain(self, "Domain", env, api_id=api_id, stage=stage)
                host = env.edge.domain
            ApiAlarms(
                self, "Alarms", env, api=names.resource(env, "api"), stage=STAGE_NAME, topic_arn=behind.core.alarms.arn
            )
        Parameters(
            self,
            "Parameters",
            env,
            entries=parameters.EDGE,
            sources={"usage_plan:standard": self.api.usage_plan.ref},
        )
        for name, value in {
            "ApiId": api_id,
            "ApiStage": stage,
            "ApiUrl": f"https://{host}",
            "UsagePlanId": self.api.usage_plan.ref,
        }.items():
            CfnOutput(self, name, value=value)

    def _direct(self) -> tuple[str, str, dict[str, Any]]:
        """On one machine: to a host and port that the deployment is told."""
        gateway = CfnParameter(
            self,
            "GatewayHost",
            type="String",
            description="Host and port of the gateway, e.g. 127.0.0.1:8080",
            # What a stage variable may hold.
            allowed_pattern=r"[A-Za-z0-9.\-]+:[0-9]{1,5}",
        )
        return gateway.value_as_string, "http", {"connectionType": "INTERNET"}

    def _linked(self, env: Environment, behind: Behind) -> tuple[str, str, dict[str, Any]]:
        """On AWS: through a VPC link to the internal load balancer, whose certificate is checked by its name.

        API Gateway developer guide, "Set up a private integration": the target is the load balancer's ARN; port and
        name are those of the URI.
        """
        network, domain = behind.network, behind.domain
        link = aws_apigatewayv2.CfnVpcLink(
            self,
            "Link",
            name=names.resource(env, "api"),
            subnet_ids=list(network.vpc.select_subnets(subnet_group_name=TASKS).subnet_ids),
            security_group_ids=[network.link_security_group.attr_group_id],
        )
        integration = {
            "connectionType": "VPC_LINK",
            "connectionId": link.ref,
            "integrationTarget": behind.load_balancer_arn,
        }
        return (f"{domain}:443", "https", integration) if domain else (f"{UNNAMED}:80", "http", integration)


def _key(behind: Behind) -> str | None:
    return None if behind.core.key is None else behind.core.key.arn
