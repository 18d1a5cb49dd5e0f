"""What keeps database and buckets tidy by the clock: image_svc's reconciler and metadata_svc's pruning."""

from __future__ import annotations

from typing import Final

from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.roles import Statement, key_use, parameters_of, secrets_of
from deploy.cdk.constructs.scheduled_tasks import ScheduledTask
from deploy.cdk.constructs.schedules import Schedules
from deploy.cdk.constructs.security_group import SecurityGroup, allow
from deploy.cdk.constructs.service import FargateService, Place, bucket_objects
from deploy.cdk.constructs.task import Size, TaskDefinition
from deploy.cdk.settings import AwsEnvironment

RECONCILER_SIZE: Final = Size(cpu=512, memory=1_024, architecture="X86_64")  # its image is image_svc's
PRUNING_SIZE: Final = Size(cpu=256, memory=512, architecture="ARM64")
MINUTES: Final = 60  # how late a daily round may still begin


class Maintenance(Construct):
    """Both run once a day, each with a role and a security group of its own."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        place: Place,
        *,
        schedules: Schedules,
        metadata: FargateService,
        database_tasks: SecurityGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        reconciler = self._reconciler(env, place, metadata)
        group = SecurityGroup(self, "ReconcilerGroup", env, unit="reconciler", vpc=place.vpc, https=True)
        allow(self, "ReconcilerToMetadataSvc", source=group.id, target=metadata.security_group.id, port=metadata.port)
        ScheduledTask(
            self,
            "Reconcile",
            env,
            place,
            unit="reconcile",
            expression=f"cron(0 {env.tasks.reconcile_hour} * * ? *)",
            description="Compares the buckets with the rows, both ways",
            minutes=MINUTES,
            task=reconciler,
            security_group=group,
            schedules=schedules,
        )
        pruning = self._pruning(env, place)
        ScheduledTask(
            self,
            "Prune",
            env,
            place,
            unit="prune",
            expression=f"cron(30 {env.tasks.prune_hour} * * ? *)",
            description="Removes rows that nobody asks for any more",
            minutes=MINUTES,
            task=pruning,
            security_group=database_tasks,
            schedules=schedules,
        )
        self.families = [reconciler.family, pruning.family]

    def _reconciler(self, env: AwsEnvironment, place: Place, metadata: FargateService) -> TaskDefinition:
        cluster = names.resource(env, "services")
        asked = {"ArnEquals": {"ecs:cluster": names.cluster_arn(env)}}
        return TaskDefinition(
            self,
            "Reconciler",
            env,
            unit="reconcile",
            service="image_svc",
            image_tag=place.image_tag,
            size=RECONCILER_SIZE,
            statements=[
                parameters_of(env, "image_svc"),
                Statement(
                    actions=("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"),
                    resources=tuple(names.bucket_arn(env, unit) for unit in ("incoming", "media")),
                ),
                Statement(
                    # HeadObject is GetObject's right.
                    actions=("s3:GetObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"),
                    resources=tuple(bucket_objects(env, unit) for unit in ("incoming", "media")),
                    why="It looks at every object of both buckets and removes those that no row knows.",
                ),
                Statement(
                    actions=("sqs:GetQueueAttributes",),
                    resources=(names.arn(env, "sqs", names.resource(env, "images")),),
                ),
                Statement(
                    actions=("ecs:ListTasks",),
                    resources=("*",),
                    condition=asked,
                    why="Listing tasks has no resource on Fargate to limit it to; the condition names our cluster.",
                ),
                Statement(
                    actions=("ecs:DescribeTasks",),
                    resources=(names.arn(env, "ecs", f"task/{cluster}/*"),),
                    condition=asked,
                    why="A task's id is made when it starts; the tasks of this cluster alone are looked at.",
                ),
                *key_use(place.key, "Decrypt"),
            ],
            key=place.key,
            # Service Connect serves services alone: a task that ends looks up the tasks behind by itself.
            environment={"IMAGE_SVC_METADATA_TARGET": f"ecs:{cluster}/{metadata.name}:{metadata.port}"},
            command=["-m", "image_svc.reconcile"],
        )

    def _pruning(self, env: AwsEnvironment, place: Place) -> TaskDefinition:
        return TaskDefinition(
            self,
            "Pruning",
            env,
            unit="prune",
            service="metadata_svc",
            image_tag=place.image_tag,
            size=PRUNING_SIZE,
            statements=[
                parameters_of(env, "metadata_svc"),
                *secrets_of(env, ["maintenance"]),
                *key_use(place.key, "Decrypt"),
            ],
            key=place.key,
            environment={},
            command=["-m", "metadata_svc.prune"],
        )
