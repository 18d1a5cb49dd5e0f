"""`darkroom.metadata.v1.MetadataService`."""

# ruff: noqa: N802  # methods are named as the RPCs

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any, Final

import grpc
import structlog
from darkroom.metadata.v1 import metadata_pb2 as pb
from darkroom.metadata.v1 import metadata_pb2_grpc as rpc

from metadata_svc.domain import cursor, ownership
from metadata_svc.domain.image import State
from metadata_svc.domain.rules import Rules
from metadata_svc.ports import Batches, ImageStore, Query, Row
from metadata_svc.service import checks
from metadata_svc.service.batches import BatchCalls
from metadata_svc.service.messages import (
    fill,
    image_of,
    limits_of,
    timedelta_of,
    timestamp,
    uuid_of,
)
from metadata_svc.service.worker import WorkerCalls
from metadata_svc.transitions import decide
from runtime.errors import DarkroomError, Kind

NAME: Final = "darkroom.metadata.v1.MetadataService"

Context = grpc.aio.ServicerContext[Any, Any]

_LISTED: Final = tuple(state for state in State if state is not State.DELETED)


class MetadataServicer(WorkerCalls, rpc.MetadataServiceServicer):
    """Request path here and in `batches`, worker path in `worker`."""

    def __init__(
        self,
        *,
        batches: Batches,
        own: ImageStore,
        every: ImageStore,
        rules: Rules,
        max_items: int,
        page_size_default: int,
        page_size_max: int,
        similar_distance: int,
    ) -> None:
        super().__init__(every, rules)
        self._batches = batches
        self._calls = BatchCalls(batches, max_items=max_items)
        self._own = own
        self._page_size_default = page_size_default
        self._page_size_max = page_size_max
        self._similar_distance = similar_distance

    async def BatchAuthenticate(
        self, request: pb.BatchAuthenticateRequest, context: Context
    ) -> pb.BatchAuthenticateResponse:
        """See the proto."""
        results = await self._calls.authenticate(request.items, context.time_remaining())
        return pb.BatchAuthenticateResponse(results=results)

    async def BatchLeaseRequests(
        self, request: pb.BatchLeaseRequestsRequest, context: Context
    ) -> pb.BatchLeaseRequestsResponse:
        """See the proto."""
        results = await self._calls.lease(request.items, context.time_remaining())
        return pb.BatchLeaseRequestsResponse(results=results)

    async def BatchCreateImages(
        self, request: pb.BatchCreateImagesRequest, context: Context
    ) -> pb.BatchCreateImagesResponse:
        """See the proto."""
        return await self._calls.create(request.items, context.time_remaining())

    async def BatchGetImages(self, request: pb.BatchGetImagesRequest, context: Context) -> pb.BatchGetImagesResponse:
        """See the proto."""
        return await self._calls.get(request.items, context.time_remaining())

    async def ListImages(self, request: pb.ListImagesRequest, context: Context) -> pb.ListImagesResponse:
        """See the proto."""
        tenant_id = uuid_of(request.tenant_id, "/tenant_id")
        likeness_of = uuid_of(request.similar_to, "/similar_to") if request.similar_to else None
        if len(request.sha256) not in (0, 32):
            raise DarkroomError(Kind.MALFORMED, "must be 32 bytes", pointer="/sha256")
        error = checks.tags_error(request.tags)
        if error is not None:
            raise error
        if request.page_size < 0:
            raise DarkroomError(Kind.MALFORMED, "must not be negative", pointer="/page_size")
        state = checks.state_of(request.state)
        query = Query(
            states=_LISTED if state is None else (state,),
            tags=dict(request.tags),
            sha256=request.sha256 or None,
        )
        question = _question(request)
        after = cursor.decode(request.page_token, question) if request.page_token else None
        size = min(request.page_size or self._page_size_default, self._page_size_max)
        timeout = context.time_remaining()
        # One more than the page tells whether another page follows.
        rows: Sequence[Row]
        if likeness_of is None:
            rows = await self._batches.list_images(tenant_id, query, after, size + 1, timeout)
        else:
            rows = await self._batches.list_similar(
                tenant_id,
                likeness_of,
                query,
                distance=self._similar_distance,
                after=after,
                size=size + 1,
                timeout=timeout,
            )
            if rows and rows[0]["distance"] is None:
                raise DarkroomError(Kind.UNPROCESSABLE, "no such image, or it was never READY", pointer="/similar_to")
        token = ""
        if len(rows) > size:
            last = rows[size - 1]
            distance = None if likeness_of is None else last["distance"]
            token = cursor.encode(cursor.Position(last["id"], distance), question)
        response = pb.ListImagesResponse(next_page_token=token)
        for row in rows[:size]:
            fill(response.images.add(), row)
        return response

    async def UpdateImage(self, request: pb.UpdateImageRequest, context: Context) -> pb.UpdateImageResponse:
        """See the proto."""
        error = checks.tags_error(request.tags)
        if error is not None:
            raise error
        tags = dict(request.tags)
        tenant_id, image_id = _ids(request)
        image = await decide(
            self._own,
            tenant_id,
            image_id,
            lambda r: ownership.update(r.image, tags, request.etag, r.now),
            context.time_remaining(),
        )
        return pb.UpdateImageResponse(image=image_of(image))

    async def RenewUpload(self, request: pb.RenewUploadRequest, context: Context) -> pb.RenewUploadResponse:
        """See the proto."""
        life = timedelta_of(request.upload_time_to_live, "/upload_time_to_live")
        tenant_id, image_id = _ids(request)
        image = await decide(
            self._own,
            tenant_id,
            image_id,
            lambda r: ownership.renew_upload(r.image, r.now, life, self._rules),
            context.time_remaining(),
        )
        return pb.RenewUploadResponse(image=image_of(image))

    async def DeleteImage(self, request: pb.DeleteImageRequest, context: Context) -> pb.DeleteImageResponse:
        """See the proto."""
        receipt = uuid.uuid4()
        tenant_id, image_id = _ids(request)
        deletion = await decide(
            self._own,
            tenant_id,
            image_id,
            lambda r: ownership.delete(r.image, r.now, receipt, self._rules),
            context.time_remaining(),
        )
        _log.info("image deleted", tenant_id=request.tenant_id, image_id=request.image_id)
        return pb.DeleteImageResponse(receipt=str(deletion.receipt), deleted_at=timestamp(deletion.deleted_at))

    async def ReprocessImage(self, request: pb.ReprocessImageRequest, context: Context) -> pb.ReprocessImageResponse:
        """See the proto."""
        tenant_id, image_id = _ids(request)
        image = await decide(
            self._own,
            tenant_id,
            image_id,
            lambda r: ownership.reprocess(r.image, r.now, self._rules),
            context.time_remaining(),
        )
        _log.info("image to be processed again", tenant_id=request.tenant_id, image_id=request.image_id)
        return pb.ReprocessImageResponse(image=image_of(image))

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.GetUsageResponse:
        """See the proto."""
        row = await self._batches.get_usage(uuid_of(request.tenant_id, "/tenant_id"), context.time_remaining())
        if row is None:
            raise DarkroomError(Kind.NOT_FOUND, "no such tenant")
        return pb.GetUsageResponse(images=row["images"], bytes=row["bytes"], limits=limits_of(row))


_log = structlog.get_logger(__name__)


_Named = pb.UpdateImageRequest | pb.RenewUploadRequest | pb.DeleteImageRequest | pb.ReprocessImageRequest


def _ids(request: _Named) -> tuple[uuid.UUID, uuid.UUID]:
    """Tenant and image. An id out of form is no image's."""
    if not checks.is_uuid(request.tenant_id) or not checks.is_uuid(request.image_id):
        raise DarkroomError(Kind.NOT_FOUND, "no such image")
    return uuid.UUID(request.tenant_id), uuid.UUID(request.image_id)


def _question(request: pb.ListImagesRequest) -> bytes:
    """What a page token belongs to: everything that was asked but the page itself."""
    asked = pb.ListImagesRequest()
    asked.CopyFrom(request)
    asked.ClearField("page_token")
    asked.ClearField("page_size")
    return hashlib.blake2b(asked.SerializeToString(deterministic=True), digest_size=16).digest()
