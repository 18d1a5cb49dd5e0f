"""What the network promises, each promise a test over the synthesised template."""

from __future__ import annotations

import ipaddress
from typing import Any

from deploy.cdk.constructs.endpoints import SERVICES
from tests.support.templates import Template, listed, of_construct, only, resources, roles

Templates = dict[str, Template]


def subnets(template: Template, group: str) -> dict[str, Template]:
    """Subnets of a group, by logical id."""
    return {
        name: item
        for name, item in resources(template, "AWS::EC2::Subnet").items()
        if {"Key": "aws-cdk:subnet-name", "Value": group} in item["Tags"]
    }


def routes(template: Template, subnet: str) -> list[Template]:
    """Routes of a subnet beyond the VPC's own."""
    (table,) = [
        item["RouteTableId"]
        for item in resources(template, "AWS::EC2::SubnetRouteTableAssociation").values()
        if item["SubnetId"] == {"Ref": subnet}
    ]
    return [item for item in resources(template, "AWS::EC2::Route").values() if item["RouteTableId"] == table]


def interface_endpoints(template: Template) -> list[Template]:
    return [
        item for item in resources(template, "AWS::EC2::VPCEndpoint").values() if item["VpcEndpointType"] == "Interface"
    ]


def test_tasks_and_database_have_a_subnet_in_each_of_three_zones(prod: Templates) -> None:
    for group in ("tasks", "database"):
        zones = {item["AvailabilityZone"] for item in subnets(prod["Network"], group).values()}
        assert zones == {"ap-northeast-2a", "ap-northeast-2b", "ap-northeast-2c"}


def test_no_two_subnets_overlap_and_tasks_have_thousands_of_addresses(prod: Templates) -> None:
    networks = {
        name: ipaddress.IPv4Network(item["CidrBlock"])
        for name, item in resources(prod["Network"], "AWS::EC2::Subnet").items()
    }
    for name, one in networks.items():
        assert not any(one.overlaps(other) for other_name, other in networks.items() if other_name != name)
    assert all(networks[name].num_addresses > 4_000 for name in subnets(prod["Network"], "tasks"))


def test_nothing_gets_a_public_address_by_itself(prod: Templates, dev: Templates) -> None:
    for made in (prod, dev):
        found = resources(made["Network"], "AWS::EC2::Subnet").values()
        assert found
        assert all(item["MapPublicIpOnLaunch"] is False for item in found)


def test_public_subnets_hold_nat_gateways_and_nothing_else(prod: Templates) -> None:
    public = set(subnets(prod["Network"], "public"))
    assert {item["SubnetId"]["Ref"] for item in resources(prod["Network"], "AWS::EC2::NatGateway").values()} == public
    for stack, template in prod.items():
        used = str(template["Resources"]) if stack != "Network" else ""
        assert "publicSubnet" not in used


def test_the_database_subnets_have_no_way_out(prod: Templates) -> None:
    for name in subnets(prod["Network"], "database"):
        assert routes(prod["Network"], name) == []


def test_each_zone_leaves_by_its_own_nat_gateway_so_that_losing_one_zone_is_not_losing_all(prod: Templates) -> None:
    ways = [routes(prod["Network"], name) for name in subnets(prod["Network"], "tasks")]
    assert all([route["DestinationCidrBlock"] for route in way] == ["0.0.0.0/0"] for way in ways)
    assert len({str(way[0]["NatGatewayId"]) for way in ways}) == 3


def test_without_nat_there_are_no_public_subnets_and_no_way_out(closed: Templates) -> None:
    assert subnets(closed["Network"], "public") == {}
    for kind in ("AWS::EC2::NatGateway", "AWS::EC2::InternetGateway", "AWS::EC2::Route", "AWS::EC2::EIP"):
        assert resources(closed["Network"], kind) == {}


def test_nat_comes_and_goes_without_new_addresses_for_what_is_there(dev: Templates, closed: Templates) -> None:
    for group in ("tasks", "database"):
        assert {name: item["CidrBlock"] for name, item in subnets(dev["Network"], group).items()} == {
            name: item["CidrBlock"] for name, item in subnets(closed["Network"], group).items()
        }


def test_s3_is_reached_by_a_gateway_endpoint_from_every_task_subnet(prod: Templates, dev: Templates) -> None:
    for made in (prod, dev):
        (endpoint,) = [
            item
            for item in resources(made["Network"], "AWS::EC2::VPCEndpoint").values()
            if item["VpcEndpointType"] == "Gateway"
        ]
        assert endpoint["ServiceName"] == "com.amazonaws.ap-northeast-2.s3"
        tables = {
            item["RouteTableId"]["Ref"]
            for item in resources(made["Network"], "AWS::EC2::SubnetRouteTableAssociation").values()
            if item["SubnetId"]["Ref"] in subnets(made["Network"], "tasks")
        }
        assert {table["Ref"] for table in endpoint["RouteTableIds"]} == tables


def test_tasks_reach_no_bucket_but_ours_and_the_one_of_image_layers(prod: Templates) -> None:
    endpoint = of_construct(prod["Network"], "AWS::EC2::VPCEndpoint", "EndpointsS3")
    allowed = {arn for statement in endpoint["PolicyDocument"]["Statement"] for arn in listed(statement["Resource"])}
    bucket = "arn:aws:s3:::darkroom-prod-{}-123456789012-ap-northeast-2"
    assert allowed == {bucket.format(unit) + end for unit in ("incoming", "media") for end in ("", "/*")} | {
        "arn:aws:s3:::prod-ap-northeast-2-starport-layer-bucket/*"
    }


def test_every_service_that_tasks_call_has_an_endpoint_in_three_zones_with_its_own_name(prod: Templates) -> None:
    endpoints = interface_endpoints(prod["Network"])
    services = {item["ServiceName"].removeprefix("com.amazonaws.ap-northeast-2.") for item in endpoints}
    assert services == set(SERVICES.values()) == {
        "sqs", "sns", "secretsmanager", "ssm", "ecr.api", "ecr.dkr", "logs",
    }  # fmt: skip
    for item in endpoints:
        assert item["PrivateDnsEnabled"] is True
        assert {subnet["Ref"] for subnet in item["SubnetIds"]} == set(subnets(prod["Network"], "tasks"))


def test_endpoints_serve_this_account_from_inside_the_vpc_by_https_alone(prod: Templates) -> None:
    for item in interface_endpoints(prod["Network"]):
        (statement,) = item["PolicyDocument"]["Statement"]
        assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}
    group = of_construct(prod["Network"], "AWS::EC2::SecurityGroup", "EndpointsSecurityGroup")
    (rule,) = group["SecurityGroupIngress"]
    assert (rule["CidrIp"], rule["FromPort"], rule["ToPort"]) == ("10.40.0.0/16", 443, 443)


def test_endpoints_or_nat_is_a_setting(prod: Templates, dev: Templates, closed: Templates) -> None:
    counts = {
        name: (len(interface_endpoints(made["Network"])), len(resources(made["Network"], "AWS::EC2::NatGateway")))
        for name, made in (("prod", prod), ("dev", dev), ("closed", closed))
    }
    assert counts == {"prod": (7, 3), "dev": (0, 1), "closed": (9, 0)}


def test_without_nat_what_is_seldom_called_has_an_endpoint_too(prod: Templates, closed: Templates) -> None:
    seldom = {"com.amazonaws.ap-northeast-2.ecs", "com.amazonaws.ap-northeast-2.apigateway"}
    assert seldom <= {item["ServiceName"] for item in interface_endpoints(closed["Network"])}
    assert not seldom & {item["ServiceName"] for item in interface_endpoints(prod["Network"])}


def test_a_key_of_our_own_has_an_endpoint_too(with_kms: Templates) -> None:
    assert "com.amazonaws.ap-northeast-2.kms" in {
        item["ServiceName"] for item in interface_endpoints(with_kms["Network"])
    }


def test_flow_logs_note_the_whole_vpc_and_are_kept_for_the_days_of_the_setting(prod: Templates) -> None:
    log = only(prod["Network"], "AWS::EC2::FlowLog")
    group = only(prod["Network"], "AWS::Logs::LogGroup")
    assert (log["ResourceType"], log["TrafficType"]) == ("VPC", "ALL")
    assert log["ResourceId"] == {"Ref": next(iter(resources(prod["Network"], "AWS::EC2::VPC")))}
    assert log["LogGroupName"] == group["LogGroupName"] == "/darkroom/prod/vpc-flow"
    assert group["RetentionInDays"] == 90


def test_the_flow_logs_role_writes_to_its_group_and_serves_this_account_alone(prod: Templates) -> None:
    role = of_construct(prod["Network"], "AWS::IAM::Role", "FlowLogsRole")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    granted = [statement for name, statement in roles(prod["Network"]) if name.startswith("FlowLogsRole")]
    group = "arn:aws:logs:ap-northeast-2:123456789012:log-group:/darkroom/prod/vpc-flow"
    assert [statement["Resource"] for statement in granted] == [[group, f"{group}:*"]]
    assert all(action.startswith("logs:") for statement in granted for action in statement["Action"])


def test_the_default_security_group_is_emptied_at_once_and_every_day(prod: Templates) -> None:
    association = only(prod["Network"], "AWS::SSM::Association")
    (vpc,) = resources(prod["Network"], "AWS::EC2::VPC")
    assert association["Name"] == "AWSConfigRemediation-RemoveVPCDefaultSecurityGroupRules"
    assert association["ScheduleExpression"] == "rate(1 day)"
    assert association["Parameters"]["GroupId"] == [{"Fn::GetAtt": [vpc, "DefaultSecurityGroup"]}]


def test_whoever_empties_the_default_group_may_revoke_rules_of_that_group_alone(prod: Templates) -> None:
    (vpc,) = resources(prod["Network"], "AWS::EC2::VPC")
    (revoking,) = [
        statement
        for name, statement in roles(prod["Network"])
        if "ec2:RevokeSecurityGroupIngress" in listed(statement["Action"])
    ]
    (joined,) = listed(revoking["Resource"])
    assert joined["Fn::Join"][1][-1] == {"Fn::GetAtt": [vpc, "DefaultSecurityGroup"]}
    writing = {
        action
        for name, statement in roles(prod["Network"])
        if name.startswith("DefaultSecurityGroup")
        for action in listed(statement["Action"])
        if not action.split(":")[1].startswith(("Describe", "Get"))
    }
    assert writing == {
        "ec2:RevokeSecurityGroupIngress",
        "ec2:RevokeSecurityGroupEgress",
        "ssm:StartAutomationExecution",
        "iam:PassRole",
    }


def test_no_security_group_of_any_stack_is_open_to_the_world(prod: Templates, dev: Templates) -> None:
    seen = 0
    for made in (prod, dev):
        for template in made.values():
            rules: list[Any] = [
                rule
                for group in resources(template, "AWS::EC2::SecurityGroup").values()
                for rule in group.get("SecurityGroupIngress", ())
            ]
            rules += resources(template, "AWS::EC2::SecurityGroupIngress").values()
            seen += len(rules)
            for rule in rules:
                assert "CidrIpv6" not in rule
                assert rule.get("CidrIp", "10.").startswith("10.")
                assert rule["FromPort"] == rule["ToPort"]
    assert seen > 10


def test_the_vpc_link_reaches_the_web_ports_of_the_vpc_alone(prod: Templates) -> None:
    group = of_construct(prod["Network"], "AWS::EC2::SecurityGroup", "LinkSecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert {(rule["CidrIp"], rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]} == {
        ("10.40.0.0/16", 80, 80),
        ("10.40.0.0/16", 443, 443),
    }
