"""The app: which stacks an environment has.

Synth needs no network, no credentials and no CDK command line. Importing this module starts node: call
`deploy.cdk.node.on_path` before.
"""

from __future__ import annotations

from aws_cdk import App

from deploy.cdk.settings import AwsEnvironment, Environment
from deploy.cdk.stacks.cluster import Cluster
from deploy.cdk.stacks.core import Core
from deploy.cdk.stacks.database import Database
from deploy.cdk.stacks.edge import Behind, Edge
from deploy.cdk.stacks.network import Network
from deploy.cdk.stacks.registry import Registry
from deploy.cdk.stacks.services import Services


def build(env: Environment, folder: str | None = None) -> App:
    """The app of one environment; `folder` is where `synth` writes (a temporary one where it is None)."""
    app = App(analytics_reporting=False, outdir=folder)
    core = Core(app, env)
    if isinstance(env, AwsEnvironment):
        network = Network(app, env, core=core)
        database = Database(app, env, network=network, core=core)
        Registry(app, env, core=core)
        cluster = Cluster(app, env, core=core, network=network, database=database)
        services = Services(app, env, core=core, network=network, database=database, cluster=cluster)
        balancer = services.load_balancer
        Edge(app, env, behind=Behind(core, network, balancer.resource.ref, balancer.domain))
    else:
        Edge(app, env)
    return app
