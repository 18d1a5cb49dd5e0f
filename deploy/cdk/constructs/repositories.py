"""ECR: a repository for each service's images."""

from __future__ import annotations

import json
from typing import Final, get_args

from aws_cdk import aws_ecr
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.key import Key
from deploy.cdk.parameters import Service
from deploy.cdk.settings import AwsEnvironment

SERVICES: Final[tuple[Service, ...]] = get_args(Service)
# An image is followed by its signature and its bill of materials. What has no tag stays: a signature may have none.
ARTIFACTS: Final = 3


class Repositories(Construct):
    """Tags never move; every image is scanned when it is pushed; the newest are kept.

    Only this account's roles reach a repository (there is no policy that lets anybody else), and of ours only the
    execution role of the service itself has the right to pull.
    """

    def __init__(self, scope: Construct, construct_id: str, env: AwsEnvironment, *, key: Key | None) -> None:
        super().__init__(scope, construct_id)
        for service in SERVICES:
            repository = aws_ecr.CfnRepository(
                self,
                "".join(word.capitalize() for word in service.split("_")),
                repository_name=names.repository(env, service),
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration={"scanOnPush": True},
                encryption_configuration={"encryptionType": "AES256"}
                if key is None
                else {"encryptionType": "KMS", "kmsKey": key.arn},
                lifecycle_policy={"lifecyclePolicyText": _lifecycle(env.rollout.images_kept)},
                # A repository with images in it stays: deleting it would take the way back from a running service.
                empty_on_delete=False,
            )
            if key is None:
                acknowledge(
                    repository,
                    "CKV_AWS_136",
                    reason="Images hold published code and no data; ECR encrypts them with keys of its own, and a key "
                    "of ours is the setting encryption = kms.",
                )
        if env.rollout.image_scan == "enhanced":
            aws_ecr.CfnRegistryScanningConfiguration(
                self,
                "Scanning",
                scan_type="ENHANCED",
                rules=[
                    {
                        "scanFrequency": "CONTINUOUS_SCAN",
                        "repositoryFilters": [{"filter": f"{names.PRODUCT}-*", "filterType": "WILDCARD"}],
                    }
                ],
            )


def _lifecycle(kept: int) -> str:
    return json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "description": "All but the newest",
                    "selection": {
                        "tagStatus": "any",
                        "countType": "imageCountMoreThan",
                        "countNumber": kept * ARTIFACTS,
                    },
                    "action": {"type": "expire"},
                },
            ]
        },
        separators=(",", ":"),
    )
