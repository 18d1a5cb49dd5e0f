"""The gateway's application on a real socket, with the services behind it in memory."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, TCPConnector

from gateway import routes
from gateway.access_log import AccessLog
from gateway.auth import Authenticator
from gateway.context import Context
from gateway.images import Images, SignedUrls
from gateway.limits import Admission, RequestRates
from gateway.presets import parse_names
from gateway.readiness import Readiness
from gateway.server import serving
from gateway.settings import Settings
from gateway.waiting import WaitingRoom
from runtime.watched import Watched
from tests.support import openapi
from tests.support.gateway_fakes import SCOPES, FakeHealth, FakeMetadata, FakePresign, FakeRendering, api_key

TENANT = "0190b6a0-0000-7000-8000-000000000001"
OTHER = "0190b6a0-0000-7000-8000-000000000002"
KEY, OTHER_KEY = api_key(1), api_key(2)
ROUTER = routes.router()
QUICK: dict[str, Any] = {"wait_poll_seconds": 0.02, "unready_seconds": 0, "drain_seconds": 2}
TARGETS: dict[str, Any] = {"presign_target": "unused", "metadata_target": "unused", "image_target": "unused"}
PRESETS = '[{"name":"thumb"},{"name":"small"}]'


@dataclass
class Answer:
    """What came back, already held to the document."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Gateway:
    """A running gateway and what is behind it."""

    def __init__(
        self, client: ClientSession, port: int, context: Context, metadata: FakeMetadata, presign: FakePresign
    ) -> None:
        self.client = client
        self.port = port
        self.log: list[bytes] = []
        self.context = context
        self.metadata = metadata
        self.presign = presign
        self.rendering = FakeRendering(metadata)

    async def call(
        self, method: str, path: str, *, key: str | None = KEY, check: bool = True, **options: Any
    ) -> Answer:
        headers = {**({} if key is None else {"x-api-key": key}), **options.pop("headers", {})}
        async with self.client.request(method, path, headers=headers, allow_redirects=False, **options) as response:
            answer = Answer(response.status, response.headers, await response.read())
        if check:
            openapi.check(method, response.url.path, answer.status, answer.headers, answer.body)
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.headers["x-content-type-options"] == "nosniff"
        return answer


Starter = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Starts gateways with settings of one's own."""
    stack = AsyncExitStack()

    async def started(**settings: Any) -> Gateway:
        chosen = Settings(presets=PRESETS, **TARGETS | QUICK | settings)
        metadata, presign = FakeMetadata(), FakePresign()
        rendering = FakeRendering(metadata)
        metadata.add_key(KEY, TENANT, *SCOPES)
        metadata.add_key(OTHER_KEY, OTHER, *SCOPES)
        readiness = Readiness({"metadata_svc": FakeHealth(), "presign_svc": FakeHealth()}, seconds=1)
        await readiness.check()
        context = Context(
            settings=chosen,
            metadata=metadata,
            presign=presign,
            rendering=rendering,
            authenticator=Authenticator(
                metadata,
                good=chosen.key_cache_seconds,
                bad=chosen.bad_key_cache_seconds,
                entries=chosen.key_cache_entries,
                clock=time.monotonic,
            ),
            admission=Admission(chosen.max_requests, retry_after=chosen.retry_after_seconds),
            rates=RequestRates(metadata, least=chosen.lease_requests, entries=10, clock=time.time),
            images=Images(SignedUrls(presign, entries=100, clock=time.time)),
            waiting=WaitingRoom(metadata, pause=chosen.wait_poll_seconds, most=chosen.max_waiting),
            readiness=readiness,
            presets=Watched("presets", chosen.presets, parse_names),
        )
        log: list[bytes] = []
        port = await stack.enter_async_context(serving(context, ROUTER, AccessLog(log.append)))
        session = ClientSession(f"http://127.0.0.1:{port}", connector=TCPConnector(limit=0))
        client = await stack.enter_async_context(session)
        running = Gateway(client, port, context, metadata, presign)
        running.rendering = rendering
        running.log = log
        return running

    async with stack:
        yield started


@pytest.fixture
async def gateway(start: Starter) -> Gateway:
    """A gateway with the usual settings."""
    started: Gateway = await start()
    return started
