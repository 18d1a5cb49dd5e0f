"""Alive, and able to serve."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.bodies import reply
from gateway.context import CONTEXT
from gateway.problems import Refusal
from runtime.errors import Kind


async def alive(_request: web.Request) -> web.Response:
    """GET: the event loop turns."""
    return reply({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """GET: the services behind can be reached and this process does not drain."""
    readiness = request.app[CONTEXT].readiness
    if not readiness.ready:
        away = [name for name, reached in readiness.reached.items() if not reached]
        detail = "This process is stopping." if readiness.draining else f"Not reached: {', '.join(away)}."
        raise Refusal(Kind.UNAVAILABLE, detail)
    return reply({"status": "ready", "services": readiness.reached})


ROUTES: Final = (web.get("/healthz", alive), web.get("/readyz", ready))
