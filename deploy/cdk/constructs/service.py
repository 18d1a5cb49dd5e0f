"""What the four services have in common: tasks on Fargate in three zones, replaced without a gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aws_cdk import aws_ec2, aws_ecs
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.cluster import EcsCluster
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.roles import Statement
from deploy.cdk.constructs.security_group import SecurityGroup
from deploy.cdk.constructs.task import Health, Port, Size, TaskDefinition, log_configuration
from deploy.cdk.parameters import Service
from deploy.cdk.settings import AwsEnvironment
from deploy.cdk.tables.services import Tasks

GRPC_PORT: Final = 9090  # what the images listen on
# Seconds. Above the longest deadline of any call, 28 for a gateway's request and one more for a stream that is kept
# warm, and above whatever a server may still do for it: a rendering takes 65 at most.
REQUEST_SECONDS: Final = 120
IDLE_SECONDS: Final = 300  # the proxy's own default; not below the request's, which would be cut
GRACE_SECONDS: Final = 60  # for which a new task may fail its checks: a quarter vCPU starts Python in seconds
TEST_HEADER: Final = "x-amzn-ecs-blue-green-test"  # as the gateway hands it on (gateway/readiness.py)

GRPC: Final = Port(GRPC_PORT, "grpc", "grpc")
# Every 30 s: a probe starts an interpreter and costs half a second of CPU. It asks whether the service is SERVING,
# which metadata_svc is not while the database fails over (up to a minute): five failures, because a restart heals
# nothing there.
GRPC_HEALTH: Final = Health(
    command=("-m", "runtime.probe", f"grpc://127.0.0.1:{GRPC_PORT}"),
    interval=30,
    timeout=5,
    retries=5,
    start=GRACE_SECONDS,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where services run: what the stacks below have made."""

    vpc: aws_ec2.IVpc
    subnets: Sequence[str]
    cluster: EcsCluster
    key: Key | None
    image_tag: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """How a service is called: `connect` is Service Connect's part, `balancers` the load balancer's."""

    connect: dict[str, Any] | None = None
    balancers: list[dict[str, Any]] = field(default_factory=list)


def dns_name(service: str) -> str:
    """The name under which others call a service through Service Connect."""
    return service.replace("_", "-")


def target(service: str) -> str:
    """The gRPC target of a service for those who call it: the task's own proxy, which knows every task behind."""
    return f"proxy:{dns_name(service)}:{GRPC_PORT}"


def connected(service: str, *, blue_green: bool) -> dict[str, Any]:
    """A service's entry in Service Connect. With `blue_green`, calls with the test header go to the new version."""
    alias: dict[str, Any] = {"port": GRPC_PORT, "dnsName": dns_name(service)}
    if blue_green:
        alias["testTrafficRules"] = {"header": {"name": TEST_HEADER, "value": {"exact": service}}}
    return {
        "portName": "grpc",
        "discoveryName": dns_name(service),
        "clientAliases": [alias],
        "timeout": {"perRequestTimeoutSeconds": REQUEST_SECONDS, "idleTimeoutSeconds": IDLE_SECONDS},
    }


class FargateService(Construct):
    """One service: its task definition, roles, log group and security group; its tasks and how they are replaced."""

    def __init__(
        self,
        scope: Construct,
        env: AwsEnvironment,
        place: Place,
        *,
        service: Service,
        size: Size,
        statements: Sequence[Statement],
        environment: Mapping[str, str],
        calls: Sequence[Service],
        traffic: Traffic,
        deployment: dict[str, Any],
        providers: Sequence[dict[str, Any]],
        port: Port = GRPC,
        health: Health = GRPC_HEALTH,
        init: bool = False,
    ) -> None:
        """`calls` are the services behind; each is a target among the variables and an edge between groups."""
        super().__init__(scope, service)
        self.name: str = service
        self.cluster = place.cluster.name
        self.calls = tuple(calls)
        self.port = port.number
        self.settings: Tasks = getattr(env, service)
        targets = {f"{service}_{called.removesuffix('_svc')}_target".upper(): target(called) for called in calls}
        self.task = TaskDefinition(
            self,
            "Task",
            env,
            unit=service,
            service=service,
            image_tag=place.image_tag,
            size=size,
            statements=statements,
            key=place.key,
            environment={**targets, **environment},
            port=port,
            health=health,
            init=init,
        )
        self.security_group = SecurityGroup(self, "SecurityGroup", env, unit=service, vpc=place.vpc, https=True)
        self.resource = aws_ecs.CfnService(
            self,
            "Service",
            service_name=service,
            cluster=place.cluster.name,
            task_definition=self.task.arn,
            # No desired count: it is the scaling's, and a deployment must not take capacity away.
            capacity_provider_strategy=list(providers),
            availability_zone_rebalancing="ENABLED",
            platform_version="LATEST",
            deployment_controller={"type": "ECS"},
            deployment_configuration={"minimumHealthyPercent": 100, "maximumPercent": 200, **deployment},
            network_configuration={
                "awsvpcConfiguration": {
                    "subnets": list(place.subnets),
                    "securityGroups": [self.security_group.id],
                    "assignPublicIp": "DISABLED",
                }
            },
            load_balancers=traffic.balancers or None,
            # Only with a load balancer: the container's own check has a start period.
            health_check_grace_period_seconds=GRACE_SECONDS if traffic.balancers else None,
            service_connect_configuration={
                "enabled": True,
                "namespace": place.cluster.namespace.attr_arn,
                "logConfiguration": log_configuration(env, service, "proxy"),
                **({} if traffic.connect is None else {"services": [traffic.connect]}),
            },
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            enable_execute_command=False,
        )

    @property
    def arn_suffix(self) -> str:
        """The service as Application Auto Scaling names it."""
        return f"service/{self.cluster}/{self.name}"


def on_demand() -> list[dict[str, Any]]:
    """Capacity for what must answer: on demand."""
    return [{"capacityProvider": "FARGATE", "weight": 1}]


def bucket_objects(env: AwsEnvironment, unit: str, prefix: str = "") -> str:
    """ARN of the objects of a bucket under a prefix."""
    return f"{names.bucket_arn(env, unit)}/{prefix}*"
