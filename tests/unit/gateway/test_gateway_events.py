"""Events of one image: what comes, when it ends, and who sees no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse
from darkroom.metadata.v1 import metadata_pb2 as pb

from tests.support.gateway_fakes import ready_image
from tests.unit.gateway.conftest import KEY, OTHER_KEY, TENANT, Gateway, Starter

ID = "01980a3e-7b1c-7c3a-9d52-3f6a1c2b4d5e"
PATH = f"/v1/images/{ID}/events"
State = pb.Image.State
SOON = 5.0  # seconds


def put(gateway: Gateway, state: pb.Image.State.ValueType) -> pb.Image:
    image = gateway.metadata.put(ready_image(TENANT, ID))
    image.state = state
    return image


@pytest.fixture
async def watched(start: Starter) -> AsyncIterator[Gateway]:
    """A gateway that looks at what is waited for, and comments every fifth of a second."""
    gateway: Gateway = await start(events_comment_seconds=0.2, key_cache_seconds=0.1)
    looking = asyncio.create_task(gateway.context.waiting.run())
    yield gateway
    looking.cancel()


@asynccontextmanager
async def stream(gateway: Gateway, **headers: str) -> AsyncIterator[ClientResponse]:
    async with gateway.client.get(PATH, headers={"x-api-key": KEY, **headers}) as response:
        yield response


async def piece(response: ClientResponse) -> dict[str, Any]:
    """The next piece's fields, the data decoded; `{}` for a comment alone."""
    async with asyncio.timeout(SOON):
        text = (await response.content.readuntil(b"\n\n")).decode()
    fields = dict(line.split(": ", 1) for line in text.splitlines() if line and not line.startswith(":"))
    return {name: json.loads(value) if name == "data" else value for name, value in fields.items()}


async def event(response: ClientResponse) -> Any:
    """The image of the next event, comments passed over."""
    while True:
        fields = await piece(response)
        if "data" in fields:
            assert fields["event"] == "image"
            return fields["data"]


async def over(response: ClientResponse) -> bytes:
    """What else comes before the stream ends."""
    async with asyncio.timeout(SOON):
        return await response.content.read()


async def test_each_state_comes_once_and_the_last_one_ends_the_stream(watched: Gateway) -> None:
    put(watched, State.AWAITING_UPLOAD)
    async with stream(watched) as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
        assert response.headers["cache-control"] == "private, no-store"
        assert await piece(response) == {"retry": "1000"}
        assert (await event(response))["state"] == "AWAITING_UPLOAD"
        watched.metadata.images[TENANT, ID].tags["album"] = "june"
        assert await piece(response) == {}, "a comment: other changes are no events"
        for state in (State.PROCESSING, State.READY):
            watched.metadata.images[TENANT, ID].state = state
            assert (await event(response))["state"] == State.Name(state)
        assert await over(response) == b""


async def test_an_image_that_is_settled_is_one_event(gateway: Gateway) -> None:
    put(gateway, State.REJECTED)
    answer = await gateway.call("GET", PATH)
    head, _, data = answer.body.decode().partition("\ndata: ")
    assert (answer.status, head) == (200, "retry: 1000\n\nevent: image")
    assert json.loads(data) == (await gateway.call("GET", f"/v1/images/{ID}")).json


async def test_a_deletion_is_the_last_event(watched: Gateway) -> None:
    put(watched, State.PROCESSING)
    async with stream(watched) as response:
        assert (await event(response))["state"] == "PROCESSING"
        watched.metadata.images[TENANT, ID].state = State.DELETED
        assert (await event(response))["state"] == "DELETED"
        assert await over(response) == b""
    assert (await watched.call("GET", PATH)).status == 410


async def test_nobody_watches_what_is_not_theirs(gateway: Gateway) -> None:
    put(gateway, State.PROCESSING)
    assert (await gateway.call("GET", PATH, key=OTHER_KEY)).status == 404
    assert (await gateway.call("GET", PATH, key=None)).status == 401


async def test_a_revoked_key_sees_no_more(watched: Gateway) -> None:
    put(watched, State.PROCESSING)
    async with stream(watched) as response:
        assert (await event(response))["state"] == "PROCESSING"
        watched.metadata.keys.clear()
        await asyncio.sleep(0.11)  # for so long a checked key is trusted here
        watched.metadata.images[TENANT, ID].state = State.READY
        assert b"READY" not in await over(response)


async def test_a_stream_does_not_live_for_ever(start: Starter) -> None:
    gateway: Gateway = await start(events_seconds=0.2, events_comment_seconds=0.15)
    put(gateway, State.PROCESSING)
    async with stream(gateway) as response:
        assert (await event(response))["state"] == "PROCESSING"
        assert await over(response) == b":\n\n" * 2


async def test_a_drain_ends_streams_at_once(start: Starter) -> None:
    gateway: Gateway = await start()
    put(gateway, State.PROCESSING)
    async with stream(gateway) as response:
        assert (await event(response))["state"] == "PROCESSING"
        gateway.context.waiting.close()
        assert (await over(response)).strip(b":\n") == b""
    assert (await gateway.call("GET", PATH)).status == 503


async def test_more_streams_than_fit_are_refused_and_tie_up_no_place_of_a_request(start: Starter) -> None:
    gateway: Gateway = await start(max_waiting=1, max_requests=1)
    put(gateway, State.PROCESSING)
    async with stream(gateway) as response:
        await event(response)
        assert gateway.context.waiting.held == 1
        refused = await gateway.call("GET", PATH)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert (await gateway.call("GET", f"/v1/images/{ID}")).status == 200
    async with asyncio.timeout(SOON):
        while gateway.context.waiting.held:  # a client that hung up is not waited for
            await asyncio.sleep(0.01)


async def test_head_is_the_head_alone_and_http_1_0_ends_with_its_connection(gateway: Gateway) -> None:
    put(gateway, State.READY)
    head = await gateway.call("HEAD", PATH, check=False)
    assert (head.status, head.headers["content-type"], head.body) == (200, "text/event-stream", b"")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {PATH} HTTP/1.0\r\nx-api-key: {KEY}\r\n\r\n".encode())
    async with asyncio.timeout(SOON):
        text = await reader.read()
    writer.close()
    assert b"transfer-encoding" not in text
    assert text.endswith(b"}\n\n")
