"""Builds the service and passes everything on."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from aiobotocore.session import AioSession
from darkroom.image.v1 import image_pb2_grpc

from image_svc.adapters import metadata as metadata_adapter
from image_svc.adapters import s3 as s3_adapter
from image_svc.adapters.metadata import GrpcMetadata
from image_svc.adapters.protection import EcsProtection
from image_svc.adapters.s3 import S3ObjectStore
from image_svc.adapters.sqs import SqsQueue
from image_svc.pipeline.presets import Preset, PresetError, parse_presets
from image_svc.ports import Developer, Metadata, ObjectStore, Queue, Unreachable
from image_svc.presets import Presets
from image_svc.render.renderer import Renderer, RenderLimits
from image_svc.render.turns import Turns
from image_svc.sandbox import Sandbox, SandboxError, SandboxLimits
from image_svc.service import ImageService
from image_svc.settings import Settings
from image_svc.worker.consumer import Consumer, ConsumerLimits
from image_svc.worker.dead_letters import DeadLetterLimits, DeadLetters
from image_svc.worker.handler import Handler
from image_svc.worker.hold import Rhythm
from image_svc.worker.job import JobLimits, Jobs
from image_svc.worker.orders import Orders
from image_svc.worker.protection import ProtectionLimits, keep_protected
from image_svc.worker.slots import Slots
from image_svc.worker.watchdog import watchdog
from runtime import aws, aws_http, lifecycle
from runtime.grpc_server import serving
from runtime.lifecycle import Lifecycle
from runtime.settings import SettingsError, load, reader
from runtime.watched import Watched

# Connections to S3 that one job may use at a time: its variants go up together.
_CONNECTIONS_PER_JOB = 4


def main() -> None:
    """Runs image_svc."""
    lifecycle.run(Settings.service, _build)


async def _build(life: Lifecycle) -> None:
    stack, session = life.stack, aws.session()
    settings = await load(Settings, session)
    sandbox = await _sandbox(stack, settings)
    store = await _store(stack, session, settings)
    queue, dead_letter_queue = await _queues(stack, session, settings)
    metadata = GrpcMetadata(await metadata_adapter.channel(stack, settings.metadata_target), settings.rpc_seconds)

    watched = await _watched(stack, session, settings)
    presets = Presets(watched)

    consumer = _consumer(settings, queue=queue, metadata=metadata, store=store, developer=sandbox, presets=presets)
    renderer = Renderer(
        metadata,
        store,
        sandbox,
        presets,
        turns=Turns(
            settings.render_slots, waiting=settings.render_waiting, waiting_of_one=settings.render_waiting_of_one
        ),
        limits=RenderLimits(render=settings.render_seconds, margin=settings.rpc_seconds),
    )
    stack.push_async_callback(renderer.close)
    dead_letters = DeadLetters(
        dead_letter_queue,
        metadata,
        DeadLetterLimits(
            interval=settings.dead_letter_interval_seconds,
            hidden=settings.dead_letter_hidden_seconds,
            batches=settings.dead_letter_batches,
        ),
        bucket=settings.incoming_bucket,
    )
    life.background(dead_letters.run(), name="dead letters")
    life.background(consumer.run(), name="consumer")
    life.background(watched.run(settings.presets_seconds), name="presets")
    if settings.ecs_agent_uri is not None:
        limits = ProtectionLimits(
            look=settings.protection_look_seconds,
            minutes=settings.protection_minutes,
            longest=settings.protection_longest_seconds,
            pause=settings.protection_pause_seconds,
        )
        protection = EcsProtection(settings.ecs_agent_uri)
        life.background(keep_protected(protection, lambda: consumer.in_hand, limits, time.monotonic), name="protection")
    await stack.enter_async_context(watchdog(lambda: consumer.silence, hung=settings.hung_seconds))
    servicer = ImageService(metadata, store, queue, renderer, retry_seconds=settings.render_retry_seconds)
    server = await stack.enter_async_context(
        serving(
            host=settings.listen_host,
            port=settings.listen_port,
            names=["darkroom.image.v1.ImageService"],
            add=lambda server: image_pb2_grpc.add_ImageServiceServicer_to_server(servicer, server),
            drain_seconds=settings.drain_seconds,
        )
    )

    async def leave() -> None:
        # First of all on the way out: the consumer drains while the server does.
        consumer.stop()
        await server.set_ready(False)

    stack.push_async_callback(leave)


async def _sandbox(stack: AsyncExitStack, settings: Settings) -> Sandbox:
    limits = SandboxLimits(wall_seconds=settings.decode_wall_seconds)
    try:
        return await stack.enter_async_context(await Sandbox.start(limits))
    except SandboxError as error:
        raise SettingsError(f"image_svc: the sandbox does not start: {error}") from error


async def _store(stack: AsyncExitStack, session: AioSession, settings: Settings) -> S3ObjectStore:
    removals = await aws.on_first_use(
        stack,
        lambda own: aws.client(own, session, "s3", settings, also=s3_adapter.config(settings.s3_addressing_style)),
    )
    connections = settings.in_hand * _CONNECTIONS_PER_JOB + settings.render_slots
    store = S3ObjectStore(
        await aws_http.opened(stack, session, "s3", settings, connections=connections),
        removals,
        incoming_bucket=settings.incoming_bucket,
        media_bucket=settings.media_bucket,
        path_style=settings.s3_addressing_style == "path",
    )
    await _verified(store)
    return store


async def _queues(stack: AsyncExitStack, session: AioSession, settings: Settings) -> tuple[SqsQueue, SqsQueue]:
    # One connection for each message's acknowledgement, one each for the two long polls, one for requeueing.
    http = await aws_http.opened(stack, session, "sqs", settings, connections=settings.in_hand + 3)
    queues = SqsQueue(http, settings.queue_url), SqsQueue(http, settings.dlq_url)
    for queue in queues:
        await _verified(queue)
    return queues


async def _verified(resource: S3ObjectStore | SqsQueue) -> None:
    try:
        await resource.verify()
    except (LookupError, Unreachable) as error:
        raise SettingsError(f"image_svc: {error}") from error


async def _watched(stack: AsyncExitStack, session: AioSession, settings: Settings) -> Watched[tuple[Preset, ...]]:
    read = await reader(stack, settings, session, "presets")
    try:
        return Watched("presets", settings.presets, parse_presets, read)
    except PresetError as error:
        raise SettingsError(f"image_svc: {error}") from error


def _consumer(
    settings: Settings,
    *,
    queue: Queue,
    metadata: Metadata,
    store: ObjectStore,
    developer: Developer,
    presets: Presets,
) -> Consumer:
    jobs = Jobs(
        metadata,
        store,
        developer,
        presets,
        slots=Slots(settings.slots),
        limits=JobLimits(job=settings.job_seconds, patience=settings.outage_patience_seconds),
    )
    handler = Handler(
        jobs,
        Orders(jobs, metadata, store, patience=settings.outage_patience_seconds),
        bucket=settings.incoming_bucket,
        unreadable=settings.unreadable_seconds,
        retry_first=settings.retry_first_seconds,
        retry_longest=settings.retry_longest_seconds,
    )
    limits = ConsumerLimits(
        in_hand=settings.in_hand,
        prefetch=settings.prefetch,
        rhythm=Rhythm(lease=settings.lease_seconds, heartbeat=settings.heartbeat_seconds),
        receive_wait=settings.receive_wait_seconds,
        poll_grace=settings.poll_grace_seconds,
        drain=settings.drain_seconds,
        hand_back=settings.hand_back_seconds,
    )
    return Consumer(queue, metadata, handler, limits)
