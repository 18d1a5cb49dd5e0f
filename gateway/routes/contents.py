"""Redirects to the bytes: `/v1/images/{id}/variants/{name}` and `/v1/images/{id}/original`."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from aiohttp import web
from darkroom.metadata.v1 import metadata_pb2 as metadata
from darkroom.presign.v1 import presign_pb2 as presign

from gateway.context import CONTEXT, caller
from gateway.problems import Refusal
from gateway.routes.images import find
from runtime.errors import Kind


async def variant(request: web.Request) -> web.Response:
    """GET: to a variant, by a signed URL."""
    context = request.app[CONTEXT]
    who = await caller(request, "images:read")
    image = await find(request, context, who.tenant_id)
    name = request.match_info["name"]
    for made in image.variants:
        if made.name == name:
            signed = await context.images.urls.media([made.key], context.settings.request_seconds)
            return _redirect(signed[made.key].url)
    if name in context.presets:
        state = metadata.Image.State.Name(image.state)
        raise Refusal(Kind.NOT_FOUND, f"The image is {state} and has no variant {name}.")
    raise Refusal(Kind.NOT_FOUND, f"There is no preset {name!r}; there are {', '.join(sorted(context.presets))}.")


async def original(request: web.Request) -> web.Response:
    """GET: to the original, which may carry what its owner would not show: it needs a scope of its own."""
    context = request.app[CONTEXT]
    who = await caller(request, "originals:read")
    image = await find(request, context, who.tenant_id)
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
    return _redirect((await context.presign.sign_download(wanted, context.settings.request_seconds)).url)


def _redirect(url: str) -> web.Response:
    return web.Response(status=302, headers={"location": url})


ROUTES: Final = (
    web.get("/v1/images/{id}/variants/{name}", variant),
    web.get("/v1/images/{id}/original", original),
)
