"""Whether what holds data outlives its stack."""

from __future__ import annotations

from aws_cdk import CfnDeletionPolicy, CfnResource

from deploy.cdk.settings import Environment


def keep(resource: CfnResource, env: Environment) -> None:
    """Keeps the resource when its stack is deleted or it is replaced, where the environment keeps its data.

    Not when its own creation is rolled back: it is empty then, and its name would stand in the way of the next attempt.
    """
    kept = env.keep_data
    resource.cfn_options.deletion_policy = (
        CfnDeletionPolicy.RETAIN_EXCEPT_ON_CREATE if kept else CfnDeletionPolicy.DELETE
    )
    resource.cfn_options.update_replace_policy = CfnDeletionPolicy.RETAIN if kept else CfnDeletionPolicy.DELETE
