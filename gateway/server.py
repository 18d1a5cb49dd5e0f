"""aiohttp's HTTP server under the gateway.

The low-level server (`aiohttp.web.Server`) and no Application: its router, match objects and middlewares cost 10 us a
request, and what it refuses by itself (bytes that are no HTTP, a wrong Expect) would not be a problem document.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway import problems
from gateway.access_log import AccessLog
from gateway.answers import Answer
from gateway.context import Context
from gateway.front import Front
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Router
from runtime.errors import Kind

_log = structlog.get_logger(__name__)


class _Protocol(RequestHandler):
    """A connection. Only what aiohttp answers without asking us is different."""

    __slots__ = ("_front",)

    def __init__(self, server: Server, front: Front, **options: Any) -> None:
        super().__init__(server, **options)
        self._front = front

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # aiohttp passes it; it quotes the client's bytes
    ) -> web.StreamResponse:
        """Answers bytes that are no HTTP request. Closes the connection: where the next one begins is not known."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; it cannot become another one")
        self._front.begin(request)
        if status < 500:
            refusal = Refusal(Kind.MALFORMED, "The request is not valid HTTP.")
        else:
            _log.error("the gateway failed", exc_info=exc)
            refusal = problems.ours()
        answer: Answer = self._front.end(request, problems.answer(refusal, request.request_id))
        answer.force_close()
        return answer


class Server(web.Server):
    """Makes a protocol for each connection, and our requests from aiohttp's."""

    def __init__(self, context: Context, router: Router, access_log: AccessLog | None) -> None:
        settings = context.settings
        self._front = Front(context, router, access_log)
        self._options: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,  # no bombs: an encoded body is refused
            "keepalive_timeout": settings.keepalive_seconds,
            "lingering_time": settings.linger_seconds,
            "max_line_size": settings.max_header_bytes,
            "max_field_size": settings.max_header_bytes,
        }

        def request(*of_aiohttp: Any) -> Request:
            return Request(*of_aiohttp, asyncio.get_running_loop(), context=context)

        # A client that hangs up cancels its handler: nobody waits for an image on behalf of nobody.
        super().__init__(self._front.handle, request_factory=request, handler_cancellation=True)  # type: ignore[arg-type]  # our factory makes our Request, which is what the handler takes

    def __call__(self) -> RequestHandler:
        """A new connection's protocol."""
        return _Protocol(self, self._front, loop=asyncio.get_running_loop(), **self._options)


@asynccontextmanager
async def serving(context: Context, router: Router, access_log: AccessLog | None) -> AsyncIterator[int]:
    """Serves until the block ends; gives the port. Then: not ready, for long enough to be noticed; no new connection;
    the requests in hand end, and those that wait for an image are answered with what is known.
    """
    settings = context.settings
    runner = web.ServerRunner(Server(context, router, access_log), shutdown_timeout=settings.drain_seconds)
    await runner.setup()
    site = web.TCPSite(runner, settings.listen_host, settings.listen_port, backlog=settings.backlog, reuse_port=True)
    await site.start()
    host, port = runner.addresses[0][:2]
    _log.info("listening", host=host, port=port)
    try:
        yield port
    finally:
        context.readiness.draining = True
        await asyncio.sleep(settings.unready_seconds)
        context.waiting.close()
        await runner.cleanup()
        if access_log is not None:
            access_log.flush()
