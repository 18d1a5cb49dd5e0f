"""The standard health service of the services behind (grpc.health.v1)."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class GrpcHealth:
    """`ports.Health` over a channel, for one service name."""

    def __init__(self, channel: grpc.aio.Channel, service: str) -> None:
        self._stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs lack the methods
        self._request = health_pb2.HealthCheckRequest(service=service)

    async def check(self, timeout: float) -> bool:
        """Whether some process of the service says SERVING within `timeout` seconds."""
        try:
            answer = await self._stub.Check(self._request, timeout=timeout)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
