"""What each of the four services is promised on AWS: each promise a test over the synthesised templates."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from deploy.cdk.constructs.service import REQUEST_SECONDS
from gateway.settings import Settings as Gateway
from image_svc.reconcile.settings import ReconcileSettings
from image_svc.settings import Settings as Image
from metadata_svc.settings import Settings as Metadata
from presign_svc.settings import Settings as Presign
from runtime import grpc_warm
from runtime.settings import ServiceSettings
from tests.support.template import edges, only, resources

Templates = dict[str, dict[str, Any]]
SERVICES: Final[dict[str, type[ServiceSettings]]] = {
    "gateway": Gateway,
    "presign_svc": Presign,
    "metadata_svc": Metadata,
    "image_svc": Image,
}
BEHIND: Final = ("presign_svc", "metadata_svc", "image_svc")


def definition(prod: Templates, unit: str, stack: str = "Services") -> dict[str, Any]:
    return only(prod[stack], "AWS::ECS::TaskDefinition", Family=f"darkroom-prod-{unit}")


def container(prod: Templates, unit: str, stack: str = "Services") -> dict[str, Any]:
    (found,) = definition(prod, unit, stack)["ContainerDefinitions"]
    return dict(found)


def variables(prod: Templates, unit: str, stack: str = "Services") -> dict[str, str]:
    return {item["Name"]: item["Value"] for item in container(prod, unit, stack)["Environment"]}


def service(prod: Templates, name: str) -> dict[str, Any]:
    return only(prod["Services"], "AWS::ECS::Service", ServiceName=name)


def group(prod: Templates, name: str) -> Any:
    """A reference to a security group of Services, as rules name it."""
    (logical,) = [
        key
        for key, item in resources(prod["Services"], "AWS::EC2::SecurityGroup").items()
        if item["GroupName"] == f"darkroom-prod-{name}"
    ]
    return {"Fn::GetAtt": [logical, "GroupId"]}


def test_there_are_four_services_in_three_zones_without_public_addresses(prod: Templates) -> None:
    services = resources(prod["Services"], "AWS::ECS::Service").values()
    assert {item["ServiceName"] for item in services} == set(SERVICES)
    for item in services:
        network = item["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["AssignPublicIp"] == "DISABLED"
        assert len(network["Subnets"]) == 3
        assert item["AvailabilityZoneRebalancing"] == "ENABLED"


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_a_task_role_an_execution_role_a_security_group_and_a_log_group_of_its_own(
    prod: Templates, name: str
) -> None:
    task = definition(prod, name)
    named = {key: item["RoleName"] for key, item in resources(prod["Services"], "AWS::IAM::Role").items()}
    assert named[task["TaskRoleArn"]["Fn::GetAtt"][0]] == f"darkroom-prod-{name}-task"
    assert named[task["ExecutionRoleArn"]["Fn::GetAtt"][0]] == f"darkroom-prod-{name}-execution"
    network = service(prod, name)["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["SecurityGroups"] == [group(prod, name)]
    logs = only(prod["Services"], "AWS::Logs::LogGroup", LogGroupName=f"/darkroom/prod/{name}")
    assert logs["RetentionInDays"] == 90
    assert container(prod, name)["LogConfiguration"]["Options"]["awslogs-group"] == f"/darkroom/prod/{name}"


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_root_no_capabilities_and_a_read_only_file_system(prod: Templates, name: str) -> None:
    made = container(prod, name)
    assert made["User"] == "10001:10001"
    assert made["ReadonlyRootFilesystem"] is True
    assert made["Privileged"] is False
    assert made["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert made["Ulimits"] == [{"Name": "nofile", "SoftLimit": 65_536, "HardLimit": 65_536}]


def test_only_the_worker_whose_children_have_children_has_an_init_process(prod: Templates) -> None:
    assert [name for name in SERVICES if container(prod, name)["LinuxParameters"]["InitProcessEnabled"]] == [
        "image_svc"
    ]


@pytest.mark.parametrize(
    ("name", "address"),
    [("gateway", "http://127.0.0.1:8080/healthz"), *((name, "grpc://127.0.0.1:9090") for name in BEHIND)],
)
def test_a_container_is_checked_by_its_own_health_command(prod: Templates, name: str, address: str) -> None:
    made = container(prod, name)
    check = made["HealthCheck"]
    assert check["Command"] == ["CMD", "/usr/bin/python3", "-m", "runtime.probe", address]
    assert made["PortMappings"][0]["ContainerPort"] == int(re.findall(r":(\d+)", address)[0])
    assert check["Timeout"] > 3, "the probe gives up by itself before"


def test_no_restart_heals_a_failover_so_a_service_may_be_unready_for_longer_than_one_takes(prod: Templates) -> None:
    for name in BEHIND:
        check = container(prod, name)["HealthCheck"]
        assert check["Interval"] * check["Retries"] > 2 * 60


@pytest.mark.parametrize("name", SERVICES)
def test_a_task_has_all_of_its_drain_and_two_minutes_to_stop(prod: Templates, name: str) -> None:
    assert container(prod, name)["StopTimeout"] == 120
    assert SERVICES[name].model_fields["drain_seconds"].default < 120


def test_the_worker_is_x86_with_one_on_demand_base_and_as_much_spot_the_others_are_arm_on_demand(
    prod: Templates,
) -> None:
    for name in SERVICES:
        architecture = definition(prod, name)["RuntimePlatform"]["CpuArchitecture"]
        providers = service(prod, name)["CapacityProviderStrategy"]
        if name == "image_svc":
            assert architecture == "X86_64"
            assert providers == [
                {"CapacityProvider": "FARGATE", "Base": 1, "Weight": 1},
                {"CapacityProvider": "FARGATE_SPOT", "Weight": 1},
            ]
        else:
            assert architecture == "ARM64"
            assert providers == [{"CapacityProvider": "FARGATE", "Weight": 1}]


def test_a_task_has_one_process_for_each_vcpu_so_that_cpu_targets_mean_something(prod: Templates) -> None:
    for name in SERVICES:
        cpu = int(definition(prod, name)["Cpu"])
        if name == "image_svc":
            assert variables(prod, name)["IMAGE_SVC_SLOTS"] == str(cpu // 1_024)
        else:
            assert cpu <= 1_024


@pytest.mark.parametrize("name", SERVICES)
def test_every_target_that_a_service_asks_for_is_the_address_of_a_service_that_it_may_call(
    prod: Templates, name: str
) -> None:
    asked = {field for field in SERVICES[name].model_fields if field.endswith("_target")}
    prefix = f"{name.upper()}_"
    given = {
        key.removeprefix(prefix).lower(): value
        for key, value in variables(prod, name).items()
        if key.endswith("_TARGET")
    }
    assert given.keys() == asked
    for field, value in given.items():
        called = field.removesuffix("_target") + "_svc"
        (entry,) = service(prod, called)["ServiceConnectConfiguration"]["Services"]
        (alias,) = entry["ClientAliases"]
        assert value == f"proxy:{alias['DnsName']}:{alias['Port']}"
        assert (group(prod, name), group(prod, called), 9090) in list(edges(prod["Services"]))


def test_every_other_variable_is_the_stage_the_region_or_the_tasks_own_size(prod: Templates) -> None:
    for name in SERVICES:
        given = {key: value for key, value in variables(prod, name).items() if not key.endswith("_TARGET")}
        assert given.pop("AWS_REGION") == "ap-northeast-2"
        assert given.pop("DARKROOM_STAGE") == "prod"
        assert given.pop("GRPC_VERBOSITY") == "NONE"
        assert given.keys() == ({"IMAGE_SVC_SLOTS"} if name == "image_svc" else set())
        assert "Secrets" not in container(prod, name)


def test_the_way_in_is_api_gateway_balancer_gateway_services_database_and_nothing_else(prod: Templates) -> None:
    found = {(str(source), str(target), port) for source, target, port in edges(prod["Services"])}
    ours = {str(group(prod, name)): name for name in (*SERVICES, "balancer", "rollout-probe", "reconciler")}
    told = {(ours.get(source, "outside"), ours.get(target, "outside"), port) for source, target, port in found}
    assert told == {
        ("outside", "balancer", 443),  # API Gateway's VPC link
        ("rollout-probe", "balancer", 443),
        ("rollout-probe", "balancer", 8443),
        ("balancer", "gateway", 8080),
        ("gateway", "presign_svc", 9090),
        ("gateway", "metadata_svc", 9090),
        ("gateway", "image_svc", 9090),
        ("image_svc", "metadata_svc", 9090),
        ("reconciler", "metadata_svc", 9090),
        ("metadata_svc", "outside", 5432),  # the database
    }
    for item in resources(prod["Services"], "AWS::EC2::SecurityGroup").values():
        assert "SecurityGroupIngress" not in item


def test_what_a_task_may_call_is_what_it_is_let_into_and_https(prod: Templates) -> None:
    out = {
        (str(rule["GroupId"]), str(rule["DestinationSecurityGroupId"]), rule["FromPort"])
        for rule in resources(prod["Services"], "AWS::EC2::SecurityGroupEgress").values()
    }
    ours = {str(group(prod, name)) for name in (*SERVICES, "balancer", "rollout-probe", "reconciler")}
    into = {(str(s), str(t), port) for s, t, port in edges(prod["Services"]) if str(s) in ours}
    assert out == into
    for item in resources(prod["Services"], "AWS::EC2::SecurityGroup").values():
        for rule in item["SecurityGroupEgress"]:
            assert (rule["IpProtocol"], rule["FromPort"]) in {("tcp", 443), ("icmp", 252)}


def test_service_connects_request_time_out_is_above_our_longest_deadline(prod: Templates) -> None:
    fields = Gateway.model_fields
    most = [item.le for item in fields["request_seconds"].metadata if hasattr(item, "le")]
    deadlines = [
        *most,  # whatever a gateway's setting is
        Image.model_fields["rpc_seconds"].default,
        Image.model_fields["render_seconds"].default + Image.model_fields["rpc_seconds"].default,
        ReconcileSettings.model_fields["reconcile_rpc_seconds"].default,
    ]
    for name in BEHIND:
        (entry,) = service(prod, name)["ServiceConnectConfiguration"]["Services"]
        timeout = entry["Timeout"]
        # A call may begin at the end of a stream's life.
        assert timeout["PerRequestTimeoutSeconds"] == REQUEST_SECONDS > max(deadlines) + grpc_warm._AGE
        assert timeout["IdleTimeoutSeconds"] > timeout["PerRequestTimeoutSeconds"]


def test_a_caller_starts_after_those_it_calls_so_that_its_proxy_knows_them(prod: Templates) -> None:
    items = {
        item["Properties"]["ServiceName"]: item
        for item in prod["Services"]["Resources"].values()
        if item["Type"] == "AWS::ECS::Service"
    }
    logical = {
        item["Properties"]["ServiceName"]: key
        for key, item in prod["Services"]["Resources"].items()
        if item["Type"] == "AWS::ECS::Service"
    }
    for caller, called in (("gateway", BEHIND), ("image_svc", ("metadata_svc",))):
        assert {logical[name] for name in called} <= set(items[caller]["DependsOn"])


def test_the_cluster_counts_running_tasks_and_knows_fargate_and_spot(prod: Templates) -> None:
    (cluster,) = resources(prod["Cluster"], "AWS::ECS::Cluster").values()
    assert cluster["ClusterSettings"] == [{"Name": "containerInsights", "Value": "enhanced"}]
    (providers,) = resources(prod["Cluster"], "AWS::ECS::ClusterCapacityProviderAssociations").values()
    assert providers["CapacityProviders"] == ["FARGATE", "FARGATE_SPOT"]


def test_images_have_tags_that_never_move_and_are_scanned_when_pushed(prod: Templates) -> None:
    repositories = resources(prod["Registry"], "AWS::ECR::Repository").values()
    assert {item["RepositoryName"] for item in repositories} == {f"darkroom-prod/{name}" for name in SERVICES}
    for item in repositories:
        assert item["ImageTagMutability"] == "IMMUTABLE"
        assert item["ImageScanningConfiguration"] == {"ScanOnPush": True}
        assert "LifecyclePolicy" in item
        assert "RepositoryPolicyText" not in item, "nobody outside of the account is let in"
    (scanning,) = resources(prod["Registry"], "AWS::ECR::RegistryScanningConfiguration").values()
    assert scanning["ScanType"] == "ENHANCED"


def test_every_task_runs_the_image_that_the_rollout_names(prod: Templates) -> None:
    for stack in ("Cluster", "Services"):
        assert "Default" not in prod[stack]["Parameters"]["ImageTag"]
        for item in resources(prod[stack], "AWS::ECS::TaskDefinition").values():
            (made,) = item["ContainerDefinitions"]
            name, tag = made["Image"]["Fn::Join"][1]
            assert name == f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/darkroom-prod/{made['Name']}:"
            assert tag == {"Ref": "ImageTag"}


def test_the_balancer_is_internal_speaks_tls_drops_what_is_malformed_and_cannot_be_deleted(prod: Templates) -> None:
    (balancer,) = resources(prod["Services"], "AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    assert balancer["Scheme"] == "internal"
    attributes = {item["Key"]: item["Value"] for item in balancer["LoadBalancerAttributes"]}
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["deletion_protection.enabled"] == "true"
    assert attributes["access_logs.s3.enabled"] == "true"
    idle = int(attributes["idle_timeout.timeout_seconds"])
    assert idle < Gateway.model_fields["keepalive_seconds"].default, "the balancer closes first"
    assert idle > 25, "a wait is not cut"
    for listener in resources(prod["Services"], "AWS::ElasticLoadBalancingV2::Listener").values():
        assert listener["Protocol"] == "HTTPS"
        assert listener["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")
        assert listener["DefaultActions"][0]["Type"] == "fixed-response"


def test_targets_are_checked_for_life_and_leave_after_their_longest_request(prod: Templates) -> None:
    groups = resources(prod["Services"], "AWS::ElasticLoadBalancingV2::TargetGroup").values()
    assert {item["Name"] for item in groups} == {"darkroom-prod-gateway-blue", "darkroom-prod-gateway-green"}
    for item in groups:
        assert item["HealthCheckPath"] == "/healthz"
        attributes = {entry["Key"]: entry["Value"] for entry in item["TargetGroupAttributes"]}
        assert int(attributes["deregistration_delay.timeout_seconds"]) >= 28


def test_dev_differs_in_values_and_may_do_without_tls(dev: Templates) -> None:
    for listener in resources(dev["Services"], "AWS::ElasticLoadBalancingV2::Listener").values():
        assert listener["Protocol"] == "HTTP"
    assert {item["ServiceName"] for item in resources(dev["Services"], "AWS::ECS::Service").values()} == set(SERVICES)


def test_the_access_log_takes_lines_from_load_balancers_alone_and_ends(prod: Templates) -> None:
    bucket = only(prod["Services"], "AWS::S3::Bucket")
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 90
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (policy,) = resources(prod["Services"], "AWS::S3::BucketPolicy").values()
    allowed = [item for item in policy["PolicyDocument"]["Statement"] if item["Effect"] == "Allow"]
    assert {item["Action"] for item in allowed} == {"s3:PutObject"}
    assert {str(item["Principal"]) for item in allowed} == {
        "{'Service': 'logdelivery.elasticloadbalancing.amazonaws.com'}",
        "{'AWS': 'arn:aws:iam::600734575887:root'}",  # load balancers of ap-northeast-2, as ELB's user guide has it
    }


def test_with_a_key_of_our_own_logs_and_images_are_encrypted_with_it(with_kms: Templates) -> None:
    for stack, kind, field in (
        ("Services", "AWS::Logs::LogGroup", "KmsKeyId"),
        ("Cluster", "AWS::Logs::LogGroup", "KmsKeyId"),
    ):
        assert all("Fn::ImportValue" in item[field] for item in resources(with_kms[stack], kind).values())
    for item in resources(with_kms["Registry"], "AWS::ECR::Repository").values():
        assert item["EncryptionConfiguration"]["EncryptionType"] == "KMS"
