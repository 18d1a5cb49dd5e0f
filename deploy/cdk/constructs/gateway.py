"""gateway: HTTP from the load balancer, gRPC to the services behind. No right but to read its settings."""

from __future__ import annotations

from typing import Any, Final

from constructs import Construct

from deploy.cdk.constructs.roles import parameters_of
from deploy.cdk.constructs.service import FargateService, Place, Traffic, on_demand
from deploy.cdk.constructs.task import Health, Port, Size
from deploy.cdk.settings import AwsEnvironment

PORT: Final = 8080  # what the image listens on
# Whether it is alive, not whether it is ready: see the load balancer's own check.
HEALTH: Final = Health(
    command=("-m", "runtime.probe", f"http://127.0.0.1:{PORT}/healthz"), interval=30, timeout=5, retries=3, start=60
)


class Gateway(FargateService):
    """Behind the load balancer; replaced blue/green by its two target groups."""

    def __init__(
        self,
        scope: Construct,
        env: AwsEnvironment,
        place: Place,
        *,
        balancers: list[dict[str, Any]],
        deployment: dict[str, Any],
    ) -> None:
        super().__init__(
            scope,
            env,
            place,
            service="gateway",
            size=Size(env.gateway.cpu, env.gateway.memory, "ARM64"),
            statements=[parameters_of(env, "gateway")],
            environment={},
            calls=("presign_svc", "metadata_svc", "image_svc"),
            traffic=Traffic(balancers=balancers),
            deployment=deployment,
            providers=on_demand(),
            port=Port(PORT, "http", "http"),
            health=HEALTH,
        )
