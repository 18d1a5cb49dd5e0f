"""The API's access log: one JSON line a request, without anything that opens a door."""

from __future__ import annotations

import json
from typing import Final

from aws_cdk import aws_apigateway, aws_iam
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.log_group import log_group
from deploy.cdk.settings import AwsEnvironment

# Variables of API Gateway (developer guide, "Variables for access logging"). `apiKeyId` is the key's id;
# `$context.identity.apiKey` would be the key itself. The resource is the document's path, not the request's: no query
# and no ids of images stand in it.
FIELDS: Final = {
    "request_id": "$context.requestId",
    "time": "$context.requestTimeEpoch",
    "key_id": "$context.identity.apiKeyId",
    "address": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "resource": "$context.resourcePath",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "milliseconds": "$context.responseLatency",
    "integration_status": "$context.integration.status",
    "integration_milliseconds": "$context.integration.latency",
    "refused_by": "$context.error.responseType",
    "firewall": "$context.waf.status",
    "trace": "$context.xrayTraceId",
}


class AccessLog(Construct):
    """The log group and, where the environment is to set it, the account's role that writes there."""

    def __init__(self, scope: Construct, construct_id: str, env: AwsEnvironment, *, key_arn: str | None) -> None:
        super().__init__(scope, construct_id)
        self.group = log_group(
            self, "Group", env, name=names.log_group(env, "api-access"), days=env.edge.log_days, key_arn=key_arn
        )
        self.settings = aws_apigateway.CfnStage.AccessLogSettingProperty(
            # API Gateway takes the ARN without the `:*` that CloudFormation's own attribute ends with.
            destination_arn=names.arn(env, "logs", f"log-group:{names.log_group(env, 'api-access')}"),
            format=json.dumps(FIELDS),
        )
        self.account: aws_apigateway.CfnAccount | None = None
        if env.edge.account_log_role:
            role = aws_iam.CfnRole(
                self,
                "Role",
                description="Writes the access logs of this account's APIs",
                assume_role_policy_document={
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "apigateway.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                },
                managed_policy_arns=[
                    "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
                ],
            )
            acknowledge(
                role,
                "AwsSolutions-IAM4[Policy::arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]",
                reason="The role is the account's, for all of its APIs, and API Gateway refuses to take one without "
                "the rights of this policy, which are about logs alone.",
            )
            self.account = aws_apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.attr_arn)
