"""Bare aiohttp: JSON in, JSON of the same size as ours out, and nothing in between. `PORT` is its port."""

from __future__ import annotations

import json
import os
from typing import Any

import uvloop
from aiohttp import web

_URL = "http://127.0.0.1/bucket/incoming/0198c0de/0198c0de?X-Amz-Signature=" + "5" * 500
_IMAGE: dict[str, Any] = {
    "id": "0198c0de-0000-7000-8000-000000000000",
    "state": "AWAITING_UPLOAD",
    "format": None,
    "width": None,
    "height": None,
    "animated": None,
    "placeholder": None,
    "perceptual_hash": None,
    "variants": [],
    "problem": None,
    "etag": "1",
    "created_at": "2026-11-24T00:00:00Z",
    "updated_at": "2026-11-24T00:00:00Z",
    "ready_at": None,
}
_VARIANTS = [
    {"name": name, "content_type": "image/webp", "width": 256, "height": 256, "size": 9120, "url": _URL}
    for name in ("thumb", "small", "medium", "large")
]


async def post(request: web.Request) -> web.Response:
    """Takes a body and answers with an image and a ticket."""
    body = json.loads(await request.read())
    upload = {"method": "PUT", "url": _URL, "headers": {"content-type": body["content_type"], "if-none-match": "*"}}
    return web.json_response({"image": {**_IMAGE, **body}, "upload": upload}, status=201)


async def get(request: web.Request) -> web.Response:
    """Answers with an image that is READY."""
    return web.json_response({**_IMAGE, "id": request.match_info["id"], "state": "READY", "variants": _VARIANTS})


async def app() -> web.Application:
    """The two routes."""
    made = web.Application()
    made.router.add_post("/v1/images", post)
    made.router.add_get("/v1/images/{id}", get)
    return made


if __name__ == "__main__":
    uvloop.install()
    web.run_app(app(), host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None)
