"""`Edge`: the way in from outside. Deployed to LocalStack and to AWS alike."""

from __future__ import annotations

from aws_cdk import CfnOutput, CfnParameter
from constructs import Construct

from deploy.cdk import api_document, names, parameters
from deploy.cdk.constructs.api import STAGE_NAME, Api
from deploy.cdk.constructs.parameters import Parameters
from deploy.cdk.settings import Environment
from deploy.cdk.stacks.base import DarkroomStack


class Edge(DarkroomStack):
    """REST API, usage plan, throttles, gateway responses, and the parameter that names the plan."""

    def __init__(self, scope: Construct, env: Environment) -> None:
        super().__init__(scope, env)
        gateway = CfnParameter(
            self,
            "GatewayHost",
            type="String",
            description="Host and port of the gateway, e.g. 127.0.0.1:8080",
            # What a stage variable may hold.
            allowed_pattern=r"[A-Za-z0-9.\-]+:[0-9]{1,5}",
        )
        # On AWS the gateway is behind an internal load balancer: there the connection is a VPC link.
        document = api_document.derive(
            api_document.source(),
            title=names.resource(env, "api"),
            integration={"connectionType": "INTERNET"},
            scheme="http",
        )
        self.api = Api(self, "Api", env, document=document, gateway=gateway.value_as_string)
        Parameters(
            self,
            "Parameters",
            env,
            entries=parameters.EDGE,
            sources={"usage_plan:standard": self.api.usage_plan.ref},
        )
        url = f"https://{self.api.rest_api.ref}.execute-api.{env.region}.amazonaws.com/{STAGE_NAME}"
        for name, value in {
            "ApiId": self.api.rest_api.ref,
            "ApiStage": self.api.stage.ref,
            "ApiUrl": url,
            "UsagePlanId": self.api.usage_plan.ref,
        }.items():
            CfnOutput(self, name, value=value)
