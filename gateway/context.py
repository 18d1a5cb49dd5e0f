"""What the routes share: one object, built by `app`, reached from a request by its key."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from gateway.auth import Authenticator, Caller
from gateway.images import Images
from gateway.limits import RequestRates
from gateway.ports import Metadata, Presign
from gateway.readiness import Readiness
from gateway.settings import Settings
from gateway.waiting import WaitingRoom


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a route works with."""

    settings: Settings
    metadata: Metadata
    presign: Presign
    authenticator: Authenticator
    rates: RequestRates
    images: Images
    waiting: WaitingRoom
    readiness: Readiness
    presets: frozenset[str]


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)
# What a request is about, for its line of log.
KEY_ID: web.RequestKey[str] = web.RequestKey("key_id", str)
TENANT_ID: web.RequestKey[str] = web.RequestKey("tenant_id", str)
IMAGE_ID: web.RequestKey[str] = web.RequestKey("image_id", str)


async def caller(request: web.Request, scope: str) -> Caller:
    """Who asks, with the scope and a request of the tenant's rate. Raises `Refusal` (401, 403, 429)."""
    context = request.app[CONTEXT]
    timeout = context.settings.request_seconds
    found = await context.authenticator(request.headers.get("x-api-key"), timeout)
    request[KEY_ID], request[TENANT_ID] = found.key_id, found.tenant_id
    found.require(scope)
    await context.rates.take(found, timeout)
    return found
