"""Alive, and able to serve."""

from __future__ import annotations

from typing import Final

from gateway.adapters.health import TEST_HEADER
from gateway.answers import Answer, reply
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Route
from runtime.errors import Kind


async def alive(_request: Request) -> Answer:
    """GET: the event loop turns."""
    return reply({"status": "alive"})


async def ready(request: Request) -> Answer:
    """GET: the services behind can be reached and this process does not drain. With the header of a roll-out's test the
    service that it names is asked anew, it alone, in its new version.
    """
    readiness = request.context.readiness
    tested = request.headers.get(TEST_HEADER, "")
    if tested in readiness.reached:
        if not await readiness.test(tested):
            raise Refusal(Kind.UNAVAILABLE, f"Not reached: {tested}, under test.")
        return reply({"status": "ready", "services": {tested: True}})
    if not readiness.ready:
        away = [name for name, reached in readiness.reached.items() if not reached]
        detail = "This process is stopping." if readiness.draining else f"Not reached: {', '.join(away)}."
        raise Refusal(Kind.UNAVAILABLE, detail)
    return reply({"status": "ready", "services": readiness.reached})


ROUTES: Final = (
    Route("GET", "/healthz", alive, always=True),
    Route("GET", "/readyz", ready, always=True),
)
