"""Two processes behind one channel: both work, and one that is killed or frozen is left for the other."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from darkroom.presign.v1 import presign_pb2 as pb

from runtime import grpc_client
from runtime.coalesce import Coalescer
from runtime.errors import DarkroomError, Kind
from runtime.grpc_warm import WarmMethod
from tests.bench import processes
from tests.support.localstack import LocalStack

METHOD = "darkroom.presign.v1.PresignService/BatchIssueTickets"


@dataclass
class Pair:
    """Two processes of presign_svc, and a caller that coalesces as the gateway does."""

    servers: list[processes.Server]
    call: Coalescer[pb.IssueTicketRequest, pb.IssueTicketResult]

    async def ask(self, timeout: float = 5) -> pb.Ticket:
        item = pb.IssueTicketRequest(key="incoming/t/i", content_type="image/jpeg", size=1)
        return (await self.call(item, timeout)).ticket


@pytest.fixture
async def pair(localstack: LocalStack, tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        servers = []
        for name in ("one", "two"):
            port = processes.free_port()
            environment = {
                **localstack.environment,
                "PRESIGN_SVC_INCOMING_BUCKET": "darkroom-incoming",
                "PRESIGN_SVC_MEDIA_BUCKET": "darkroom-media",
                "PRESIGN_SVC_LISTEN_PORT": str(port),
            }
            running = processes.server(name, ["presign_svc"], port, environment, tmp_path)
            servers.append(stack.enter_context(running))
        target = "ipv4:" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
        channel = await grpc_client.channel(stack, target, retried=[METHOD])
        warm = WarmMethod(channel, METHOD, pb.BatchIssueTicketsRequest, pb.BatchIssueTicketsResponse)

        async def send(items: list[pb.IssueTicketRequest], timeout: float) -> list[pb.IssueTicketResult]:
            return list((await warm(pb.BatchIssueTicketsRequest(items=items), timeout)).results)

        yield Pair(servers, Coalescer(send, max_items=256, max_in_flight=2))


async def test_both_processes_get_their_share(pair: Pair) -> None:
    before = [server.cpu() for server in pair.servers]
    async with asyncio.timeout(30):
        while min(server.cpu() - cpu for server, cpu in zip(pair.servers, before, strict=True)) < 0.05:
            await asyncio.gather(*(pair.ask() for _ in range(200)))


async def test_a_process_that_is_killed_takes_no_call_with_it(pair: Pair) -> None:
    calls = []
    for number in range(200):
        if number == 50:
            pair.servers[0].process.kill()
        calls.append(asyncio.ensure_future(pair.ask()))
        await asyncio.sleep(0.01)
    assert all(ticket.url for ticket in await asyncio.gather(*calls))


async def test_a_process_that_is_frozen_costs_some_calls_their_deadline_and_is_left(pair: Pair) -> None:
    async def timed() -> bool:
        started = time.monotonic()
        try:
            await pair.ask(timeout=1)
        except DarkroomError as error:
            assert error.kind in {Kind.DEADLINE_EXCEEDED, Kind.UNAVAILABLE}  # noqa: PT017  # right for some calls
            return False
        finally:
            assert time.monotonic() - started < 3, "no call hangs beyond its deadline"
        return True

    await asyncio.gather(*(timed() for _ in range(10)))
    frozen = pair.servers[0].process
    frozen.send_signal(signal.SIGSTOP)
    try:
        well = 0
        async with asyncio.timeout(40):  # ten seconds and what the machine adds
            while well < 100:  # in a row, a hundred calls over two seconds: longer than a stream is kept
                well = well + 1 if await timed() else 0
                await asyncio.sleep(0.02)
    finally:
        frozen.send_signal(signal.SIGCONT)
