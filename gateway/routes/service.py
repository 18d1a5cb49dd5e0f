"""Alive, and able to serve."""

from __future__ import annotations

from typing import Final

from gateway.answers import Answer, reply
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Route
from runtime.errors import Kind


async def alive(_request: Request) -> Answer:
    """GET: the event loop turns."""
    return reply({"status": "alive"})


async def ready(request: Request) -> Answer:
    """GET: the services behind can be reached and this process does not drain."""
    readiness = request.context.readiness
    if not readiness.ready:
        away = [name for name, reached in readiness.reached.items() if not reached]
        detail = "This process is stopping." if readiness.draining else f"Not reached: {', '.join(away)}."
        raise Refusal(Kind.UNAVAILABLE, detail)
    return reply({"status": "ready", "services": readiness.reached})


ROUTES: Final = (
    Route("GET", "/healthz", alive, always=True),
    Route("GET", "/readyz", ready, always=True),
)
