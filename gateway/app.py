"""Composition root of the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from gateway import routes
from gateway.adapters import metadata, presign
from gateway.adapters.health import GrpcHealth
from gateway.auth import Authenticator
from gateway.context import CONTEXT, Context
from gateway.images import Images, SignedUrls
from gateway.limits import RequestRates
from gateway.readiness import Readiness
from gateway.server import Guard
from gateway.settings import Settings
from gateway.waiting import WaitingRoom
from runtime import aws, lifecycle
from runtime.settings import load

_log = structlog.get_logger(__name__)


def application(context: Context) -> web.Application:
    """The aiohttp application over a context."""
    guard = Guard(context.settings)
    app = web.Application(middlewares=[guard.middleware], client_max_size=context.settings.max_body_bytes)
    app[CONTEXT] = context
    routes.add(app)
    return app


async def build(life: lifecycle.Lifecycle) -> None:
    """Builds the gateway. Raises `SettingsError` where a setting is wrong."""
    settings = await load(Settings, aws.session())
    to_metadata = await metadata.channel(life.stack, settings.metadata_target)
    to_presign = await presign.channel(life.stack, settings.presign_target)
    batches = {"max_items": settings.batch_items, "max_in_flight": settings.batches_in_flight}
    images = metadata.GrpcMetadata(to_metadata, **batches)
    presigner = presign.GrpcPresign(to_presign, **batches)
    waiting = WaitingRoom(images, pause=settings.wait_poll_seconds, most=settings.max_waiting)
    readiness = Readiness(
        {
            "metadata_svc": GrpcHealth(to_metadata, metadata.SERVICE),
            "presign_svc": GrpcHealth(to_presign, presign.SERVICE),
        },
        seconds=settings.health_seconds,
    )
    context = Context(
        settings=settings,
        metadata=images,
        presign=presigner,
        authenticator=Authenticator(
            images,
            good=settings.key_cache_seconds,
            bad=settings.bad_key_cache_seconds,
            entries=settings.key_cache_entries,
            clock=time.monotonic,
        ),
        rates=RequestRates(images, least=settings.lease_requests, entries=settings.lease_entries, clock=time.time),
        images=Images(SignedUrls(presigner, entries=settings.url_cache_entries, clock=time.time)),
        waiting=waiting,
        readiness=readiness,
        presets=frozenset(settings.preset_names),
    )
    life.background(waiting.run(), name="waiting")
    life.background(readiness.run(), name="readiness")
    await life.stack.enter_async_context(_serving(context))


@asynccontextmanager
async def _serving(context: Context) -> AsyncIterator[None]:
    """Serves until the block ends. Then: not ready, for long enough to be noticed; no new connection; the requests in
    hand end, and those that wait for an image are answered with what is known.
    """
    settings = context.settings
    runner = web.AppRunner(
        application(context),
        access_log=None,
        keepalive_timeout=settings.keepalive_seconds,
        handler_cancellation=True,
        max_line_size=settings.max_header_bytes,
        max_field_size=settings.max_header_bytes,
        shutdown_timeout=settings.drain_seconds,
    )
    await runner.setup()
    site = web.TCPSite(runner, settings.listen_host, settings.listen_port, backlog=settings.backlog, reuse_port=True)
    await site.start()
    host, port = runner.addresses[0][:2]
    _log.info("listening", host=host, port=port)
    try:
        yield
    finally:
        context.readiness.draining = True
        await asyncio.sleep(settings.unready_seconds)
        context.waiting.close()
        await runner.cleanup()


def main() -> None:
    """Runs the gateway until SIGTERM."""
    lifecycle.run(Settings.service, build)
