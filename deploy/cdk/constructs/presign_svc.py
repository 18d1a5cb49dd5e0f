"""presign_svc: signs uploads and downloads; what it signs for it must be allowed itself."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.roles import Statement, key_use, parameters_of
from deploy.cdk.constructs.service import FargateService, Place, Traffic, bucket_objects, connected, on_demand
from deploy.cdk.constructs.task import Size
from deploy.cdk.settings import AwsEnvironment


class PresignSvc(FargateService):
    """Called by the gateway alone; replaced blue/green by Service Connect."""

    def __init__(self, scope: Construct, env: AwsEnvironment, place: Place, *, deployment: dict[str, Any]) -> None:
        super().__init__(
            scope,
            env,
            place,
            service="presign_svc",
            size=Size(env.presign_svc.cpu, env.presign_svc.memory, "ARM64"),
            statements=[parameters_of(env, "presign_svc"), *statements(env, place.key)],
            environment={},
            calls=(),
            traffic=Traffic(connect=connected("presign_svc", blue_green=True)),
            deployment=deployment,
            providers=on_demand(),
        )


def statements(env: AwsEnvironment, key: Key | None) -> list[Statement]:
    """What a ticket or a signed URL may do, and no more: S3 checks it against the signer."""
    uploads = bucket_objects(env, "incoming", names.INCOMING_PREFIX)
    return [
        Statement(
            actions=("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"), resources=(uploads,)
        ),
        Statement(
            actions=("s3:GetObject",),
            resources=(bucket_objects(env, "incoming"), bucket_objects(env, "media")),
            why="Every tenant's images lie under ids of their own; which of them is signed for is decided per request.",
        ),
        # With a key of our own: a PUT and its parts need a data key, a GET and the completion of an upload its opening.
        *key_use(key, "GenerateDataKey", "Decrypt"),
    ]
