"""A task definition: one hardened container from our own repository, with its roles and its log group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aws_cdk import aws_ecs, aws_logs
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.keep import keep
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.roles import Role, Statement, execution_statements
from deploy.cdk.parameters import Service
from deploy.cdk.settings import AwsEnvironment

PYTHON: Final = "/usr/bin/python3"  # where the images have it
USER: Final = "10001:10001"  # the images' own
STOP_SECONDS: Final = 120  # Fargate's longest: drain (25 s unless set, at most 110) and whatever lies around it
OPEN_FILES: Final = 65_536  # connections are files; the default of Fargate is 65,535 (soft), which a fork inherits
LOG_BUFFER: Final = "25m"  # a log service that is slow costs lines, never the service its breath


@dataclass(frozen=True, slots=True)
class Size:
    """CPU units, MiB and architecture of a task."""

    cpu: int
    memory: int
    architecture: Literal["ARM64", "X86_64"]


@dataclass(frozen=True, slots=True)
class Port:
    """A port that the container listens on; `name` and `protocol` are for Service Connect."""

    number: int
    name: str
    protocol: Literal["http", "grpc"]


@dataclass(frozen=True, slots=True)
class Health:
    """The health command of a container. Seconds; `retries` failures in a row end the task."""

    command: tuple[str, ...]
    interval: int
    timeout: int
    retries: int
    start: int


class TaskDefinition(Construct):
    """What `unit` runs: the image of `service` under `image_tag`, its entry point, or `command` of `python3`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        unit: str,
        service: Service,
        image_tag: str,
        size: Size,
        statements: Sequence[Statement],
        key: Key | None,
        environment: Mapping[str, str],
        command: Sequence[str] | None = None,
        port: Port | None = None,
        health: Health | None = None,
        init: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self.container = service
        self.family = names.resource(env, unit)
        self.logs = _log_group(self, env, unit, key)
        repository = names.repository(env, service)
        self.role = Role(
            self,
            "Role",
            env,
            unit=f"{unit}-task",
            assumer="ecs-tasks",
            description=f"What {unit} may do",
            statements=statements,
        )
        self.execution_role = Role(
            self,
            "ExecutionRole",
            env,
            unit=f"{unit}-execution",
            assumer="ecs-tasks",
            description=f"Starts {unit}: pulls its image, writes its log",
            statements=execution_statements(env, repository=repository, log_group=names.log_group(env, unit)),
        )
        # As the L1 takes it inside lists: in CloudFormation's names, with a small first letter.
        container: dict[str, Any] = {
            "name": service,
            "image": f"{env.account}.dkr.ecr.{env.region}.amazonaws.com/{repository}:{image_tag}",
            "essential": True,
            "user": USER,
            "readonlyRootFilesystem": True,
            "privileged": False,
            "environment": [
                {"name": name, "value": value}
                for name, value in sorted(
                    {
                        "AWS_REGION": env.region,
                        "DARKROOM_STAGE": env.stage,
                        # gRPC's core writes lines of its own into our JSON; what matters comes up as an error.
                        "GRPC_VERBOSITY": "NONE",
                        **environment,
                    }.items()
                )
            ],
            "linuxParameters": {
                "capabilities": {"drop": ["ALL"]},
                # Where children of children may be left behind, somebody has to reap them.
                "initProcessEnabled": init,
            },
            # All that Fargate lets a task set; processes are bounded by the sandbox's own seccomp filter and limits.
            "ulimits": [{"name": "nofile", "softLimit": OPEN_FILES, "hardLimit": OPEN_FILES}],
            "stopTimeout": STOP_SECONDS,
            "logConfiguration": log_configuration(env, unit, "task"),
        }
        if command is not None:
            container["entryPoint"] = [PYTHON]
            container["command"] = list(command)
        if port is not None:
            container["portMappings"] = [
                {
                    "containerPort": port.number,
                    "protocol": "tcp",
                    "name": port.name,
                    "appProtocol": port.protocol,
                }
            ]
        if health is not None:
            container["healthCheck"] = {
                "command": ["CMD", PYTHON, *health.command],
                "interval": health.interval,
                "timeout": health.timeout,
                "retries": health.retries,
                "startPeriod": health.start,
            }
        self.resource = aws_ecs.CfnTaskDefinition(
            self,
            "Resource",
            family=self.family,
            cpu=str(size.cpu),
            memory=str(size.memory),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform={"cpuArchitecture": size.architecture, "operatingSystemFamily": "LINUX"},
            task_role_arn=self.role.resource.attr_arn,
            execution_role_arn=self.execution_role.resource.attr_arn,
            container_definitions=[container],
        )
        self.resource.add_resource_dependency(self.logs)
        acknowledge(
            self.resource,
            "AwsSolutions-ECS2",
            reason="These variables hold names, addresses and sizes; every secret value is read from Secrets Manager "
            "at run time and never stands in a task definition.",
        )
        self.arn = self.resource.ref


def log_configuration(env: AwsEnvironment, unit: str, prefix: str) -> dict[str, Any]:
    """Logs of a container to its unit's group; when CloudWatch is slow, lines are lost instead of time."""
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": names.log_group(env, unit),
            "awslogs-region": env.region,
            "awslogs-stream-prefix": prefix,
            "mode": "non-blocking",
            "max-buffer-size": LOG_BUFFER,
        },
    }


def _log_group(scope: Construct, env: AwsEnvironment, unit: str, key: Key | None) -> aws_logs.CfnLogGroup:
    group = aws_logs.CfnLogGroup(
        scope,
        "Logs",
        log_group_name=names.log_group(env, unit),
        retention_in_days=env.rollout.log_days,
        kms_key_id=None if key is None else key.arn,
    )
    keep(group, env)
    if key is None:
        acknowledge(
            group,
            "CKV_AWS_158",
            reason="CloudWatch encrypts every log group by itself; our lines hold neither keys nor signed URLs nor "
            "file contents, and a key of our own is the setting encryption = kms.",
        )
    return group
