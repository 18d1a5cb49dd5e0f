"""What the way in promises on AWS, each promise a test over the synthesised template."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from deploy.cdk import parameters, settings
from deploy.cdk.constructs.access_log import FIELDS
from deploy.cdk.constructs.firewall import COUNTED
from deploy.gates.gate import environment
from gateway.settings import Settings as Gateway
from tests.support.environments import OWNERS
from tests.support.templates import Template, of_construct, only, resources

Templates = dict[str, Template]
STAGES = ("dev", "staging", "prod")


def body(made: Templates) -> Template:
    document: Template = only(made["Edge"], "AWS::ApiGateway::RestApi")["Body"]
    return document


def integrations(made: Templates) -> Iterator[tuple[str, str, Template]]:
    """Path, method and integration of every call."""
    for path, item in body(made)["paths"].items():
        for method, operation in item.items():
            yield path, method, operation["x-amazon-apigateway-integration"]


def stage(made: Templates) -> Template:
    return only(made["Edge"], "AWS::ApiGateway::Stage")


def firewall_rules(made: Templates) -> dict[str, Template]:
    return {rule["Name"]: rule for rule in only(made["Edge"], "AWS::WAFv2::WebACL")["Rules"]}


def test_every_call_goes_through_the_vpc_link_to_the_internal_load_balancer(prod: Templates) -> None:
    (link,) = resources(prod["Edge"], "AWS::ApiGatewayV2::VpcLink")
    (balancer,) = resources(prod["Services"], "AWS::ElasticLoadBalancingV2::LoadBalancer")
    exported = {
        output["Export"]["Name"]: output["Value"]
        for output in prod["Services"]["Outputs"].values()
        if "Export" in output
    }
    for _, _, integration in integrations(prod):
        assert integration["type"] == "http_proxy"
        assert (integration["connectionType"], integration["connectionId"]) == ("VPC_LINK", {"Ref": link})
        assert exported[integration["integrationTarget"]["Fn::ImportValue"]] == {"Ref": balancer}


def test_the_gateway_gets_its_own_paths_though_a_private_integration_puts_the_stage_in_front(prod: Templates) -> None:
    name = stage(prod)["StageName"]
    rules = resources(prod["Services"], "AWS::ElasticLoadBalancingV2::ListenerRule").values()
    assert len(rules) == 2
    for rule in rules:
        (transform,) = rule["Transforms"]
        assert transform["Type"] == "url-rewrite"
        (rewrite,) = transform["UrlRewriteConfig"]["Rewrites"]
        replacement = rewrite["Replace"].replace("$", "\\")
        for path in body(prod)["paths"]:
            for sent in (f"/{name}{path}?wait=25", f"/{path.lstrip('/')}?wait=25"):
                assert re.sub(rewrite["Regex"], replacement, sent) == f"{path}?wait=25"
        assert re.sub(rewrite["Regex"], replacement, f"/{name}") == "/"


def test_the_load_balancer_is_internal_and_the_link_is_in_every_zone_with_its_own_group(prod: Templates) -> None:
    assert only(prod["Services"], "AWS::ElasticLoadBalancingV2::LoadBalancer")["Scheme"] == "internal"
    link = only(prod["Edge"], "AWS::ApiGatewayV2::VpcLink")
    assert len(link["SubnetIds"]) == 3
    (group,) = link["SecurityGroupIds"]
    assert "LinkSecurityGroup" in group["Fn::ImportValue"]


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_the_way_to_the_load_balancer_is_tls_and_its_certificates_name_is_checked(
    name: str, request: pytest.FixtureRequest
) -> None:
    made: Templates = request.getfixturevalue(name)
    assert stage(made)["Variables"] == {"gateway": "gateway.internal.example.com:443"}
    assert all(item["uri"].startswith("https://${stageVariables.gateway}/") for _, _, item in integrations(made))
    listeners = resources(made["Services"], "AWS::ElasticLoadBalancingV2::Listener").values()
    assert 443 in {item["Port"] for item in listeners}
    assert all(item["Protocol"] == "HTTPS" for item in listeners)


def test_the_events_stream_through_the_link_and_nothing_else_does(prod: Templates) -> None:
    streams = {
        (path, method) for path, method, item in integrations(prod) if item.get("responseTransferMode") == "STREAM"
    }
    assert streams == {("/v1/images/{id}/events", "get")}
    for path, method, item in integrations(prod):
        assert item["timeoutInMillis"] == (900_000 if (path, method) in streams else 29_000)


def test_keys_are_asked_for_on_v1_alone(prod: Templates) -> None:
    for path, item in body(prod)["paths"].items():
        for method, operation in item.items():
            assert ("security" in operation) == (path.startswith("/v1/") and method != "options")


def test_what_api_gateway_itself_refuses_is_problem_json(prod: Templates) -> None:
    answers = body(prod)["x-amazon-apigateway-gateway-responses"]
    assert {"INVALID_API_KEY", "THROTTLED", "WAF_FILTERED", "DEFAULT_4XX", "DEFAULT_5XX"} <= set(answers)
    for answer in answers.values():
        assert answer["responseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"


@pytest.mark.parametrize("name", STAGES)
def test_the_stage_and_each_key_are_throttled_as_the_settings_say(name: str, request: pytest.FixtureRequest) -> None:
    made: Templates = request.getfixturevalue(name)
    env = environment(name)
    (method,) = stage(made)["MethodSettings"]
    assert (method["ThrottlingRateLimit"], method["ThrottlingBurstLimit"]) == (
        env.api_requests_per_second,
        env.api_burst,
    )
    plan = only(made["Edge"], "AWS::ApiGateway::UsagePlan")["Throttle"]
    assert (plan["RateLimit"], plan["BurstLimit"]) == (env.key_requests_per_second, env.key_burst)


def test_the_access_log_names_keys_by_their_id_and_holds_nothing_that_opens_a_door(prod: Templates) -> None:
    log = stage(prod)["AccessLogSetting"]
    written = json.loads(log["Format"])
    assert written == FIELDS
    assert written["key_id"] == "$context.identity.apiKeyId"
    variables = set(re.findall(r"\$context\.[A-Za-z.]+", log["Format"]))
    # The key itself, and what has a query or a header in it.
    assert not variables & {
        "$context.identity.apiKey",
        "$context.path",
        "$context.authorizer",
        "$context.identity.caller",
    }
    assert "header" not in log["Format"].lower()


def test_the_access_log_is_kept_for_the_days_of_the_setting(prod: Templates) -> None:
    group = of_construct(prod["Edge"], "AWS::Logs::LogGroup", "AccessLog")
    assert group["RetentionInDays"] == 90
    assert stage(prod)["AccessLogSetting"]["DestinationArn"].endswith(f"log-group:{group['LogGroupName']}")


@pytest.mark.parametrize("name", STAGES)
def test_execution_logs_which_would_hold_keys_are_off(name: str, request: pytest.FixtureRequest) -> None:
    (method,) = stage(request.getfixturevalue(name))["MethodSettings"]
    assert (method["HttpMethod"], method["ResourcePath"]) == ("*", "/*")
    assert method["LoggingLevel"] == "OFF"
    assert method["DataTraceEnabled"] is False


def test_the_accounts_log_role_is_set_by_the_environment_that_is_to_and_is_api_gateways_alone(prod: Templates) -> None:
    role = of_construct(prod["Edge"], "AWS::IAM::Role", "AccessLogRole")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert role["ManagedPolicyArns"] == ["arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"]
    (account,) = resources(prod["Edge"], "AWS::ApiGateway::Account")
    (waiting,) = [item for item in prod["Edge"]["Resources"].values() if item["Type"] == "AWS::ApiGateway::Stage"]
    assert account in waiting["DependsOn"]


def test_tracing_is_a_setting(prod: Templates, staging: Templates) -> None:
    assert (stage(prod)["TracingEnabled"], stage(staging)["TracingEnabled"]) == (False, True)


def test_the_firewall_stands_before_the_stage(prod: Templates, staging: Templates) -> None:
    for made in (prod, staging):
        association = only(made["Edge"], "AWS::WAFv2::WebACLAssociation")
        (acl,) = resources(made["Edge"], "AWS::WAFv2::WebACL")
        assert association["WebACLArn"] == {"Fn::GetAtt": [acl, "Arn"]}
        (live,) = resources(made["Edge"], "AWS::ApiGateway::Stage")
        assert {"Ref": live} in association["ResourceArn"]["Fn::Join"][1]


def test_the_firewall_has_awss_managed_rules_and_none_of_them_is_only_counted_as_a_whole(prod: Templates) -> None:
    rules = firewall_rules(prod)
    managed = {name: rule for name, rule in rules.items() if "ManagedRuleGroupStatement" in rule["Statement"]}
    assert set(managed) == {
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesCommonRuleSet",
    }
    assert all(rule["OverrideAction"] == {"None": {}} for rule in managed.values())


def test_one_address_is_refused_beyond_its_rate(prod: Templates) -> None:
    rule = firewall_rules(prod)["rate-of-an-address"]
    assert rule["Action"] == {"Block": {}}
    assert rule["Statement"]["RateBasedStatement"] == {
        "AggregateKeyType": "IP",
        "Limit": 60_000,
        "EvaluationWindowSec": 300,
    }


def test_a_whole_office_behind_one_address_has_the_rate_of_a_key(prod: Templates) -> None:
    env = settings.load("prod", OWNERS)
    (rule,) = [rule for name, rule in firewall_rules(prod).items() if name == "rate-of-an-address"]
    assert rule["Statement"]["RateBasedStatement"]["Limit"] == env.edge.requests_per_address
    assert env.edge.requests_per_address >= env.key_requests_per_second * 300


def test_no_firewall_rule_refuses_what_our_clients_send(prod: Templates) -> None:
    """Bodies of more than 8 KB, queries of more than 2 KB, and people's own words in both."""
    statement = firewall_rules(prod)["AWSManagedRulesCommonRuleSet"]["Statement"]["ManagedRuleGroupStatement"]
    counted = {item["Name"] for item in statement["RuleActionOverrides"] if item["ActionToUse"] == {"Count": {}}}
    assert counted == set(COUNTED)
    # AWS WAF developer guide, "Core rule set (CRS) managed rule group": every rule over a body or a query's values.
    assert counted >= {
        f"{rule}_{part}"
        for rule in ("CrossSiteScripting", "GenericLFI", "GenericRFI", "EC2MetaDataSSRF")
        for part in ("BODY", "QUERYARGUMENTS")
    } | {"SizeRestrictions_BODY", "SizeRestrictions_QUERYSTRING", "RestrictedExtensions_QUERYARGUMENTS"}
    assert Gateway.model_fields["max_body_bytes"].default > 8_192


def test_the_firewalls_log_has_no_credential_and_no_query_and_its_samples_are_off(prod: Templates) -> None:
    log = only(prod["Edge"], "AWS::WAFv2::LoggingConfiguration")
    assert log["RedactedFields"] == [
        {"SingleHeader": {"Name": "x-api-key"}},
        {"SingleHeader": {"Name": "authorization"}},
        {"QueryString": {}},
    ]
    assert log["LoggingFilter"]["DefaultBehavior"] == "DROP"
    acl = only(prod["Edge"], "AWS::WAFv2::WebACL")
    for item in (acl, *acl["Rules"]):
        assert item["VisibilityConfig"]["SampledRequestsEnabled"] is False
    group = of_construct(prod["Edge"], "AWS::Logs::LogGroup", "FirewallLog")
    assert group["LogGroupName"].startswith("aws-waf-logs-")  # WAF takes no other


def test_clients_speak_tls_1_2_or_later_by_either_name(prod: Templates, closed: Templates) -> None:
    for item in (
        only(prod["Edge"], "AWS::ApiGateway::RestApi"),
        only(closed["Edge"], "AWS::ApiGateway::RestApi"),
        only(closed["Edge"], "AWS::ApiGateway::DomainName"),
    ):
        assert item["SecurityPolicy"] == "SecurityPolicy_TLS13_1_2_2021_06"
        assert item["EndpointAccessMode"] == "STRICT"


def test_a_name_of_its_own_has_the_given_certificate_and_is_the_only_way_in(closed: Templates, prod: Templates) -> None:
    domain = only(closed["Edge"], "AWS::ApiGateway::DomainName")
    assert domain["DomainName"] == "api.example.com"
    assert domain["RegionalCertificateArn"].endswith("0a1b2c3d-0000-4000-8000-000000000000")
    mapping = only(closed["Edge"], "AWS::ApiGateway::BasePathMapping")
    (live,) = resources(closed["Edge"], "AWS::ApiGateway::Stage")
    assert mapping["Stage"] == {"Ref": live}
    assert "BasePath" not in mapping
    assert only(closed["Edge"], "AWS::ApiGateway::RestApi")["DisableExecuteApiEndpoint"] is True
    assert closed["Edge"]["Outputs"]["ApiUrl"]["Value"] == "https://api.example.com"
    assert "DomainTarget" in closed["Edge"]["Outputs"]
    assert only(prod["Edge"], "AWS::ApiGateway::RestApi")["DisableExecuteApiEndpoint"] is False


@pytest.mark.parametrize("name", STAGES)
def test_pages_that_may_upload_may_also_call_the_api(name: str, request: pytest.FixtureRequest) -> None:
    """Buckets and gateway have the same origins, in a form that the gateway takes."""
    made: Templates = request.getfixturevalue(name)
    (value,) = [
        item["Value"]
        for item in resources(made["Core"], "AWS::SSM::Parameter").values()
        if item["Name"] == f"/darkroom/{name}/gateway/cors_origins"
    ]
    base = {"presign_target": "a:1", "metadata_target": "b:1", "image_target": "c:1", "presets": parameters.presets()}
    origins = Gateway.model_validate({**base, "cors_origins": value}).cors_origins
    assert origins == tuple(environment(name).browser_origins)
    for bucket in resources(made["Core"], "AWS::S3::Bucket").values():
        (rule,) = bucket["CorsConfiguration"]["CorsRules"]
        assert tuple(rule["AllowedOrigins"]) == origins


def test_failures_that_callers_see_raise_an_alarm(prod: Templates) -> None:
    alarm = only(prod["Edge"], "AWS::CloudWatch::Alarm")
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == ("5XXError", "Average", 0.02)
    assert {item["Name"]: item["Value"] for item in alarm["Dimensions"]} == {
        "ApiName": "darkroom-prod-api",
        "Stage": "live",
    }


def test_the_emulators_edge_has_nothing_of_all_this(local: Templates) -> None:
    kinds = {item["Type"] for item in local["Edge"]["Resources"].values()}
    assert kinds == {
        "AWS::ApiGateway::RestApi",
        "AWS::ApiGateway::Deployment",
        "AWS::ApiGateway::Stage",
        "AWS::ApiGateway::UsagePlan",
        "AWS::SSM::Parameter",
    }
