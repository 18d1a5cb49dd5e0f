"""The app: which stacks an environment has.

Synth needs no network, no credentials and no CDK command line. Importing this module starts node: call
`deploy.cdk.node.on_path` before.
"""

from __future__ import annotations

from aws_cdk import App, BootstraplessSynthesizer
from aws_cdk import Environment as Target

from deploy.cdk.settings import Environment
from deploy.cdk.stacks.core import Core
from deploy.cdk.stacks.edge import Edge


def build(env: Environment, folder: str | None = None) -> App:
    """The app of one environment; `folder` is where `synth` writes (a temporary one where it is None)."""
    app = App(analytics_reporting=False, outdir=folder)
    target = Target(account=env.account, region=env.region)
    for stack in (Core, Edge):
        name = stack.__name__
        stack(
            app,
            name,
            env,
            env=target,
            stack_name=f"darkroom-{env.stage}-{name.lower()}",
            description=f"Darkroom {env.stage}: {stack.__doc__}",
            # No assets, so no bootstrap bucket and no roles: the template deploys as it is, to LocalStack too.
            synthesizer=BootstraplessSynthesizer(),
            termination_protection=env.keep_data,
            tags={"darkroom:stage": env.stage, "darkroom:stack": name.lower()},
        )
    return app
