"""image_svc over gRPC."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import grpc
from darkroom.image.v1 import image_pb2 as pb
from darkroom.image.v1 import image_pb2_grpc as rpc

from runtime import grpc_client

SERVICE: Final = "darkroom.image.v1.ImageService"


async def channel(stack: AsyncExitStack, target: str) -> grpc.aio.Channel:
    """A channel to image_svc that closes with the stack. No call is repeated: who is told that too much is waiting
    must not come again at once.
    """
    return await grpc_client.channel(stack, target)


class GrpcRendering:
    """`ports.Rendering` over a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: rpc.ImageServiceAsyncStub = rpc.ImageServiceStub(channel)

    async def render(self, tenant_id: str, image_id: str, preset: str, timeout: float) -> pb.Variant:
        """The variant, made if need be."""
        request = pb.RenderRequest(tenant_id=tenant_id, image_id=image_id, preset=preset)
        return (await grpc_client.call(self._stub.Render, request, timeout)).variant
