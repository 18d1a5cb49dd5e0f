"""WAF in front of the API: AWS's own rules as far as they fit what our clients send, and a rate for each address."""

from __future__ import annotations

from typing import Any, Final

from aws_cdk import aws_wafv2
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.log_group import log_group
from deploy.cdk.settings import AwsEnvironment

# Rules of AWSManagedRulesCommonRuleSet that count instead of refusing. Bodies are JSON up to 64 KiB and queries up to
# 5 KB (20 tags): the set refuses what is longer than 8 KB and 2 KB. And both hold people's own words, file names and
# tags, where `../`, `<b>`, an URL or `.log` mean nothing bad: the gateway reads them as JSON with one strict schema,
# the database gets them as parameters. Programs without a User-Agent may be clients of ours.
COUNTED: Final = (
    "SizeRestrictions_BODY",
    "SizeRestrictions_QUERYSTRING",
    "CrossSiteScripting_BODY",
    "CrossSiteScripting_QUERYARGUMENTS",
    "GenericLFI_BODY",
    "GenericLFI_QUERYARGUMENTS",
    "GenericRFI_BODY",
    "GenericRFI_QUERYARGUMENTS",
    "EC2MetaDataSSRF_BODY",
    "EC2MetaDataSSRF_QUERYARGUMENTS",
    "RestrictedExtensions_QUERYARGUMENTS",
    "NoUserAgent_HEADER",
)
# In the order in which they are asked.
MANAGED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("AWSManagedRulesAmazonIpReputationList", ()),
    ("AWSManagedRulesKnownBadInputsRuleSet", ()),
    ("AWSManagedRulesCommonRuleSet", COUNTED),
)
WINDOW: Final = 300  # seconds that a rate is counted over
# Headers that hold a credential.
SECRET_HEADERS: Final = ("x-api-key", "authorization")


class Firewall(Construct):
    """A web ACL on the API's stage, and a log of what it refused or counted, without credentials and queries.

    What it refuses is answered by API Gateway's response WAF_FILTERED, a problem+json.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        api_id: str,
        stage: str,
        key_arn: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        rules = [_rate(env)]
        rules += [_managed(1 + index, name, counted) for index, (name, counted) in enumerate(MANAGED)]
        acl = aws_wafv2.CfnWebACL(
            self,
            "Acl",
            name=names.resource(env, "api"),
            scope="REGIONAL",
            default_action=aws_wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_seen("api"),
            rules=rules,
        )
        aws_wafv2.CfnWebACLAssociation(
            self,
            "Association",
            web_acl_arn=acl.attr_arn,
            resource_arn=f"arn:aws:apigateway:{env.region}::/restapis/{api_id}/stages/{stage}",
        )
        name = f"aws-waf-logs-{names.resource(env, 'api')}"  # WAF takes no group of another name
        group = log_group(self, "Log", env, name=name, days=env.edge.log_days, key_arn=key_arn)
        logging = aws_wafv2.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=acl.attr_arn,
            log_destination_configs=[names.arn(env, "logs", f"log-group:{name}")],
            redacted_fields=[
                *(
                    aws_wafv2.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": header})
                    for header in SECRET_HEADERS
                ),
                aws_wafv2.CfnLoggingConfiguration.FieldToMatchProperty(query_string={}),
            ],
            # Requests that pass stand in the access log.
            logging_filter={
                "DefaultBehavior": "DROP",
                "Filters": [
                    {
                        "Behavior": "KEEP",
                        "Requirement": "MEETS_ANY",
                        "Conditions": [
                            {"ActionCondition": {"Action": action}}
                            for action in ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")
                        ],
                    }
                ],
            },
        )
        logging.add_resource_dependency(group)


def _rate(env: AwsEnvironment) -> aws_wafv2.CfnWebACL.RuleProperty:
    return aws_wafv2.CfnWebACL.RuleProperty(
        name="rate-of-an-address",
        priority=0,
        action=aws_wafv2.CfnWebACL.RuleActionProperty(block={}),
        statement=aws_wafv2.CfnWebACL.StatementProperty(
            rate_based_statement=aws_wafv2.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP", limit=env.edge.requests_per_address, evaluation_window_sec=WINDOW
            )
        ),
        visibility_config=_seen("rate-of-an-address"),
    )


def _managed(priority: int, name: str, counted: tuple[str, ...]) -> aws_wafv2.CfnWebACL.RuleProperty:
    count: Any = {"count": {}}
    return aws_wafv2.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=aws_wafv2.CfnWebACL.OverrideActionProperty(none={}),
        statement=aws_wafv2.CfnWebACL.StatementProperty(
            managed_rule_group_statement=aws_wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=name,
                rule_action_overrides=[
                    aws_wafv2.CfnWebACL.RuleActionOverrideProperty(name=rule, action_to_use=count) for rule in counted
                ]
                or None,
            )
        ),
        visibility_config=_seen(name),
    )


def _seen(name: str) -> aws_wafv2.CfnWebACL.VisibilityConfigProperty:
    # Samples would show headers, keys among them, to whoever may open the console.
    return aws_wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
