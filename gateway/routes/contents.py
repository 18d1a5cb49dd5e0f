"""Redirects to the bytes: `/v1/images/{id}/variants/{name}` and `/v1/images/{id}/original`."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from darkroom.metadata.v1 import metadata_pb2 as metadata
from darkroom.presign.v1 import presign_pb2 as presign

from gateway.answers import Answer
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Route
from gateway.routes.images import find
from runtime.errors import Kind


async def variant(request: Request) -> Answer:
    """GET: to a variant, by a signed URL."""
    context = request.context
    who = await request.caller("images:read")
    image = await find(request, who.tenant_id)
    name = request.params["name"]
    for made in image.variants:
        if made.name == name:
            signed = await context.images.urls.media([made.key], request.remaining())
            return _redirect(signed[made.key].url)
    if name in context.presets:
        state = metadata.Image.State.Name(image.state)
        raise Refusal(Kind.NOT_FOUND, f"The image is {state} and has no variant {name}.")
    raise Refusal(Kind.NOT_FOUND, f"There is no preset {name!r}; there are {', '.join(sorted(context.presets))}.")


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


def _redirect(url: str) -> Answer:
    return Answer(302, headers=[("location", url)])


ROUTES: Final = (
    Route("GET", "/v1/images/{id}/variants/{name}", variant),
    Route("GET", "/v1/images/{id}/original", original),
)
