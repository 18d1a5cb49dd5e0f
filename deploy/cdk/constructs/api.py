"""The REST API: the single entry, which asks for a key, throttles, and hands every request to the gateway."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import CfnDeletionPolicy, aws_apigateway
from constructs import Construct

from deploy.cdk import api_document, names
from deploy.cdk.settings import Environment

# Part of the URL where no domain of our own is in front; short, and not the name of the environment.
STAGE_NAME: Final = "live"


class Api(Construct):
    """REST API from a derived document, its deployment and stage, and the usage plan that tenants' keys belong to.

    `gateway` is the host and port that the stage sends requests to.
    """

    def __init__(
        self, scope: Construct, construct_id: str, env: Environment, *, document: Mapping[str, Any], gateway: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.rest_api = aws_apigateway.CfnRestApi(
            self,
            "RestApi",
            name=names.resource(env, "api"),
            description="Darkroom: image intake",
            body=dict(document),
            endpoint_configuration=aws_apigateway.CfnRestApi.EndpointConfigurationProperty(types=["REGIONAL"]),
        )
        deployment = aws_apigateway.CfnDeployment(
            self, "Deployment", rest_api_id=self.rest_api.ref, description=_digest(document)
        )
        # A deployment is a snapshot: another document needs another one, under another name. The old one stays until
        # the stage points to the new one, which is CloudFormation's usual order.
        deployment.override_logical_id(f"Deployment{_digest(document)}")
        deployment.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
        self.stage = aws_apigateway.CfnStage(
            self,
            "Stage",
            rest_api_id=self.rest_api.ref,
            deployment_id=deployment.ref,
            stage_name=STAGE_NAME,
            variables={api_document.GATEWAY_VARIABLE: gateway},
            method_settings=[
                aws_apigateway.CfnStage.MethodSettingProperty(
                    http_method="*",
                    resource_path="/*",
                    throttling_rate_limit=env.api_requests_per_second,
                    throttling_burst_limit=env.api_burst,
                    metrics_enabled=True,
                    # Bodies and headers hold keys and signed URLs: they are never logged here.
                    data_trace_enabled=False,
                )
            ],
        )
        self.usage_plan = aws_apigateway.CfnUsagePlan(
            self,
            "UsagePlan",
            usage_plan_name=names.resource(env, "standard"),
            description="What one API key may ask for; a tenant's own limits are the gateway's",
            api_stages=[aws_apigateway.CfnUsagePlan.ApiStageProperty(api_id=self.rest_api.ref, stage=self.stage.ref)],
            throttle=aws_apigateway.CfnUsagePlan.ThrottleSettingsProperty(
                rate_limit=env.key_requests_per_second, burst_limit=env.key_burst
            ),
        )


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
