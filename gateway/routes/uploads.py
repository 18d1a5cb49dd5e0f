"""`/v1/images/{id}/upload`: a fresh ticket for bytes that have not come yet."""

from __future__ import annotations

import time
from typing import Final

from darkroom.metadata.v1 import metadata_pb2 as metadata
from darkroom.presign.v1 import presign_pb2 as presign

from gateway import models
from gateway.answers import Answer, reply
from gateway.context import Context
from gateway.ids import known_form
from gateway.images import time_of
from gateway.request import Request
from gateway.router import Route


async def renew(request: Request) -> Answer:
    """POST: moves the deadline and issues a ticket."""
    context = request.context
    who = await request.caller("images:write")
    request.image_id = image_id = known_form(request.params["id"])
    wanted = metadata.RenewUploadRequest(tenant_id=who.tenant_id, image_id=image_id)
    wanted.upload_time_to_live.seconds = context.settings.ticket_seconds + context.settings.ticket_margin_seconds
    image = await context.metadata.renew_upload(wanted, request.remaining())
    upload = await ticket(context, image, request.remaining())
    answer = models.ImageWithUpload(await context.images.one(image, request.remaining()), upload)
    return reply(answer, headers=[("etag", f'"{image.etag}"')])


async def ticket(context: Context, image: metadata.Image, timeout: float) -> models.Upload:
    """A ticket for the image's bytes, which ends no later than they are awaited."""
    wanted = presign.IssueTicketRequest(
        key=image.original_key,
        method=presign.UPLOAD_METHOD_PUT,
        content_type=image.content_type,
        size=image.size,
        sha256=image.sha256,
    )
    awaited = image.upload_expires_at.seconds - int(time.time())
    wanted.time_to_live.seconds = max(1, min(context.settings.ticket_seconds, awaited))
    signed = await context.presign.issue_ticket(wanted, timeout)
    return models.Upload("PUT", signed.url, dict(signed.headers), time_of(signed.expires_at))


ROUTES: Final = (Route("POST", "/v1/images/{id}/upload", renew),)
