"""image_svc: the worker. Scales by the queue, mostly on Spot; replaced task by task, each drained first."""

from __future__ import annotations

from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.roles import Statement, key_use, parameters_of
from deploy.cdk.constructs.service import FargateService, Place, Traffic, bucket_objects, connected
from deploy.cdk.constructs.task import Size
from deploy.cdk.settings import AwsEnvironment

VCPU = 1_024  # CPU units


class ImageSvc(FargateService):
    """Fed by the queue, and called by the gateway for a variant that is not there yet.

    Rolling with circuit breaker: work that comes by a queue has no traffic to shift. x86-64, because pillow-simd has no
    other SIMD code.
    """

    def __init__(self, scope: Construct, env: AwsEnvironment, place: Place) -> None:
        tasks = env.image_svc
        super().__init__(
            scope,
            env,
            place,
            service="image_svc",
            size=Size(tasks.cpu, tasks.memory, "X86_64"),
            statements=[parameters_of(env, "image_svc"), *statements(env, place.key)],
            # Fargate shows a task the processors of its host's slice, which may be more than it was given.
            environment={"IMAGE_SVC_SLOTS": str(tasks.cpu // VCPU)},
            calls=("metadata_svc",),
            traffic=Traffic(connect=connected("image_svc", blue_green=False)),
            deployment={"strategy": "ROLLING", "deploymentCircuitBreaker": {"enable": True, "rollback": True}},
            providers=[
                {"capacityProvider": "FARGATE", "base": tasks.on_demand_base, "weight": tasks.on_demand_weight},
                {"capacityProvider": "FARGATE_SPOT", "weight": tasks.spot_weight},
            ],
            init=True,
        )


def statements(env: AwsEnvironment, key: Key | None) -> list[Statement]:
    """Originals are read and removed, variants written and removed, messages handled; a task may protect itself."""
    buckets = tuple(names.bucket_arn(env, unit) for unit in ("incoming", "media"))
    objects = tuple(bucket_objects(env, unit) for unit in ("incoming", "media"))
    cluster = names.resource(env, "services")
    return [
        Statement(
            actions=("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"), resources=buckets
        ),
        Statement(
            actions=("s3:GetObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"),
            resources=objects,
            why="Every tenant's images lie under ids of their own, and a purge removes whatever lies under an image's.",
        ),
        Statement(actions=("s3:PutObject",), resources=(bucket_objects(env, "media"),)),
        Statement(
            actions=(
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:SendMessage",
                "sqs:GetQueueAttributes",
            ),
            resources=(names.arn(env, "sqs", names.resource(env, "images")),),
        ),
        # Dead letters are looked at, to fail their images, and stay there for the redrive tool.
        Statement(
            actions=("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"),
            resources=(names.arn(env, "sqs", names.resource(env, "images-dlq")),),
        ),
        Statement(
            actions=("ecs:GetTaskProtection", "ecs:UpdateTaskProtection"),
            resources=(names.arn(env, "ecs", f"task/{cluster}/*"),),
            condition={"ArnEquals": {"ecs:cluster": names.cluster_arn(env)}},
            why="A task's id is made when it starts; the agent that the worker asks acts for its own task alone.",
        ),
        *key_use(key, "GenerateDataKey", "Decrypt"),
    ]
