"""The reconciler and the pruning: tasks that start by the clock, do one round and end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.roles import Role, Statement, key_use
from deploy.cdk.constructs.schedules import Schedules
from deploy.cdk.constructs.security_group import SecurityGroup
from deploy.cdk.constructs.service import Place
from deploy.cdk.constructs.task import TaskDefinition
from deploy.cdk.settings import AwsEnvironment

ECS_TARGET: Final = "arn:aws:scheduler:::ecs:runTask"


class ScheduledTask(Construct):
    """Starts a task definition by an expression, through a role that may start it and nothing else.

    That the task then ends well is watched by `FailedTasks`: to the scheduler, starting is success.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        place: Place,
        *,
        unit: str,
        expression: str,
        description: str,
        minutes: int,
        task: TaskDefinition,
        security_group: SecurityGroup,
        schedules: Schedules,
    ) -> None:
        super().__init__(scope, construct_id)
        role = Role(
            self,
            "Role",
            env,
            unit=f"{unit}-schedule",
            assumer="scheduler",
            description=f"Starts {unit} by the clock",
            statements=[
                *_may_start(env, task),
                schedules.dead_letter,
                *key_use(place.key, "GenerateDataKey", "Decrypt"),
            ],
        )
        schedules.add(
            self,
            "Schedule",
            env,
            unit=unit,
            expression=expression,
            description=description,
            minutes=minutes,
            target={
                "arn": names.cluster_arn(env),
                "roleArn": role.resource.attr_arn,
                "ecsParameters": {
                    "taskDefinitionArn": task.arn,
                    "taskCount": 1,
                    "launchType": "FARGATE",
                    "platformVersion": "LATEST",
                    "propagateTags": "TASK_DEFINITION",
                    "enableEcsManagedTags": True,
                    "networkConfiguration": {
                        "awsvpcConfiguration": {
                            "subnets": list(place.subnets),
                            "securityGroups": [security_group.id],
                            "assignPublicIp": "DISABLED",
                        }
                    },
                },
            },
        )


def _may_start(env: AwsEnvironment, task: TaskDefinition) -> Sequence[Statement]:
    return (
        Statement(
            actions=("ecs:RunTask",),
            resources=(names.arn(env, "ecs", f"task-definition/{task.family}:*"),),
            condition={"ArnEquals": {"ecs:cluster": names.cluster_arn(env)}},
            why="Every revision of this one task definition: a rollout makes a new one.",
        ),
        Statement(
            actions=("iam:PassRole",),
            resources=(task.role.arn, task.execution_role.arn),
            condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
        Statement(
            actions=("ecs:TagResource",),
            resources=(names.arn(env, "ecs", f"task/{names.resource(env, 'services')}/*"),),
            condition={"StringEquals": {"ecs:CreateAction": "RunTask"}},
            why="A task's id is made when it starts; tags are set in that call alone.",
        ),
    )
