"""The gateway, metadata_svc and presign_svc as real processes, on PostgreSQL and LocalStack: one set for all tests."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession, TCPConnector

from tests.support import openapi
from tests.support.image_stack import ROOT, Service, Stack, free_port, stack
from tests.support.localstack import LocalStack
from tests.support.postgres import Database, Template, with_database

SCOPES = ["images:read", "images:write", "originals:read"]


@dataclass(frozen=True)
class Answer:
    """What came back, already held to the document."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class House:
    """What stands. `behind` is metadata_svc with its tools; `gateways` share one port."""

    behind: Stack
    presign: Service
    gateways: list[Service]
    client: ClientSession
    port: int
    image_port: int = field(default_factory=free_port)  # where image_svc listens, in tests that start it

    async def call(self, method: str, path: str, *, key: str | None, port: int | None = None, **options: Any) -> Answer:
        """One request to the gateway; asserts that the answer is one of the document's."""
        headers = {**({} if key is None else {"x-api-key": key}), **options.pop("headers", {})}
        url = f"http://127.0.0.1:{port or self.port}{path}"
        async with self.client.request(method, url, headers=headers, allow_redirects=False, **options) as response:
            answer = Answer(response.status, response.headers, await response.read())
            openapi.check(method, response.url.path, answer.status, answer.headers, answer.body)
        assert len(answer.headers["x-request-id"]) == 32
        return answer

    async def tenant(self, **columns: Any) -> str:
        """A new tenant; `columns` override its limits."""
        tenant_id = str(uuid.uuid4())
        row = {
            "name": tenant_id,
            "max_image_bytes": 1 << 30,
            "max_images": 1_000_000,
            "max_bytes": 1 << 40,
            "requests_per_second": 1000,
            **columns,
        }
        places = ", ".join(f"${number}" for number in range(2, len(row) + 2))
        await self.behind.owner.execute(
            f"INSERT INTO darkroom.tenants (id, {', '.join(row)}) VALUES ($1, {places})", tenant_id, *row.values()
        )
        return tenant_id

    async def key(self, tenant_id: str, *scopes: str) -> str:
        """A new secret key of a tenant, with all scopes where none are named."""
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        await self.behind.owner.execute(
            "INSERT INTO darkroom.api_keys (id, tenant_id, kind, secret_sha256, scopes) VALUES ($1, $2, 1, $3, $4)",
            key_id,
            tenant_id,
            hashlib.sha256(secret.encode()).digest(),
            list(scopes or SCOPES),
        )
        return f"drk_{key_id}_{secret}"

    async def gateway(self, port: int, **settings: object) -> Service:
        """Starts a gateway; several may have one port."""
        own = {
            "metadata_target": f"ipv4:127.0.0.1:{self.behind.metadata_port}",
            "presign_target": f"ipv4:127.0.0.1:{self.presign.port}",
            "image_target": f"ipv4:127.0.0.1:{self.image_port}",
            "presets": (ROOT / "image_svc" / "presets.json").read_text(),
            "unready_seconds": 0.3,
            "key_cache_seconds": 1,
            "health_seconds": 0.2,
            **settings,
        }
        return await self.behind._service(
            "gateway", port, {f"GATEWAY_{name.upper()}": str(value) for name, value in own.items()}
        )

    async def until_ready(self, port: int | None = None, status: int = 200) -> None:
        """Waits until `/readyz` answers so."""
        async with asyncio.timeout(30):
            while (await self.call("GET", "/readyz", key=None, port=port)).status != status:
                await asyncio.sleep(0.05)


@pytest.fixture(scope="session")
async def house(
    localstack: LocalStack, postgres: str, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """Two gateway processes on one port, and what they need."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    name = f"darkroom_gateway_{secrets.token_hex(6)}"
    async with AsyncExitStack() as exits:
        server = await asyncpg.connect(postgres)
        exits.push_async_callback(server.close)
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {template.name}")
        exits.push_async_callback(server.execute, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        database = Database(
            name=name,
            owner_url=with_database(postgres, name),
            app_url=with_database(template.logins["darkroom_app"], name),
            maintenance_url=with_database(template.logins["darkroom_maintenance"], name),
        )
        behind = await exits.enter_async_context(stack(localstack, database, folder))
        presign = await behind._service(
            "presign_svc",
            free_port(),
            {
                "PRESIGN_SVC_INCOMING_BUCKET": behind.place.incoming,
                "PRESIGN_SVC_MEDIA_BUCKET": behind.place.media,
            },
        )
        # A connection of its own for each request: the kernel then spreads them over the processes.
        connector = TCPConnector(limit=0, force_close=True)
        client = await exits.enter_async_context(ClientSession(connector=connector))
        made = House(behind, presign, [], client, free_port())
        made.gateways = [await made.gateway(made.port) for _ in range(2)]
        await made.until_ready()
        yield made


@pytest.fixture
async def tenant(house: House) -> str:
    """A tenant of the test's own."""
    return await house.tenant()


@pytest.fixture
async def key(house: House, tenant: str) -> str:
    """A key of that tenant with all scopes but admin."""
    return await house.key(tenant)
