"""HTTP as the e2e tests speak it: plain requests, and a patient form for tests that break things meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

TERMINAL = frozenset({"READY", "REJECTED", "FAILED", "EXPIRED", "DELETED"})


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Api:
    """One API with one key (or none)."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str | None) -> None:
        self.http = http
        self.url = url
        self.key = key

    async def call(self, method: str, path: str, **more: Any) -> Reply:
        """One request, no repetition, no redirect followed."""
        headers = ({"x-api-key": self.key} if self.key else {}) | more.pop("headers", {})
        return await send(self.http, method, self.url + path, headers=headers, **more)

    async def patiently(self, method: str, path: str, seconds: float = 90, **more: Any) -> Reply:
        """Repeats what failed for a reason of the server's (5xx, 429, no connection) until the time is up."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                reply = await self.call(method, path, **more)
                if reply.status < 500 and reply.status != 429:
                    return reply
                problem = f"{reply.status} {reply.body[:300]!r}"
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = repr(error)
            assert time.monotonic() < deadline, f"{method} {path}: {problem}"
            await asyncio.sleep(0.3)

    async def register(self, content: bytes, content_type: str, **fields: Any) -> Any:
        """Registers an image that is then to be uploaded; returns `{image, upload}`."""
        key = fields.pop("idempotency_key", None)
        reply = await self.patiently(
            "POST",
            "/v1/images",
            json={
                "filename": "photo",
                "content_type": content_type,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            | fields,
            headers={"Idempotency-Key": key} if key else {},
        )
        assert reply.status in (200, 201), reply
        return reply.json

    async def put(self, ticket: Any, content: bytes, **headers: str) -> Reply:
        """Uses a ticket."""
        return await send(self.http, ticket["method"], ticket["url"], data=content, headers=ticket["headers"] | headers)

    async def upload(self, content: bytes, content_type: str, **fields: Any) -> str:
        """Registers and uploads; returns the image's id."""
        made = await self.register(content, content_type, **fields)
        reply = await self.put(made["upload"], content)
        assert reply.status == 200, reply
        return str(made["image"]["id"])

    async def settled(self, image_id: str, seconds: float = 90) -> Any:
        """The image once its state is terminal."""
        deadline = time.monotonic() + seconds
        while True:
            reply = await self.patiently("GET", f"/v1/images/{image_id}?wait=5")
            assert reply.status == 200, reply
            image = reply.json
            if image["state"] in TERMINAL:
                return image
            assert time.monotonic() < deadline, f"still {image['state']} after {seconds} s: {image}"


async def send(http: aiohttp.ClientSession, method: str, url: str, **more: Any) -> Reply:
    """One request to anywhere."""
    timeout = aiohttp.ClientTimeout(total=40)
    if isinstance(more.get("data"), bytes):  # aiohttp takes large bodies as files only
        more["data"] = io.BytesIO(more["data"])
    async with http.request(method, url, allow_redirects=False, timeout=timeout, **more) as response:
        body = await response.read()
        return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
