"""The half of image_svc that can be called."""

from __future__ import annotations

from typing import Any

import grpc
import structlog
from darkroom.image.v1 import image_pb2, image_pb2_grpc

from image_svc.domain.messages import process_command
from image_svc.pipeline.types import Rejected
from image_svc.ports import Metadata, ObjectMissing, ObjectStore, Queue, StaleAttempt, Unreachable
from image_svc.presets import PresetsUncertain
from image_svc.render.renderer import NotMade, Renderer, UnknownPreset
from image_svc.render.turns import QueueFull
from image_svc.sandbox import SandboxError
from runtime import trace
from runtime.errors import DarkroomError, Kind

_log = structlog.get_logger(__name__)


class ImageService(image_pb2_grpc.ImageServiceServicer):
    """Proto to domain. `retry_seconds` is what a caller is told to wait when too many renderings wait."""

    def __init__(
        self, metadata: Metadata, store: ObjectStore, queue: Queue, renderer: Renderer, *, retry_seconds: float
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._queue = queue
        self._renderer = renderer
        self._retry_seconds = retry_seconds

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

    async def Render(
        self,
        request: image_pb2.RenderRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> image_pb2.RenderResponse:
        """Makes a variant that is not there yet."""
        if not request.tenant_id or not request.image_id or not request.preset:
            raise DarkroomError(Kind.MALFORMED, "tenant_id, image_id and preset must be given")
        try:
            made = await self._renderer.render(request.tenant_id, request.image_id, request.preset)
        except UnknownPreset:
            raise DarkroomError(Kind.NOT_FOUND, f"there is no preset {request.preset!r}") from None
        except QueueFull as full:
            kind = Kind.RATE_LIMITED if full.own else Kind.UNAVAILABLE
            raise DarkroomError(kind, f"{full}; try again", retry_after=self._retry_seconds) from None
        except Rejected as verdict:
            raise DarkroomError(Kind.WRONG_STATE, f"it cannot be made of this file: {verdict.detail}") from None
        except ObjectMissing:
            raise DarkroomError(Kind.WRONG_STATE, "the original is not there any more") from None
        except StaleAttempt as error:
            raise DarkroomError(Kind.STALE_ATTEMPT, str(error)) from error
        except (Unreachable, NotMade, PresetsUncertain, SandboxError) as error:
            _log.warning("not rendered", reason=str(error), image_id=request.image_id, preset=request.preset)
            raise DarkroomError(Kind.UNAVAILABLE, "it could not be made; try again") from error
        variant = image_pb2.Variant(
            name=made.name,
            key=made.key,
            content_type=made.content_type,
            width=made.width,
            height=made.height,
            size=made.size,
        )
        return image_pb2.RenderResponse(variant=variant)

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
