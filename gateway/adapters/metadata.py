"""metadata_svc over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import grpc
from darkroom.metadata.v1 import metadata_pb2 as pb
from darkroom.metadata.v1 import metadata_pb2_grpc as rpc

from runtime import grpc_client
from runtime.coalesce import Coalescer
from runtime.grpc_warm import WarmMethod

SERVICE: Final = "darkroom.metadata.v1.MetadataService"

# Each may be repeated: ids and request ids make creation idempotent, and a lease taken twice only leaves the tenant
# less of its second.
_RETRIED: Final = tuple(
    f"{SERVICE}/{method}"
    for method in (
        "BatchAuthenticate",
        "BatchLeaseRequests",
        "BatchCreateImages",
        "BatchGetImages",
        "ListImages",
        "UpdateImage",
        "RenewUpload",
        "ReprocessImage",
        "DeleteImage",
        "GetUsage",
    )
)


async def channel(stack: AsyncExitStack, target: str) -> grpc.aio.Channel:
    """A channel to metadata_svc that closes with the stack."""
    return await grpc_client.channel(stack, target, retried=_RETRIED)


class GrpcMetadata:
    """`ports.Metadata` over a channel: what concerns single images, keys and leases is coalesced into batches."""

    def __init__(self, channel: grpc.aio.Channel, *, max_items: int, max_in_flight: int) -> None:
        self._stub: rpc.MetadataServiceAsyncStub = rpc.MetadataServiceStub(channel)
        self._max_items = max_items
        self._batch_authenticate = WarmMethod(
            channel, f"{SERVICE}/BatchAuthenticate", pb.BatchAuthenticateRequest, pb.BatchAuthenticateResponse
        )
        self._batch_lease = WarmMethod(
            channel, f"{SERVICE}/BatchLeaseRequests", pb.BatchLeaseRequestsRequest, pb.BatchLeaseRequestsResponse
        )
        self._batch_create = WarmMethod(
            channel, f"{SERVICE}/BatchCreateImages", pb.BatchCreateImagesRequest, pb.BatchCreateImagesResponse
        )
        self._batch_get = WarmMethod(
            channel, f"{SERVICE}/BatchGetImages", pb.BatchGetImagesRequest, pb.BatchGetImagesResponse
        )
        self._authenticate = Coalescer(self._send_authenticate, max_items=max_items, max_in_flight=max_in_flight)
        self._lease = Coalescer(self._send_lease, max_items=max_items, max_in_flight=max_in_flight)
        self._create = Coalescer(self._send_create, max_items=max_items, max_in_flight=max_in_flight)
        self._get = Coalescer(self._send_get, max_items=max_items, max_in_flight=max_in_flight)

    async def authenticate(self, key_id: str, secret_sha256: bytes, timeout: float) -> pb.Credential:
        """What the key may do."""
        item = pb.AuthenticateRequest(key_id=key_id, secret_sha256=secret_sha256)
        return (await self._authenticate(item, timeout)).credential

    async def lease_requests(self, tenant_id: str, wanted: int, timeout: float) -> pb.RequestLease:
        """A share of the tenant's request rate."""
        return (await self._lease(pb.LeaseRequestsRequest(tenant_id=tenant_id, wanted=wanted), timeout)).lease

    async def create_image(self, request: pb.CreateImageRequest, timeout: float) -> pb.Image:
        """Registers an image."""
        return (await self._create(request, timeout)).image

    async def get_image(self, tenant_id: str, image_id: str, timeout: float) -> pb.Image:
        """The image."""
        return (await self._get(pb.GetImageRequest(tenant_id=tenant_id, image_id=image_id), timeout)).image

    async def get_images(self, wanted: Sequence[tuple[str, str]], timeout: float) -> list[pb.Image]:
        """The images there are."""
        items = [
            pb.GetImageRequest(item_id=number, tenant_id=tenant, image_id=image)
            for number, (tenant, image) in enumerate(wanted)
        ]
        batches = [items[start : start + self._max_items] for start in range(0, len(items), self._max_items)]
        answers = await asyncio.gather(*(self._send_get(batch, timeout) for batch in batches))
        return [result.image for results in answers for result in results if result.WhichOneof("result") == "image"]

    async def list_images(self, request: pb.ListImagesRequest, timeout: float) -> pb.ListImagesResponse:
        """A page of images."""
        return await grpc_client.call(self._stub.ListImages, request, timeout)

    async def update_image(self, request: pb.UpdateImageRequest, timeout: float) -> pb.Image:
        """Replaces the tags."""
        return (await grpc_client.call(self._stub.UpdateImage, request, timeout)).image

    async def renew_upload(self, request: pb.RenewUploadRequest, timeout: float) -> pb.Image:
        """Moves the upload deadline."""
        return (await grpc_client.call(self._stub.RenewUpload, request, timeout)).image

    async def reprocess_image(self, tenant_id: str, image_id: str, timeout: float) -> pb.Image:
        """Orders the image's processing anew."""
        request = pb.ReprocessImageRequest(tenant_id=tenant_id, image_id=image_id)
        return (await grpc_client.call(self._stub.ReprocessImage, request, timeout)).image

    async def delete_image(self, tenant_id: str, image_id: str, timeout: float) -> pb.DeleteImageResponse:
        """Turns the image into a tombstone."""
        request = pb.DeleteImageRequest(tenant_id=tenant_id, image_id=image_id)
        return await grpc_client.call(self._stub.DeleteImage, request, timeout)

    async def get_usage(self, tenant_id: str, timeout: float) -> pb.GetUsageResponse:
        """The tenant's usage."""
        return await grpc_client.call(self._stub.GetUsage, pb.GetUsageRequest(tenant_id=tenant_id), timeout)

    async def _send_authenticate(
        self, items: list[pb.AuthenticateRequest], timeout: float
    ) -> Iterable[pb.AuthenticateResult]:
        return (await self._batch_authenticate(pb.BatchAuthenticateRequest(items=items), timeout)).results

    async def _send_lease(
        self, items: list[pb.LeaseRequestsRequest], timeout: float
    ) -> Iterable[pb.LeaseRequestsResult]:
        return (await self._batch_lease(pb.BatchLeaseRequestsRequest(items=items), timeout)).results

    async def _send_create(self, items: list[pb.CreateImageRequest], timeout: float) -> Iterable[pb.CreateImageResult]:
        return (await self._batch_create(pb.BatchCreateImagesRequest(items=items), timeout)).results

    async def _send_get(self, items: list[pb.GetImageRequest], timeout: float) -> Iterable[pb.GetImageResult]:
        return (await self._batch_get(pb.BatchGetImagesRequest(items=items), timeout)).results
