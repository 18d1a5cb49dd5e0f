"""The standard health service of the services behind (grpc.health.v1)."""

from __future__ import annotations

from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# By this header the proxies of ECS Service Connect know a test of a version that gets no traffic yet. Its value is the
# name of the service under test; all others answer as always (deploy/cdk/constructs/service.py).
TEST_HEADER: Final = "x-amzn-ecs-blue-green-test"


class GrpcHealth:
    """`ports.Health` over a channel, for one service name."""

    def __init__(self, channel: grpc.aio.Channel, service: str) -> None:
        self._stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs lack the methods
        self._request = health_pb2.HealthCheckRequest(service=service)

    async def check(self, timeout: float, tested: str = "") -> bool:
        """Whether some process of the service says SERVING within `timeout` seconds. See `Health` on `tested`."""
        metadata = ((TEST_HEADER, tested),) if tested else None
        try:
            answer = await self._stub.Check(self._request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
