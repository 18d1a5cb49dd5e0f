"""Redirects to the bytes: `/v1/images/{id}/variants/{name}` and `/v1/images/{id}/original`."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from darkroom.metadata.v1 import metadata_pb2 as metadata
from darkroom.presign.v1 import presign_pb2 as presign

from gateway import models
from gateway.answers import Answer, reply
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Route
from gateway.routes.images import find
from runtime.errors import DarkroomError, Kind

# Seconds that a request has left, once a variant was rendered for it, to get its URL.
_TO_SIGN: Final = 2.0
# An image of which nothing more can be made, and why.
_NOTHING_MORE: Final = {
    metadata.Image.AWAITING_UPLOAD: "The image's bytes have not come.",
    metadata.Image.REJECTED: "The image was rejected: nothing is made of it.",
    metadata.Image.FAILED: "The image could not be processed. Ask for it to be processed again first.",
    metadata.Image.EXPIRED: "The image's bytes never came.",
}


async def variant(request: Request) -> Answer:
    """GET: to a variant, by a signed URL; one that was not made yet is made now."""
    context = request.context
    who = await request.caller("images:read")
    image = await find(request, who.tenant_id)
    name = request.params["name"]
    key = next((made.key for made in image.variants if made.name == name), None)
    if key is None:
        presets = context.presets.value
        if name not in presets:
            raise Refusal(Kind.NOT_FOUND, f"There is no preset {name!r}; there are {', '.join(sorted(presets))}.")
        if image.state in _NOTHING_MORE:
            raise Refusal(Kind.WRONG_STATE, _NOTHING_MORE[image.state])
        if image.state == metadata.Image.PROCESSING:
            return await _later(request, image)
        if image.original_removed:
            raise Refusal(Kind.WRONG_STATE, "The original was removed, so nothing more can be made of it.")
        key = await _rendered(request, image, name)
        if key is None:
            return await _later(request, await find(request, who.tenant_id))
    signed = await context.images.urls.media([key], request.remaining())
    return _redirect(signed[key].url)


async def original(request: Request) -> Answer:
    """GET: to the original, which may carry what its owner would not show: it needs a scope of its own."""
    context = request.context
    who = await request.caller("originals:read")
    image = await find(request, who.tenant_id)
    if image.state in {metadata.Image.AWAITING_UPLOAD, metadata.Image.EXPIRED}:
        raise Refusal(Kind.NOT_FOUND, "The image's bytes have not come.")
    if image.original_removed:
        raise Refusal(Kind.NOT_FOUND, "The original was removed, as the tenant's policy asks.")
    wanted = presign.SignDownloadRequest(
        bucket=presign.BUCKET_INCOMING,
        key=image.original_key,
        # Saved, not shown: it is what somebody uploaded, and may be anything.
        content_disposition=f"attachment; filename*=UTF-8''{quote(image.filename, safe='')}",
    )
    return _redirect((await context.presign.sign_download(wanted, request.remaining())).url)


async def _rendered(request: Request, image: metadata.Image, name: str) -> str | None:
    """The key of a variant that is made now; None where that takes longer than a client should be kept."""
    context = request.context
    loop = asyncio.get_running_loop()
    begun = request.deadline - context.settings.request_seconds
    until = begun + context.settings.render_seconds
    try:
        # It only waits, and the queue it waits in is bounded by image_svc.
        with context.admission.set_aside():
            made = await context.rendering.render(image.tenant_id, image.id, name, max(0.0, until - loop.time()))
    except DarkroomError as error:
        # Under way; or the image was processed again meanwhile, by which the variant may have been made.
        if error.kind in {Kind.DEADLINE_EXCEEDED, Kind.STALE_ATTEMPT}:
            return None
        if error.kind is Kind.WRONG_STATE and await _in_work(request, image):
            return None
        raise
    finally:
        request.deadline = max(request.deadline, loop.time() + _TO_SIGN)
    return made.key


async def _in_work(request: Request, image: metadata.Image) -> bool:
    now = await request.context.metadata.get_image(image.tenant_id, image.id, request.remaining())
    return now.state == metadata.Image.PROCESSING


async def _later(request: Request, image: metadata.Image) -> Answer:
    """202: the variant is in the making."""
    context = request.context
    answer = models.ImageAlone(await context.images.one(image, request.remaining()))
    return reply(answer, status=202, headers=[("retry-after", str(context.settings.render_retry_seconds))])


def _redirect(url: str) -> Answer:
    return Answer(302, headers=[("location", url)])


ROUTES: Final = (
    Route("GET", "/v1/images/{id}/variants/{name}", variant),
    Route("GET", "/v1/images/{id}/original", original),
)
