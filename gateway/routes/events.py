"""`/v1/images/{id}/events`: an image's states as they come, by server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import structlog
from darkroom.metadata.v1 import metadata_pb2 as pb

from gateway.answers import Answer, Stream
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Route
from gateway.routes import images
from gateway.waiting import settled
from runtime.errors import DarkroomError, Kind

_log = structlog.get_logger(__name__)

_SCOPE: Final = "images:read"
_COMMENT: Final = b":\n\n"
# Milliseconds. When a client comes again whose stream ended before the image was settled.
_RETRY: Final = b"retry: 1000\n\n"
_encoder: Final = msgspec.json.Encoder()


async def get(request: Request) -> Answer:
    """GET: the image as it stands, and again at each change of its state, until that is terminal."""
    context = request.context
    who = await request.caller(_SCOPE)
    image = await images.find(request, who.tenant_id)
    if not settled(image) and not context.waiting.open:
        raise Refusal(
            Kind.UNAVAILABLE,
            "The service holds as many streams as it can. Ask for the image instead, or try again later.",
            retry_after=context.settings.retry_after_seconds,
        )
    # Made before the answer begins: what goes wrong until here can still become a problem document.
    first = await _event(request, image)
    return Stream(_events(request, image, first), "text/event-stream")


async def _events(request: Request, image: pb.Image, first: bytes) -> AsyncIterator[bytes]:
    context = request.context
    clock = asyncio.get_running_loop().time
    ends = clock() + context.settings.events_seconds
    yield _RETRY + first
    while not settled(image) and context.waiting.open and clock() < ends:
        pause = min(context.settings.events_comment_seconds, ends - clock())
        known = image.state
        image = await context.waiting.until(_left(known), image, pause)
        request.deadline = clock() + context.settings.request_seconds
        try:
            # A key that was revoked meanwhile sees no more.
            (await context.authenticator(request.headers.get("x-api-key"), request.remaining())).require(_SCOPE)
            piece = _COMMENT if image.state == known else await _event(request, image)
        except (Refusal, DarkroomError) as reason:
            _log.info("a stream of events ended early", reason=str(reason))
            return
        yield piece


def _left(state: pb.Image.State.ValueType) -> Callable[[pb.Image], bool]:
    """Tells whether an image is in that state no more."""
    return lambda image: image.state != state


async def _event(request: Request, image: pb.Image) -> bytes:
    seen = await request.context.images.one(image, request.remaining())
    return b"event: image\ndata: " + _encoder.encode(seen) + b"\n\n"


ROUTES: Final = (Route("GET", "/v1/images/{id}/events", get),)
