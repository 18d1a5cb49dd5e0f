"""The REST API: the single entry, which asks for a key, throttles, and hands every request to the gateway."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import CfnDeletionPolicy, Stack, aws_apigateway
from constructs import Construct

from deploy.cdk import api_document, names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.access_log import AccessLog
from deploy.cdk.constructs.domain import access_mode
from deploy.cdk.settings import AwsEnvironment, Environment

# Part of the URL where no domain of our own is in front; short, and not the name of the environment.
STAGE_NAME: Final = "live"


class Api(Construct):
    """REST API from a derived document, its deployment and stage, and the usage plan that tenants' keys belong to.

    `gateway` is the host and port that the stage sends requests to; `log` is where it notes them, on AWS.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: Environment,
        *,
        document: Mapping[str, Any],
        gateway: str,
        log: AccessLog | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        on_aws: dict[str, Any] = {}
        if isinstance(env, AwsEnvironment):
            on_aws = {
                "security_policy": env.edge.tls_policy,
                "endpoint_access_mode": access_mode(env),
                # With a name of its own it has no second way in.
                "disable_execute_api_endpoint": bool(env.edge.domain),
            }
        self.rest_api = aws_apigateway.CfnRestApi(
            self,
            "RestApi",
            name=names.resource(env, "api"),
            description="Darkroom: image intake",
            body=dict(document),
            endpoint_configuration=aws_apigateway.CfnRestApi.EndpointConfigurationProperty(types=["REGIONAL"]),
            **on_aws,
        )
        # Resolved: what stands for another stack's value has another text in each synth until then.
        digest = _digest(Stack.of(self).resolve(dict(document)))
        deployment = aws_apigateway.CfnDeployment(self, "Deployment", rest_api_id=self.rest_api.ref, description=digest)
        # A deployment is a snapshot: another document needs another one, under another name. The old one stays until
        # the stage points to the new one, which is CloudFormation's usual order.
        deployment.override_logical_id(f"Deployment{digest}")
        deployment.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
        self.stage = aws_apigateway.CfnStage(
            self,
            "Stage",
            rest_api_id=self.rest_api.ref,
            deployment_id=deployment.ref,
            stage_name=STAGE_NAME,
            variables={api_document.GATEWAY_VARIABLE: gateway},
            access_log_setting=None if log is None else log.settings,
            tracing_enabled=env.edge.tracing if isinstance(env, AwsEnvironment) else None,
            method_settings=[
                aws_apigateway.CfnStage.MethodSettingProperty(
                    http_method="*",
                    resource_path="/*",
                    throttling_rate_limit=env.api_requests_per_second,
                    throttling_burst_limit=env.api_burst,
                    metrics_enabled=True,
                    # Bodies and headers hold keys and signed URLs: they are never logged here.
                    data_trace_enabled=False,
                    logging_level="OFF",
                )
            ],
        )
        if log is not None:
            self.stage.add_resource_dependency(log.group)
            if log.account is not None:
                self.stage.add_resource_dependency(log.account)
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
        self._acknowledge(env)

    def _acknowledge(self, env: Environment) -> None:
        acknowledge(
            self.rest_api,
            "AwsSolutions-APIG2",
            reason="The gateway validates every request against the whole document; API Gateway's validators read "
            "OpenAPI 3.0 with less of JSON Schema and would refuse in other words.",
        )
        acknowledge(
            self.stage,
            "AwsSolutions-APIG6",
            reason="Execution logs hold headers and bodies, API keys and signed URLs among them; the access log "
            "holds what an operator needs.",
        )
        acknowledge(
            self.stage,
            "CKV_AWS_120",
            reason="Answers are a tenant's own and change from second to second: a cache would serve stale states and "
            "keep tenants' data where no key is asked for.",
        )
        if env.local:
            acknowledge(
                self.stage,
                "AwsSolutions-APIG1",
                "AwsSolutions-APIG3",
                "CKV_AWS_73",
                "CKV_AWS_76",
                reason="The emulator writes no access log and has neither a firewall nor X-Ray; it is reached from its "
                "own machine alone.",
            )
        elif isinstance(env, AwsEnvironment):
            if not env.edge.tracing:
                acknowledge(
                    self.stage,
                    "CKV_AWS_73",
                    reason="The gateway starts a trace of its own where the caller brings none; API Gateway's segment "
                    "adds little for its price, and is the setting edge.tracing.",
                )
            if not env.edge.firewall:
                acknowledge(
                    self.stage,
                    "AwsSolutions-APIG3",
                    reason="Only dev may do without a firewall, which costs more than all of its requests.",
                )


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
