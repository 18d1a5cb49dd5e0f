"""Aurora's minimum capacity by the calendar: it is no target of Application Auto Scaling."""

from __future__ import annotations

from typing import Final

from constructs import Construct

from deploy.capacity.plan import ServicePlan
from deploy.cdk import names
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.roles import Role, Statement, key_use
from deploy.cdk.constructs.schedules import Schedules, payload
from deploy.cdk.settings import AwsEnvironment

# The scheduler calls the API itself: no function of ours in between.
UNIVERSAL_TARGET: Final = "arn:aws:scheduler:::aws-sdk:rds:modifyDBCluster"
MINUTES: Final = 30  # how late a change may still come: the plan's lead


class DatabaseMinimum(Construct):
    """A schedule for each change of the plan, with a role that may modify this one cluster and nothing else."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        cluster: str,
        plan: ServicePlan,
        least: float,
        most: float,
        schedules: Schedules,
        key: Key | None,
    ) -> None:
        """`cluster` is its identifier; `least` and `most` are the ACUs of its settings."""
        super().__init__(scope, construct_id)
        role = Role(
            self,
            "Role",
            env,
            unit="database-minimum",
            assumer="scheduler",
            description="Sets the database's minimum capacity by the calendar",
            statements=[
                Statement(actions=("rds:ModifyDBCluster",), resources=(names.arn(env, "rds", f"cluster:{cluster}"),)),
                schedules.dead_letter,
                *key_use(key, "GenerateDataKey", "Decrypt"),
            ],
        )
        for action in plan.actions:
            minimum = min(max(action.minimum, least), most)
            schedules.add(
                self,
                "".join(part.capitalize() for part in action.name.split("-")),
                env,
                unit=action.name,
                expression=action.schedule,
                description=f"At least {minimum:g} ACU from then on",
                start=action.start,
                minutes=MINUTES,
                target={
                    "arn": UNIVERSAL_TARGET,
                    "roleArn": role.resource.attr_arn,
                    "input": payload(
                        {
                            "DbClusterIdentifier": cluster,
                            "ServerlessV2ScalingConfiguration": {"MinCapacity": minimum, "MaxCapacity": most},
                            "ApplyImmediately": True,
                        }
                    ),
                },
            )
