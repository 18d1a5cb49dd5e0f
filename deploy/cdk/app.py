"""The app: which stacks an environment has.

Synth needs no network, no credentials and no CDK command line. Importing this module starts node: call
`deploy.cdk.node.on_path` before.
"""

from __future__ import annotations

from aws_cdk import App

from deploy.cdk.settings import AwsEnvironment, Environment
from deploy.cdk.stacks.core import Core
from deploy.cdk.stacks.database import Database
from deploy.cdk.stacks.edge import Edge
from deploy.cdk.stacks.network import Network


def build(env: Environment, folder: str | None = None) -> App:
    """The app of one environment; `folder` is where `synth` writes (a temporary one where it is None)."""
    app = App(analytics_reporting=False, outdir=folder)
    core = Core(app, env)
    if isinstance(env, AwsEnvironment):
        network = Network(app, env, core=core)
        Database(app, env, network=network, core=core)
    Edge(app, env)
    return app
