"""image_svc and metadata_svc as real processes, on LocalStack and a database of the test's own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
from darkroom.metadata.v1 import metadata_pb2 as pb
from darkroom.metadata.v1 import metadata_pb2_grpc as rpc

from runtime import grpc_client
from runtime.errors import DarkroomError
from tests.support.image_place import Place, place
from tests.support.localstack import LocalStack
from tests.support.metadata import new_image
from tests.support.postgres import Database

ROOT = Path(__file__).parents[2]
TERMINAL = {pb.Image.READY, pb.Image.REJECTED, pb.Image.FAILED, pb.Image.EXPIRED, pb.Image.DELETED}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Service:
    """A running service. Its log is a file, so that nothing waits for a reader."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    port: int

    def events(self, event: str) -> list[dict[str, Any]]:
        """The log's lines with this event so far."""
        lines = [line for line in self.log.read_bytes().splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        return [line for line in map(msgspec.json.decode, lines) if line.get("event") == event]

    async def logged(self, event: str, *, times: int = 1, within: float = 30) -> None:
        """Waits for a line of the log."""
        try:
            async with asyncio.timeout(within):
                while len(self.events(event)) < times:
                    assert self.process.returncode is None, f"{self.name} ended:\n{self.log.read_text()[-3000:]}"
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{self.name} never said {event!r}:\n{self.log.read_text()[-3000:]}") from None

    async def stop(self, within: float = 60) -> int:
        """SIGTERM; returns the status."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), within)

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.process.wait()


@dataclass
class Stack:
    """Everything that image_svc works with."""

    localstack: LocalStack
    place: Place
    database: Database
    owner: Any
    folder: Path
    tenant_id: str
    metadata_port: int
    stub: Any = None
    metadata_service: Service | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def metadata(self) -> Service:
        """Starts metadata_svc and connects to it."""
        service = await self._service("metadata_svc", self.metadata_port, await self._metadata_environment())
        self.metadata_service = service
        if self.stub is None:
            channel = await grpc_client.channel(self._stack, f"ipv4:127.0.0.1:{self.metadata_port}")
            self.stub = rpc.MetadataServiceStub(channel)
        return service

    async def worker(self, *, stage: str = "", port: int = 0, agent: str = "", **settings: object) -> Service:
        """Starts image_svc; what is not given here it reads from Parameter Store, where the stage has something."""
        own = {
            "incoming_bucket": self.place.incoming,
            "media_bucket": self.place.media,
            "queue_url": self.place.queue_url,
            "dlq_url": self.place.dlq_url,
            "metadata_target": f"ipv4:127.0.0.1:{self.metadata_port}",
            "lease_seconds": 4,
            "heartbeat_seconds": 1,
            # LocalStack keeps a dead worker's poll open, and gives it the next message: keep polls short.
            "receive_wait_seconds": 1,
            **settings,
        }
        environment = {f"IMAGE_SVC_{name.upper()}": str(value) for name, value in own.items()}
        if stage:
            environment["DARKROOM_STAGE"] = stage
        if agent:
            environment["ECS_AGENT_URI"] = agent
        return await self._service("image_svc", port or free_port(), environment)

    async def register(self, content: bytes, **fields: Any) -> pb.Image:
        """Registers an image for these bytes."""
        fields = {"size": len(content), "sha256": hashlib.sha256(content).digest()} | fields
        item = new_image(self.tenant_id, **fields)
        item.item_id = 1
        answer = await grpc_client.call(self.stub.BatchCreateImages, pb.BatchCreateImagesRequest(items=[item]), 5)
        image: pb.Image = answer.results[0].image
        assert image.id, answer
        return image

    async def upload(self, content: bytes, **fields: Any) -> pb.Image:
        """Registers an image and puts its bytes."""
        image = await self.register(content, **fields)
        await self.place.s3.put_object(Bucket=self.place.incoming, Key=image.original_key, Body=content)
        return image

    async def get(self, image_id: str) -> pb.Image:
        """The image as it stands."""
        item = pb.GetImageRequest(item_id=1, tenant_id=self.tenant_id, image_id=image_id)
        answer = await grpc_client.call(self.stub.BatchGetImages, pb.BatchGetImagesRequest(items=[item]), 5)
        image: pb.Image = answer.results[0].image
        return image

    async def settled(self, images: Sequence[pb.Image], within: float = 90) -> list[pb.Image]:
        """The images, once each is in a terminal state."""
        found: dict[str, pb.Image] = {}
        async with asyncio.timeout(within):
            while len(found) < len(images):
                for image in images:
                    if image.id not in found and (now := await self._seen(image.id)) is not None:
                        found[image.id] = now
                await asyncio.sleep(0.05)
        return [found[image.id] for image in images]

    async def attempts(self, image_id: str) -> tuple[int, int]:
        """The image's last attempt, and how many counted."""
        row = await self.owner.fetchrow(
            "SELECT attempt, counted FROM darkroom.images WHERE id = $1", uuid.UUID(image_id)
        )
        return row["attempt"], row["counted"]

    async def age(self, seconds: float) -> None:
        """Makes every image older, as far as its removal goes."""
        await self.owner.execute(
            "UPDATE darkroom.images SET upload_expires_at = upload_expires_at - $1::interval, "
            "held_until = held_until - $1::interval, due_at = due_at - $1::interval, "
            "ready_at = ready_at - $1::interval",
            timedelta(seconds=seconds),
        )

    async def _seen(self, image_id: str) -> pb.Image | None:
        try:
            image = await self.get(image_id)
        except DarkroomError:  # metadata_svc may be away: that is what some tests are about
            return None
        return image if image.state in TERMINAL else None

    async def _service(self, name: str, port: int, environment: dict[str, str]) -> Service:
        log = self.folder / f"{name}-{secrets.token_hex(3)}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                name,
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}",
                    **self.localstack.environment,
                    f"{name.upper()}_LISTEN_PORT": str(port),
                    **environment,
                },
                stderr=out,
            )
        service = Service(name, process, log, port)
        self._stack.push_async_callback(_end, service)
        await service.logged("ready")
        return service

    async def _metadata_environment(self) -> dict[str, str]:
        names = {}
        for role, url in (("app", self.database.app_url), ("maintenance", self.database.maintenance_url)):
            parts = urlsplit(url)
            login = {
                "host": parts.hostname,
                "port": parts.port,
                "dbname": self.database.name,
                "username": parts.username,
                "password": parts.password,
            }
            names[role] = f"{self.database.name}-{role}"
            with suppress(self.place.secrets.exceptions.ResourceExistsException):  # metadata_svc starts again
                await self.place.secrets.create_secret(Name=names[role], SecretString=json.dumps(login))
        return {
            "METADATA_SVC_QUEUE_URL": self.place.queue_url,
            "METADATA_SVC_TOPIC_ARN": self.place.topic_arn,
            "METADATA_SVC_APP_DATABASE_SECRET": names["app"],
            "METADATA_SVC_MAINTENANCE_DATABASE_SECRET": names["maintenance"],
            "METADATA_SVC_SWEEP_INTERVAL_SECONDS": "0.5",
            "METADATA_SVC_FIRST_RETRY_SECONDS": "0.2",
            "METADATA_SVC_APP_POOL_SIZE": "2",
            "METADATA_SVC_MAINTENANCE_POOL_SIZE": "3",
        }


async def _end(service: Service) -> None:
    if service.process.returncode is None:
        await service.kill()


@asynccontextmanager
async def stack(localstack: LocalStack, database: Database, folder: Path, **tenant: Any) -> AsyncIterator[Stack]:
    """metadata_svc is up; image_svc starts when a test says so. `tenant` overrides the tenant's limits and policy."""
    tenant_id = str(uuid.uuid4())
    row = {
        "name": "test",
        "max_image_bytes": 1 << 30,
        "max_images": 1_000_000,
        "max_bytes": 1 << 40,
        "requests_per_second": 100,
        **tenant,
    }
    async with AsyncExitStack() as exits:
        made = await exits.enter_async_context(place(localstack, versioned=True))
        owner = await asyncpg.connect(database.owner_url)
        exits.push_async_callback(owner.close)
        places = ", ".join(f"${number}" for number in range(2, len(row) + 2))
        await owner.execute(
            f"INSERT INTO darkroom.tenants (id, {', '.join(row)}) VALUES ($1, {places})", tenant_id, *row.values()
        )
        running = Stack(localstack, made, database, owner, folder, tenant_id, free_port())
        await exits.enter_async_context(running._stack)
        await running.metadata()
        yield running
