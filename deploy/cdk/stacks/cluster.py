"""`Cluster`: where tasks run, and the tasks that run before and after a rollout. AWS only."""

from __future__ import annotations

from aws_cdk import CfnOutput, CfnParameter
from constructs import Construct

from deploy.cdk.constructs.cluster import EcsCluster
from deploy.cdk.constructs.migrations import Administration, Migrations
from deploy.cdk.constructs.security_group import SecurityGroup, allow
from deploy.cdk.settings import AwsEnvironment
from deploy.cdk.stacks.base import DarkroomStack
from deploy.cdk.stacks.core import Core
from deploy.cdk.stacks.database import Database
from deploy.cdk.stacks.network import Network


class Cluster(DarkroomStack):
    """ECS cluster, the services' namespace, and the task definitions of migrations and administration.

    A stack of its own: a new image's migrations run before the services change.
    """

    def __init__(
        self, scope: Construct, env: AwsEnvironment, *, core: Core, network: Network, database: Database
    ) -> None:
        super().__init__(scope, env)
        tag = image_tag(self)
        self.cluster = EcsCluster(self, "Ecs", env)
        migrations = Migrations(self, "Migrations", env, image_tag=tag, key=core.key)
        administration = Administration(self, "Administration", env, image_tag=tag, key=core.key)
        # Of tasks that speak to the database and are no service: migrations, administration, pruning.
        self.database_tasks = SecurityGroup(
            self, "DatabaseTasks", env, unit="database-tasks", vpc=network.vpc, https=True
        )
        allow(
            self,
            "TasksToDatabase",
            source=self.database_tasks.id,
            target=database.security_group.attr_group_id,
            port=database.port,
        )
        self.families = [
            definition.family for definition in (*migrations.definitions.values(), administration.definition)
        ]
        for name, value in {
            "ClusterName": self.cluster.resource.ref,
            "MigratePreTaskDefinition": migrations.definitions["pre"].arn,
            "MigratePostTaskDefinition": migrations.definitions["post"].arn,
            "AdminTaskDefinition": administration.definition.arn,
            "MigrationSecurityGroup": self.database_tasks.id,
        }.items():
            CfnOutput(self, name, value=value)


def image_tag(stack: DarkroomStack) -> str:
    """The parameter that says which version of the images a stack runs."""
    return CfnParameter(
        stack,
        "ImageTag",
        type="String",
        description="Tag of the images of all services, as pushed to ECR; it never moves",
        allowed_pattern=r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}",
        constraint_description="a tag of up to 128 letters, digits, dots, hyphens and underscores",
    ).value_as_string
