"""Composition root of the gateway."""

from __future__ import annotations

import time

from gateway import routes
from gateway.access_log import AccessLog
from gateway.adapters import metadata, presign, rendering
from gateway.adapters.health import GrpcHealth
from gateway.auth import Authenticator
from gateway.context import Context
from gateway.images import Images, SignedUrls
from gateway.limits import Admission, RequestRates
from gateway.presets import parse_names
from gateway.readiness import Readiness
from gateway.server import serving
from gateway.settings import Settings
from gateway.waiting import WaitingRoom
from runtime import aws, lifecycle
from runtime.settings import load, reader
from runtime.watched import Watched


async def build(life: lifecycle.Lifecycle) -> None:
    """Builds the gateway. Raises `SettingsError` where a setting is wrong."""
    session = aws.session()
    settings = await load(Settings, session)
    read = await reader(life.stack, settings, session, "presets")
    await assemble(life, settings, Watched("presets", settings.presets, parse_names, read))


async def assemble(life: lifecycle.Lifecycle, settings: Settings, presets: Watched[frozenset[str]]) -> None:
    """Puts the gateway together from settings, and serves until the life's stack unwinds."""
    to_metadata = await metadata.channel(life.stack, settings.metadata_target)
    to_presign = await presign.channel(life.stack, settings.presign_target)
    to_image = await rendering.channel(life.stack, settings.image_target)
    batches = {"max_items": settings.batch_items, "max_in_flight": settings.batches_in_flight}
    images = metadata.GrpcMetadata(to_metadata, **batches)
    presigner = presign.GrpcPresign(to_presign, **batches)
    waiting = WaitingRoom(images, pause=settings.wait_poll_seconds, most=settings.max_waiting)
    readiness = Readiness(
        {
            "metadata_svc": GrpcHealth(to_metadata, metadata.SERVICE),
            "presign_svc": GrpcHealth(to_presign, presign.SERVICE),
            "image_svc": GrpcHealth(to_image, rendering.SERVICE),
        },
        seconds=settings.health_seconds,
        # Everything else goes on without it: uploads wait in the queue, and what is made can be fetched.
        optional=frozenset({"image_svc"}),
    )
    context = Context(
        settings=settings,
        metadata=images,
        presign=presigner,
        rendering=rendering.GrpcRendering(to_image),
        authenticator=Authenticator(
            images,
            good=settings.key_cache_seconds,
            bad=settings.bad_key_cache_seconds,
            entries=settings.key_cache_entries,
            clock=time.monotonic,
        ),
        admission=Admission(settings.max_requests, retry_after=settings.retry_after_seconds),
        rates=RequestRates(images, least=settings.lease_requests, entries=settings.lease_entries, clock=time.time),
        images=Images(SignedUrls(presigner, entries=settings.url_cache_entries, clock=time.time)),
        waiting=waiting,
        readiness=readiness,
        presets=presets,
    )
    life.background(waiting.run(), name="waiting")
    life.background(readiness.run(), name="readiness")
    life.background(presets.run(settings.presets_seconds), name="presets")
    access_log = AccessLog() if settings.access_log else None
    await life.stack.enter_async_context(serving(context, routes.router(), access_log))


def main() -> None:
    """Runs the gateway until SIGTERM."""
    lifecycle.run(Settings.service, build)
