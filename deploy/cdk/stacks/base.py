"""What every stack of ours is given."""

from __future__ import annotations

from aws_cdk import BootstraplessSynthesizer, Environment, Stack
from constructs import Construct

from deploy.cdk import settings


class DarkroomStack(Stack):
    """A stack named `darkroom-<stage>-<stack>`, in the environment's account and region.

    It has no assets, so it needs no bootstrap bucket and no roles: the template deploys as it is, to LocalStack too.
    """

    def __init__(self, scope: Construct, env: settings.Environment) -> None:
        name = type(self).__name__
        super().__init__(
            scope,
            name,
            env=Environment(account=env.account, region=env.region),
            stack_name=stack_name(env, name),
            description=f"Darkroom {env.stage}: {type(self).__doc__}",
            synthesizer=BootstraplessSynthesizer(),
            termination_protection=env.keep_data,
            tags={"darkroom:stage": env.stage, "darkroom:stack": name.lower()},
        )


def stack_name(env: settings.Environment, stack: str) -> str:
    """The name that CloudFormation knows a stack by."""
    return f"darkroom-{env.stage}-{stack.lower()}"
