"""metadata_svc: the only one that speaks to the database; relays its outbox to the topic and the queue. No S3."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.roles import Statement, key_use, parameters_of, secrets_read_by
from deploy.cdk.constructs.service import FargateService, Place, Traffic, connected, on_demand
from deploy.cdk.constructs.task import Size
from deploy.cdk.settings import AwsEnvironment


class MetadataSvc(FargateService):
    """Called by the gateway and by image_svc; replaced blue/green by Service Connect."""

    def __init__(self, scope: Construct, env: AwsEnvironment, place: Place, *, deployment: dict[str, Any]) -> None:
        super().__init__(
            scope,
            env,
            place,
            service="metadata_svc",
            size=Size(env.metadata_svc.cpu, env.metadata_svc.memory, "ARM64"),
            statements=[
                parameters_of(env, "metadata_svc"),
                *secrets_read_by(env, "metadata_svc"),
                *statements(env, place.key),
            ],
            environment={},
            calls=(),
            traffic=Traffic(connect=connected("metadata_svc", blue_green=True)),
            deployment=deployment,
            providers=on_demand(),
        )


def statements(env: AwsEnvironment, key: Key | None) -> list[Statement]:
    """Sending what the outbox holds, nothing else."""
    return [
        Statement(actions=("sns:Publish",), resources=(names.arn(env, "sns", names.resource(env, "events")),)),
        Statement(actions=("sqs:SendMessage",), resources=(names.arn(env, "sqs", names.resource(env, "images")),)),
        # With a key of our own: to send to an encrypted queue or topic, and to open the secrets.
        *key_use(key, "GenerateDataKey", "Decrypt"),
    ]
