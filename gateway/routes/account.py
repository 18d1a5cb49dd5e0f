"""`/v1/usage`: what the tenant has, and what it may have."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway import models
from gateway.bodies import reply
from gateway.context import CONTEXT, caller


async def usage(request: web.Request) -> web.Response:
    """GET: counts, bytes and limits."""
    context = request.app[CONTEXT]
    who = await caller(request, "images:read")
    found = await context.metadata.get_usage(who.tenant_id, context.settings.request_seconds)
    limits = models.Limits(
        max_image_bytes=found.limits.max_image_bytes,
        max_images=found.limits.max_images,
        max_bytes=found.limits.max_bytes,
        requests_per_second=found.limits.requests_per_second,
    )
    return reply(models.Usage(found.images, found.bytes, limits))


ROUTES: Final = (web.get("/v1/usage", usage),)
