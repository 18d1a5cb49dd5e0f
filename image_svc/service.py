"""The half of image_svc that can be called."""

from __future__ import annotations

from typing import Any

import grpc
import structlog
from darkroom.image.v1 import image_pb2, image_pb2_grpc

from image_svc.domain.messages import process_command
from image_svc.ports import Metadata, ObjectStore, Queue, Unreachable
from runtime import trace
from runtime.errors import DarkroomError, Kind

_log = structlog.get_logger(__name__)


class ImageService(image_pb2_grpc.ImageServiceServicer):
    """Proto to domain. Rendering a preset on demand will stand here, too."""

    def __init__(self, metadata: Metadata, store: ObjectStore, queue: Queue) -> None:
        self._metadata = metadata
        self._store = store
        self._queue = queue

    async def RequeueImage(
        self,
        request: image_pb2.RequeueImageRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> image_pb2.RequeueImageResponse:
        """Sends a processing message for an image whose bytes are there."""
        if not request.tenant_id or not request.image_id:
            raise DarkroomError(Kind.MALFORMED, "tenant_id and image_id must be given")
        try:
            message_id = await self._requeue(request.tenant_id, request.image_id)
        except Unreachable as error:
            raise DarkroomError(Kind.UNAVAILABLE, "a service behind does not answer; try again") from error
        _log.info("image requeued", image_id=request.image_id, tenant_id=request.tenant_id, message_id=message_id)
        return image_pb2.RequeueImageResponse(message_id=message_id)

    async def _requeue(self, tenant_id: str, image_id: str) -> str:
        image = await self._metadata.registered(tenant_id, image_id)
        if image is None:
            raise DarkroomError(Kind.NOT_FOUND, "there is no such image")
        if image.deleted:
            raise DarkroomError(Kind.GONE, "the image was deleted")
        if image.expired or image.original_removed:
            raise DarkroomError(Kind.WRONG_STATE, "the image's original is not kept any more")
        if image.awaits_upload and not await self._store.has_original(image.original_key):
            # An attempt without bytes would count as failed, though their ticket is still good.
            raise DarkroomError(Kind.WRONG_STATE, "the image still awaits its upload")
        body = process_command(tenant_id, image_id, image.original_key, trace.current.get())
        return await self._queue.send(body)
