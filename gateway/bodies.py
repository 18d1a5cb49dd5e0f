"""Reading a request's body: JSON, of bounded size, in bounded time; and answering with JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway import models
from gateway.context import CONTEXT
from gateway.problems import Refusal


async def read(request: web.Request) -> bytes:
    """The body. Raises `Refusal` (408, 413, 415)."""
    settings = request.app[CONTEXT].settings
    if request.content_type != "application/json" or request.charset not in {None, "utf-8"}:
        raise Refusal("unsupported_media_type", "Send the body as content-type: application/json.")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal("unsupported_media_type", "Send the body without a content-encoding.")
    most = settings.max_body_bytes
    too_large = Refusal(
        "payload_too_large", f"A body has at most {most} bytes. The image's own bytes go to the upload URL."
    )
    if (request.content_length or 0) > most:
        raise too_large
    try:
        async with asyncio.timeout(settings.body_seconds):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except TimeoutError:
        raise Refusal("request_timeout", "The body did not arrive in time.") from None


def reply(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """The value as JSON."""
    return web.Response(
        status=status, body=models.encoder.encode(value), content_type="application/json", headers=headers
    )
