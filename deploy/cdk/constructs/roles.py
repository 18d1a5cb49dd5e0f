"""Roles of tasks, functions and schedules: statements that say why they hold a wildcard, where they must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aws_cdk import aws_iam
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.key import Key
from deploy.cdk.parameters import SECRETS
from deploy.cdk.settings import Environment

Assumer = Literal["ecs-tasks", "ecs", "lambda", "scheduler"]

PREFIX: Final = "Actions on what lies under this name alone; the parts after it are made at run time."


@dataclass(frozen=True, slots=True)
class Statement:
    """What a role may do. `why` is the reason for a wildcard among the resources, in a sentence."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Mapping[str, Any] | None = None
    why: str = PREFIX

    def render(self) -> dict[str, Any]:
        """The statement as IAM takes it."""
        made: dict[str, Any] = {
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }
        return made if self.condition is None else {**made, "Condition": dict(self.condition)}


class Role(Construct):
    """A role named `darkroom-<stage>-<unit>` that one AWS service assumes, for this account and region only."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: Environment,
        *,
        unit: str,
        assumer: Assumer,
        description: str,
        statements: Sequence[Statement],
    ) -> None:
        super().__init__(scope, construct_id)
        self.name = names.resource(env, unit)
        self.arn = f"arn:aws:iam::{env.account}:role/{self.name}"
        self.resource = aws_iam.CfnRole(
            self,
            "Resource",
            role_name=self.name,
            description=description,
            assume_role_policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": f"{assumer}.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                        # Against confused deputies, where the service says on whose behalf it comes.
                        **(
                            {"Condition": {"StringEquals": {"aws:SourceAccount": env.account}}}
                            if assumer in {"ecs-tasks", "scheduler"}
                            else {}
                        ),
                    }
                ],
            },
            policies=[
                aws_iam.CfnRole.PolicyProperty(
                    policy_name="own",
                    policy_document={
                        "Version": "2012-10-17",
                        "Statement": [statement.render() for statement in statements],
                    },
                )
            ]
            if statements
            else None,
        )
        for statement in statements:
            for resource in statement.resources:
                if "*" in resource:
                    acknowledge(self.resource, f"AwsSolutions-IAM5[Resource::{resource}]", reason=statement.why)


def parameters_of(env: Environment, service: str) -> Statement:
    """Reading settings as `runtime.settings` does: by path, the shared folder and the service's own."""
    folders = [names.arn(env, "ssm", f"parameter/{names.PRODUCT}/{env.stage}/{part}") for part in ("shared", service)]
    return Statement(
        actions=("ssm:GetParametersByPath",),
        resources=tuple(arn for folder in folders for arn in (folder, f"{folder}/*")),
        why="Parameters are read by path, so that a new one needs no new right; the path is the service's own folder.",
    )


def secrets_of(env: Environment, units: Sequence[str]) -> list[Statement]:
    """Reading exactly these database secrets, by the units of `parameters.SECRETS`; nothing for none."""
    if not units:
        return []
    known = {secret.unit for secret in SECRETS}
    if not set(units) <= known:
        raise ValueError(f"no such secret: {', '.join(sorted(set(units) - known))}")
    # Secrets Manager adds a hyphen and six characters to the name.
    arns = [names.arn(env, "secretsmanager", f"secret:{names.secret(env, unit)}-??????") for unit in units]
    return [Statement(actions=("secretsmanager:GetSecretValue",), resources=tuple(arns))]


def secrets_read_by(env: Environment, service: str) -> list[Statement]:
    """Reading the secrets that list the service among their readers."""
    return secrets_of(env, [secret.unit for secret in SECRETS if service in secret.readers])


def key_use(key: Key | None, *actions: str) -> list[Statement]:
    """Using the environment's own key, where it has one. `actions` without their `kms:`."""
    if key is None:
        return []
    return [Statement(actions=tuple(f"kms:{action}" for action in actions), resources=(key.arn,))]


def execution_statements(env: Environment, *, repository: str, log_group: str) -> list[Statement]:
    """Starting a container: pulling one repository's images and writing one group's logs."""
    return [
        Statement(
            actions=("ecr:GetAuthorizationToken",),
            resources=("*",),
            why="The token is the registry's: ECR has no resource to limit this action to (service authorization "
            "reference).",
        ),
        Statement(
            actions=("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
            resources=(names.arn(env, "ecr", f"repository/{repository}"),),
        ),
        Statement(
            actions=("logs:CreateLogStream", "logs:PutLogEvents"),
            resources=(names.arn(env, "logs", f"log-group:{log_group}:log-stream:*"),),
            why="Each task makes log streams of its own, in this log group alone.",
        ),
    ]
