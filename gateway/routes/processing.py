"""`/v1/images/{id}/reprocess`: the processing anew, after presets changed or a failure."""

from __future__ import annotations

from typing import Final

from gateway import models
from gateway.answers import Answer, reply
from gateway.ids import known_form
from gateway.request import Request
from gateway.router import Route


async def reprocess(request: Request) -> Answer:
    """POST: orders it. The variants that are there stay until the new ones take their place."""
    context = request.context
    who = await request.caller("images:write")
    request.image_id = image_id = known_form(request.params["id"])
    image = await context.metadata.reprocess_image(who.tenant_id, image_id, request.remaining())
    answer = models.ImageAlone(await context.images.one(image, request.remaining()))
    return reply(answer, status=202, headers=[("etag", f'"{image.etag}"')])


ROUTES: Final = (Route("POST", "/v1/images/{id}/reprocess", reprocess),)
