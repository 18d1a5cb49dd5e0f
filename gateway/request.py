"""A request as the routes see it: aiohttp's, with what the gateway knows of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from aiohttp import web

from gateway.auth import Caller
from gateway.context import Context

_LEAST: Final = 0.001  # seconds; an RPC with no time left still has to fail as one


class Request(web.BaseRequest):
    """One request. The attributes are filled on its way in and read for its line of log."""

    ATTRS = web.BaseRequest.ATTRS | {
        "context", "deadline", "image_id", "params", "request_id", "route", "started", "traceparent", "who"
    }  # fmt: skip

    def __init__(self, *of_aiohttp: Any, context: Context) -> None:
        super().__init__(*of_aiohttp, client_max_size=context.settings.max_body_bytes)
        self.context = context
        self.started = time.perf_counter()
        self.deadline = asyncio.get_running_loop().time() + context.settings.request_seconds
        self.request_id = ""
        self.traceparent = ""
        self.route = ""
        self.params: dict[str, str] = {}
        self.who: Caller | None = None
        self.image_id = ""

    def remaining(self) -> float:
        """Seconds until the request's deadline: the time-out of the next RPC."""
        return max(_LEAST, self.deadline - asyncio.get_running_loop().time())

    async def caller(self, scope: str) -> Caller:
        """Who asks, with the scope and a request of the tenant's rate. Raises `Refusal` (401, 403, 429)."""
        self.who = who = await self.context.authenticator(self.headers.get("x-api-key"), self.remaining())
        who.require(scope)
        if not self.context.rates.take_at_once(who.tenant_id):
            await self.context.rates.take(who, self.remaining())
        return who
