"""`/v1/images`: register, read, list, tag, delete."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

import msgspec
from darkroom.metadata.v1 import metadata_pb2 as pb
from multidict import MultiMapping

from gateway import listing, models, problems
from gateway.answers import Answer, reply
from gateway.bodies import read
from gateway.context import Context
from gateway.ids import known_form, new_id
from gateway.images import time_of
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Route
from gateway.routes import uploads
from gateway.waiting import settled
from runtime import trace
from runtime.errors import Kind

MAX_WAIT: Final = 25  # seconds; API Gateway gives up after 29
_REQUEST_ID: Final = re.compile(r"[!-~]{1,255}")
_ETAG: Final = re.compile(r'"([!#-~]{1,128})"')
_SECONDS: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_canonical: Final = msgspec.json.Encoder(order="sorted")


async def create(request: Request) -> Answer:
    """POST: registers an image and issues its ticket."""
    context = request.context
    who = await request.caller("images:write")
    request_id = request.headers.get("idempotency-key", "")
    if "idempotency-key" in request.headers and not _REQUEST_ID.fullmatch(request_id):
        raise problems.malformed("/idempotency-key", "must be 1 to 255 visible ASCII characters")
    new = models.new_image(await read(request))
    _check(context, new, who.limits.max_image_bytes)
    item = pb.CreateImageRequest(
        tenant_id=who.tenant_id,
        image_id=new_id(),
        filename=new.filename,
        content_type=new.content_type,
        size=new.size,
        upload_method=pb.UPLOAD_METHOD_PUT,
        traceparent=trace.current.get(),
    )
    if new.sha256:
        item.sha256 = bytes.fromhex(new.sha256)
    if new.variants:
        item.presets.extend(new.variants)
    if new.tags:
        item.tags.update(new.tags)
    item.upload_time_to_live.seconds = context.settings.ticket_seconds + context.settings.ticket_margin_seconds
    if request_id:
        item.request_id = request_id
        item.request_sha256 = hashlib.sha256(_canonical.encode(new)).digest()
    image = await context.metadata.create_image(item, request.remaining())
    request.image_id = image.id
    if image.state == pb.Image.DELETED:
        raise gone()
    upload = (
        await uploads.ticket(context, image, request.remaining()) if image.state == pb.Image.AWAITING_UPLOAD else None
    )
    answer = models.ImageWithUpload(await context.images.one(image, request.remaining()), upload)
    return reply(answer, status=201, headers=[("location", f"/v1/images/{image.id}"), ("etag", f'"{image.etag}"')])


async def get(request: Request) -> Answer:
    """GET: the image, at once or when it is settled."""
    context = request.context
    who = await request.caller("images:read")
    seconds = _wait(request.query)
    image = await find(request, who.tenant_id)
    if seconds:
        with context.admission.set_aside():
            image = await context.waiting.until(settled, image, seconds)
        request.deadline += seconds  # to wait was asked for
        if image.state == pb.Image.DELETED:
            raise gone()
    etag = f'"{image.etag}"'
    headers = [("etag", etag), ("cache-control", "private, no-cache")]
    # An image with variants is sent again all the same: the URLs that the client has expire.
    if not image.variants and _has(request.headers.get("if-none-match"), etag):
        return Answer(304, headers=headers)
    return reply(await context.images.one(image, request.remaining()), headers=headers)


async def list_(request: Request) -> Answer:
    """GET: a page of the tenant's images."""
    context = request.context
    who = await request.caller("images:read")
    query = listing.query(request.query)
    query.tenant_id = who.tenant_id
    page = await context.metadata.list_images(query, request.remaining())
    images = await context.images.many(page.images, request.remaining())
    return reply(models.ImagePage(images, page.next_page_token or None))


async def patch(request: Request) -> Answer:
    """PATCH: replaces the tags."""
    context = request.context
    who = await request.caller("images:write")
    request.image_id = image_id = known_form(request.params["id"])
    change = models.image_change(await read(request))
    image = await context.metadata.update_image(
        pb.UpdateImageRequest(
            tenant_id=who.tenant_id, image_id=image_id, tags=change.tags, etag=_if_match(request.headers)
        ),
        request.remaining(),
    )
    return reply(await context.images.one(image, request.remaining()), headers=[("etag", f'"{image.etag}"')])


async def delete(request: Request) -> Answer:
    """DELETE: a tombstone now, every object soon."""
    context = request.context
    who = await request.caller("images:write")
    request.image_id = image_id = known_form(request.params["id"])
    deleted = await context.metadata.delete_image(who.tenant_id, image_id, request.remaining())
    return reply(models.Deletion(deleted.receipt, time_of(deleted.deleted_at)), status=202)


async def find(request: Request, tenant_id: str) -> pb.Image:
    """The image that the URL names. Raises a 404, or a 410 for a tombstone."""
    request.image_id = image_id = known_form(request.params["id"])
    image = await request.context.metadata.get_image(tenant_id, image_id, request.remaining())
    if image.state == pb.Image.DELETED:
        raise gone()
    return image


def gone() -> Refusal:
    """410: there was an image."""
    return Refusal(Kind.GONE, "The image was deleted.")


def _check(context: Context, new: models.NewImage, largest: int) -> None:
    """What has the right shape and is not accepted all the same. Raises `Refusal` (422)."""
    errors = []
    if new.content_type not in models.CONTENT_TYPES:
        allowed = ", ".join(sorted(models.CONTENT_TYPES))
        errors.append(problems.FieldError("/content_type", f"must be one of {allowed}"))
    if not 1 <= new.size <= largest:
        errors.append(problems.FieldError("/size", f"must be 1 to {largest} bytes"))
    if new.upload != "put":
        errors.append(problems.FieldError("/upload", "must be put; multipart is not offered yet"))
    presets = context.presets.value
    for number, name in enumerate(new.variants or ()):
        if name not in presets:
            allowed = ", ".join(sorted(presets))
            errors.append(problems.FieldError(f"/variants/{number}", f"must be one of {allowed}"))
    if len(set(new.variants or ())) != len(new.variants or ()):
        errors.append(problems.FieldError("/variants", "must not name a preset twice"))
    if errors:
        one = "One value is not accepted." if len(errors) == 1 else f"{len(errors)} values are not accepted."
        raise Refusal(Kind.UNPROCESSABLE, one, errors=errors)


def _wait(query: MultiMapping[str]) -> float:
    if "wait" not in query:
        return 0.0
    text = query["wait"]
    if not _SECONDS.fullmatch(text) or float(text) > MAX_WAIT:
        raise problems.malformed("/wait", f"must be 0 to {MAX_WAIT} seconds")
    return float(text)


def _has(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this one (RFC 9110, 13.1.2; the comparison is the weak one)."""
    if if_none_match is None:
        return False
    given = [text.strip().removeprefix("W/") for text in if_none_match.split(",")]
    return etag in given or "*" in given


def _if_match(headers: Mapping[str, str]) -> str:
    text = headers.get("if-match", "*").strip()
    if text == "*":
        return ""
    etag = _ETAG.fullmatch(text)
    if etag is None:
        raise problems.malformed("/if-match", "must be the image's etag in double quotes, or *")
    return etag[1]


ROUTES: Final = (
    Route("POST", "/v1/images", create),
    Route("GET", "/v1/images", list_),
    Route("GET", "/v1/images/{id}", get),
    Route("PATCH", "/v1/images/{id}", patch),
    Route("DELETE", "/v1/images/{id}", delete),
)
