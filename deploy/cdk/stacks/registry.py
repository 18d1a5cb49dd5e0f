"""`Registry`: where images and templates wait to be deployed. AWS only; deployed before anything is pushed."""

from __future__ import annotations

from typing import Final

from aws_cdk import CfnOutput
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.constructs.private_bucket import PrivateBucket
from deploy.cdk.constructs.repositories import SERVICES, Repositories
from deploy.cdk.constructs.signing import Signing
from deploy.cdk.settings import AwsEnvironment
from deploy.cdk.stacks.base import DarkroomStack
from deploy.cdk.stacks.core import Core

TEMPLATE_DAYS: Final = 90  # CloudFormation reads a template once, when it is deployed


class Registry(DarkroomStack):
    """A repository for each service's images, and a bucket for templates that are too large to be sent along."""

    def __init__(self, scope: Construct, env: AwsEnvironment, *, core: Core) -> None:
        super().__init__(scope, env)
        Repositories(self, "Repositories", env, key=core.key)
        if env.rollout.image_signing == "own":
            signing = Signing(self, "Signing")
            CfnOutput(self, "SigningProfile", value=signing.profile.attr_arn)
        templates = PrivateBucket(
            self,
            "Templates",
            env,
            unit="templates",
            days=TEMPLATE_DAYS,
            unlogged="Templates hold no data and no secret, and CloudTrail tells who deployed which of them.",
        )
        CfnOutput(self, "TemplatesBucket", value=templates.resource.ref)
        for service in SERVICES:
            name = "".join(word.capitalize() for word in service.split("_"))
            registry = f"{env.account}.dkr.ecr.{env.region}.amazonaws.com"
            CfnOutput(self, f"{name}Repository", value=f"{registry}/{names.repository(env, service)}")
