"""`/v1/usage`: what the tenant has, and what it may have."""

from __future__ import annotations

from typing import Final

from gateway import models
from gateway.answers import Answer, reply
from gateway.request import Request
from gateway.router import Route


async def usage(request: Request) -> Answer:
    """GET: counts, bytes and limits."""
    who = await request.caller("images:read")
    found = await request.context.metadata.get_usage(who.tenant_id, request.remaining())
    limits = models.Limits(
        max_image_bytes=found.limits.max_image_bytes,
        max_images=found.limits.max_images,
        max_bytes=found.limits.max_bytes,
        requests_per_second=found.limits.requests_per_second,
    )
    return reply(models.Usage(found.images, found.bytes, limits))


ROUTES: Final = (Route("GET", "/v1/usage", usage),)
