"""metadata_svc in this process, on a test's own database, behind a real gRPC server."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import grpc
from darkroom.metadata.v1 import metadata_pb2 as pb
from darkroom.metadata.v1 import metadata_pb2_grpc as rpc
from google.protobuf.duration_pb2 import Duration

from metadata_svc.adapters.credentials import FixedLogin
from metadata_svc.app import NAMES, Parts, assemble
from metadata_svc.ports import Outgoing
from metadata_svc.settings import Settings
from runtime import grpc_client
from runtime.grpc_server import serving
from tests.support.postgres import Database

DAY = 24 * 3600


@dataclass
class FakePublisher:
    """A `Publisher` that keeps what it was given. While `down`, it takes nothing."""

    sent: list[Outgoing] = field(default_factory=list)
    down: bool = False
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, messages: Sequence[Outgoing]) -> set[UUID]:
        """Takes all, or nothing."""
        if self.down:
            return set()
        self.sent.extend(messages)
        self.taken.set()
        return {message.id for message in messages}

    def kinds(self) -> list[str]:
        """What was sent, in order."""
        return [message.kind for message in self.sent]


@dataclass(frozen=True)
class Metadata:
    """The running service. `owner` is a connection that sees everything; background work runs only when called."""

    stub: Any
    owner: Any
    publisher: FakePublisher
    parts: Parts
    database: Database
    channel: grpc.aio.Channel

    async def call(self, method: str, request: Any, timeout: float = 10.0) -> Any:
        """One RPC; raises `DarkroomError`."""
        return await grpc_client.call(getattr(self.stub, method), request, timeout)

    async def tenant(self, **columns: Any) -> str:
        """A new tenant; `columns` override its limits and policy."""
        tenant_id = uuid.uuid4()
        row = {
            "name": "test",
            "max_image_bytes": 1 << 30,
            "max_images": 1_000_000,
            "max_bytes": 1 << 40,
            "requests_per_second": 100,
            **columns,
        }
        names = ", ".join(row)
        places = ", ".join(f"${number}" for number in range(2, len(row) + 2))
        await self.owner.execute(
            f"INSERT INTO darkroom.tenants (id, {names}) VALUES ($1, {places})", tenant_id, *row.values()
        )
        return str(tenant_id)

    async def create(self, *items: pb.CreateImageRequest) -> list[pb.CreateImageResult]:
        """BatchCreateImages; the results in the order of the items."""
        for number, item in enumerate(items, 1):
            item.item_id = number
        response = await self.call("BatchCreateImages", pb.BatchCreateImagesRequest(items=items))
        assert len(response.results) == len(items)
        return sorted(response.results, key=lambda result: int(result.item_id))

    async def image(self, tenant_id: str, **fields: Any) -> pb.Image:
        """A new image."""
        (result,) = await self.create(new_image(tenant_id, **fields))
        assert result.WhichOneof("result") == "image", result
        return result.image

    async def get(self, tenant_id: str, image_id: str) -> pb.GetImageResult:
        """BatchGetImages of one."""
        item = pb.GetImageRequest(item_id=1, tenant_id=tenant_id, image_id=image_id)
        response = await self.call("BatchGetImages", pb.BatchGetImagesRequest(items=[item]))
        result: pb.GetImageResult = response.results[0]
        return result

    async def begin(self, image: pb.Image, lease: float = 30.0) -> pb.BeginProcessingResponse:
        """BeginProcessing of an image's original."""
        request = pb.BeginProcessingRequest(key=image.original_key, lease=seconds(lease))
        response: pb.BeginProcessingResponse = await self.call("BeginProcessing", request)
        return response

    async def finish(self, job: pb.Job, **ready: Any) -> pb.FinishProcessingResponse:
        """FinishProcessing with a good verdict."""
        request = pb.FinishProcessingRequest(
            tenant_id=job.tenant_id, image_id=job.image_id, attempt=job.attempt, ready=good(job, **ready)
        )
        response: pb.FinishProcessingResponse = await self.call("FinishProcessing", request)
        return response

    async def ready_image(self, tenant_id: str, *, likeness: int = 0, **fields: Any) -> pb.Image:
        """A new image that went all the way."""
        image = await self.image(tenant_id, **fields)
        begun = await self.begin(image)
        await self.finish(begun.job, perceptual_hash=likeness)
        return (await self.get(tenant_id, image.id)).image

    async def usage(self, tenant_id: str) -> tuple[int, int]:
        """Images and bytes of a tenant."""
        response = await self.call("GetUsage", pb.GetUsageRequest(tenant_id=tenant_id))
        return response.images, response.bytes

    async def row(self, image_id: str) -> Mapping[str, Any]:
        """An image's row as it is stored."""
        row: Mapping[str, Any] = await self.owner.fetchrow(
            "SELECT * FROM darkroom.images WHERE id = $1", uuid.UUID(image_id)
        )
        return row

    async def later(self, seconds_: float) -> None:
        """Makes everything in the database that much older."""
        await age(self.owner, seconds_)


async def age(owner: Any, length: float) -> None:
    """Makes images, requests and messages so many seconds older: for them, time has passed."""
    by = timedelta(seconds=length)
    await owner.execute(
        """
        UPDATE darkroom.images SET
            created_at = created_at - $1::interval, updated_at = updated_at - $1::interval,
            upload_expires_at = upload_expires_at - $1::interval, ready_at = ready_at - $1::interval,
            held_until = held_until - $1::interval, deleted_at = deleted_at - $1::interval,
            purge_after = purge_after - $1::interval, purged_at = purged_at - $1::interval,
            original_removed_at = original_removed_at - $1::interval, due_at = due_at - $1::interval,
            render_until = render_until - $1::interval, ordered_at = ordered_at - $1::interval
        """,
        by,
    )
    await owner.execute("UPDATE darkroom.requests SET created_at = created_at - $1::interval", by)
    await owner.execute(
        "UPDATE darkroom.outbox SET created_at = created_at - $1::interval, next_at = next_at - $1::interval", by
    )


def seconds(length: float) -> Duration:
    """A Duration."""
    return Duration(seconds=int(length), nanos=int(length % 1 * 1e9))


def uuid7() -> str:
    """A UUIDv7 of now, as the gateway makes them."""
    millis = int(time.time() * 1000)
    value = (millis << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def new_image(tenant_id: str, **fields: Any) -> pb.CreateImageRequest:
    """A request to register an image; `tags` and `presets` as Python values."""
    base: dict[str, Any] = {
        "image_id": uuid7(),
        "filename": "a.jpg",
        "content_type": "image/jpeg",
        "size": 1000,
        "upload_method": pb.UPLOAD_METHOD_PUT,
        "upload_time_to_live": seconds(900),
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }
    base |= fields
    if base.get("request_id") and "request_sha256" not in base:
        base["request_sha256"] = hashlib.sha256(b"one body").digest()
    return pb.CreateImageRequest(tenant_id=tenant_id, **base)


def good(job: pb.Job, perceptual_hash: int = 0) -> pb.Ready:
    """A good verdict with two variants of 100 bytes in all."""
    facts = pb.Facts(
        format="JPEG",
        width=400,
        height=300,
        frames=1,
        thumbhash=b"thumb",
        color="#8a7f6c",
        perceptual_hash=perceptual_hash,
        sha256=hashlib.sha256(job.image_id.encode()).digest(),
    )
    variants = [
        pb.Variant(
            name=name,
            key=f"{job.media_prefix}{name}.abc.webp",
            content_type="image/webp",
            width=40,
            height=30,
            size=size,
        )
        for name, size in (("thumb", 30), ("small", 70))
    ]
    return pb.Ready(facts=facts, variants=variants)


def settings_for_tests(**overrides: Any) -> Settings:
    """Settings that need no Parameter Store."""
    base: dict[str, Any] = {
        "queue_url": "http://queue",
        "topic_arn": "arn:topic",
        "app_database_secret": "app",
        "maintenance_database_secret": "maintenance",
    }
    return Settings(**(base | overrides))


@asynccontextmanager
async def metadata_service(database: Database, **overrides: Any) -> AsyncIterator[Metadata]:
    """The service on a database; `overrides` are settings. Relay and sweeper are there, but run only when called."""
    publisher = FakePublisher()
    async with AsyncExitStack() as stack:
        parts = await assemble(
            stack,
            settings_for_tests(**overrides),
            app=FixedLogin(database.app_url),
            maintenance=FixedLogin(database.maintenance_url),
            publisher=publisher,
        )
        server = await stack.enter_async_context(
            serving(
                host="127.0.0.1",
                port=0,
                names=list(NAMES),
                add=parts.serve,
                drain_seconds=1,
            )
        )
        channel: grpc.aio.Channel = await grpc_client.channel(stack, f"127.0.0.1:{server.port}")
        await channel.channel_ready()  # so that a slow machine is not taken for a service that is away
        owner = await asyncpg.connect(database.owner_url)
        stack.push_async_callback(owner.close)
        yield Metadata(rpc.MetadataServiceStub(channel), owner, publisher, parts, database, channel)
