"""What stands around every route: request id, trace, deadline, admission, problems, headers and one line of log."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from gateway import problems
from gateway.context import IMAGE_ID, KEY_ID, TENANT_ID
from gateway.limits import Admission
from gateway.problems import Refusal
from gateway.settings import Settings
from runtime import trace
from runtime.errors import DarkroomError, Kind

_log = structlog.get_logger("gateway.access")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Alive or not is asked when the process is at its limit, too.
_EXEMPT: Final = frozenset({"/healthz", "/readyz"})
_THEIR_ID: Final = re.compile(r"[!-~]{1,128}")
_CORS_METHODS: Final = "GET, POST, PATCH, DELETE"
_CORS_HEADERS: Final = "authorization, content-type, idempotency-key, if-match, if-none-match, traceparent, x-api-key"
_CORS_EXPOSED: Final = "etag, location, retry-after, x-request-id"
_PREFLIGHT_SECONDS: Final = "3600"


class Guard:
    """The one middleware."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admission = Admission(settings.max_requests, retry_after=settings.retry_after_seconds)
        self._origins = frozenset(settings.cors_origins)

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answers whatever happens below."""
        started = time.perf_counter()
        request_id = secrets.token_hex(16)
        traceparent = trace.continued(request.headers.get("traceparent"))
        trace.current.set(traceparent)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                response = await self._answer(request, handler)
            except Refusal as refusal:
                response = problems.response(refusal, request_id)
            except DarkroomError as error:
                if error.kind in {Kind.INTERNAL, Kind.STALE_ATTEMPT}:
                    _log.error("a service behind failed", reason=str(error))
                response = problems.response(Refusal.of(error), request_id)
            except web.HTTPException as error:
                response = problems.response(_refusal(request, error), request_id)
            except asyncio.CancelledError:
                self._say(request, 499, started)
                raise
            except Exception:
                _log.exception("the gateway failed")
                detail = "The fault is ours; the request id names it in our logs."
                response = problems.response(Refusal(Kind.INTERNAL, detail), request_id)
            response.headers["x-request-id"] = request_id
            response.headers["x-content-type-options"] = "nosniff"
            response.headers.setdefault("cache-control", "private, no-store")
            self._allow_origin(request, response)
            self._say(request, response.status, started)
            return response

    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.method == "OPTIONS" and request.path.startswith("/v1/"):
            return web.Response(status=204)
        if request.path in _EXEMPT:
            return await handler(request)
        if "wait" in request.query:  # held ones have a bound of their own
            return await handler(request)
        with self._admission.slot():
            try:
                async with asyncio.timeout(self._settings.request_seconds):
                    return await handler(request)
            except TimeoutError:
                raise Refusal(Kind.UNAVAILABLE, "Try again after the given time.") from None

    def _allow_origin(self, request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("origin")
        if origin is None or not self._origins:
            return
        response.headers["vary"] = "origin"
        if origin in self._origins or "*" in self._origins:
            response.headers["access-control-allow-origin"] = origin
            response.headers["access-control-expose-headers"] = _CORS_EXPOSED
            if request.method == "OPTIONS":
                response.headers["access-control-allow-methods"] = _CORS_METHODS
                response.headers["access-control-allow-headers"] = _CORS_HEADERS
                response.headers["access-control-max-age"] = _PREFLIGHT_SECONDS

    def _say(self, request: web.Request, status: int, started: float) -> None:
        if not self._settings.access_log:
            return
        resource = request.match_info.route.resource
        theirs = request.headers.get("x-request-id", "")
        _log.info(
            "request",
            method=request.method,
            route=resource.canonical if resource is not None else "",
            status=status,
            ms=round((time.perf_counter() - started) * 1000, 2),
            key_id=request.get(KEY_ID),
            tenant_id=request.get(TENANT_ID),
            image_id=request.get(IMAGE_ID),
            client_request_id=theirs if _THEIR_ID.fullmatch(theirs) else None,
        )


def _refusal(request: web.Request, error: web.HTTPException) -> Refusal:
    """What aiohttp itself refuses, as ours."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Refusal("method_not_allowed", f"Allowed here: {allowed}.", headers={"allow": allowed})
        case web.HTTPNotFound():
            return Refusal(Kind.NOT_FOUND, "There is no such resource.")
        case web.HTTPRequestEntityTooLarge():
            return Refusal("payload_too_large", "The body is too large.")
        case web.HTTPBadRequest():
            return Refusal(Kind.MALFORMED, "The request is malformed.")
        case _:
            _log.error("unexpected refusal", status=error.status, path=request.path)
            return Refusal(Kind.INTERNAL, "The fault is ours; the request id names it in our logs.")
