"""What runs by hand or around a rollout, with rights that no service has: migrations and the administration."""

from __future__ import annotations

from typing import Final

from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.roles import Statement, key_use, parameters_of, secrets_of
from deploy.cdk.constructs.task import Size, TaskDefinition
from deploy.cdk.parameters import SECRETS
from deploy.cdk.settings import AwsEnvironment

SIZE: Final = Size(cpu=256, memory=512, architecture="ARM64")
# The roles that log in besides the owner; a migration gives them the passwords that their secrets hold.
LOGINS: Final = tuple(secret.unit for secret in SECRETS if secret.unit != "owner")


class Migrations(Construct):
    """Task definitions for `python -m metadata_svc.migrate`, before a rollout (`pre`) and after it (`post`).

    Nothing else reads the owner's secret. Both read it by themselves: it stands in no variable.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        image_tag: str,
        key: Key | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.definitions = {
            phase: TaskDefinition(
                self,
                phase.capitalize(),
                env,
                unit=f"migrate-{phase}",
                service="metadata_svc",
                image_tag=image_tag,
                size=SIZE,
                statements=[*secrets_of(env, ["owner", *LOGINS]), *key_use(key, "Decrypt")],
                key=key,
                # As asyncpg and every PostgreSQL client read it; the authorities are in the image (PGSSLROOTCERT).
                environment={"PGSSLMODE": "verify-full"},
                command=[
                    "-m",
                    "metadata_svc.migrate",
                    "--phase",
                    phase,
                    "--owner",
                    names.secret(env, "owner"),
                    *(part for unit in LOGINS for part in ("--secret", names.secret(env, unit))),
                ],
            )
            for phase in ("pre", "post")
        }


class Administration(Construct):
    """The task definition for `python -m metadata_svc.admin`: tenants and keys. The command is given when it is run."""

    def __init__(
        self, scope: Construct, construct_id: str, env: AwsEnvironment, *, image_tag: str, key: Key | None
    ) -> None:
        super().__init__(scope, construct_id)
        usage_plan = names.arn(env, "ssm", f"parameter{names.parameter(env, 'edge', 'usage_plan_id')}")
        api = f"arn:aws:apigateway:{env.region}::"
        self.definition = TaskDefinition(
            self,
            "Task",
            env,
            unit="admin",
            service="metadata_svc",
            image_tag=image_tag,
            size=SIZE,
            statements=[
                parameters_of(env, "metadata_svc"),
                Statement(actions=("ssm:GetParameter",), resources=(usage_plan,)),
                *secrets_of(env, ["maintenance"]),
                Statement(
                    actions=("apigateway:POST",),
                    resources=(f"{api}/apikeys", f"{api}/usageplans/*/keys"),
                    why="Keys join the usage plan, whose id API Gateway makes up; there is one plan an environment.",
                ),
                Statement(
                    actions=("apigateway:DELETE",),
                    resources=(f"{api}/apikeys/*",),
                    why="A revoked key is deleted by its id, which API Gateway makes up.",
                ),
                # What it prints is in a log: a new key goes into a secret of its own, which it cannot read again.
                Statement(
                    actions=("secretsmanager:CreateSecret",),
                    resources=(names.arn(env, "secretsmanager", f"secret:{names.new_key_secret(env, '*')}"),),
                    why="The secret of a new API key is named after what the operator calls it.",
                ),
                *key_use(key, "Decrypt"),
            ],
            key=key,
            environment={},
            command=["-m", "metadata_svc.admin", "--help"],
        )
