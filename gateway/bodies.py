"""Reading a request's body: JSON, of bounded size, in bounded time."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from gateway.problems import Refusal
from gateway.request import Request

_JSON: Final = "application/json"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read(request: Request) -> bytes:
    """The body. Raises `Refusal` (408, 413, 415, 417)."""
    headers = request.headers
    if headers.get("content-type") != _JSON and (
        request.content_type != _JSON or request.charset not in {None, "utf-8", "UTF-8"}
    ):
        raise Refusal("unsupported_media_type", "Send the body as content-type: application/json.")
    if headers.get("content-encoding", "identity") != "identity":
        raise Refusal("unsupported_media_type", "Send the body without a content-encoding.")
    most = request.client_max_size
    if (request.content_length or 0) > most:
        raise _too_large(most)
    try:
        if request.content.is_eof():  # it came with the head, as small bodies do: nothing to wait for
            body = request.content.read_nowait()
            if len(body) > most:
                raise _too_large(most)
            return body
        expect = headers.get("expect")
        if expect is not None:
            if expect.lower() != "100-continue":
                raise Refusal("expectation_failed", "Expect may be 100-continue.")
            await request.writer.write(_CONTINUE)
        async with asyncio.timeout(request.context.settings.body_seconds):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(most) from None
    except web.RequestPayloadError:
        raise Refusal("malformed", "The body is not valid HTTP.") from None
    except TimeoutError:
        raise Refusal("request_timeout", "The body did not arrive in time.") from None


def _too_large(most: int) -> Refusal:
    return Refusal("payload_too_large", f"A body has at most {most} bytes. The image's own bytes go to the upload URL.")
