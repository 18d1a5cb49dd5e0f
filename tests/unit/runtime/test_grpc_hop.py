"""Server and client together: errors, health, drain, balancing, retries, dead and frozen servers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from darkroom.presign.v1 import presign_pb2 as pb
from darkroom.presign.v1 import presign_pb2_grpc as rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runtime import grpc_client, grpc_server, trace
from runtime.errors import DarkroomError, Kind

SERVICE = "darkroom.presign.v1.PresignService"
ISSUE = f"{SERVICE}/BatchIssueTickets"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Behaviour = Callable[[], Awaitable[None]]


class Servicer(rpc.PresignServiceServicer):
    """Answers with its own name, after it did what the test gave it to do."""

    def __init__(self, name: str = "one", behaviour: Behaviour | None = None) -> None:
        self.name = name
        self.behaviour = behaviour
        self.calls = 0
        self.trace = ""

    async def BatchIssueTickets(self, request: Any, context: Any) -> pb.BatchIssueTicketsResponse:  # noqa: N802  # gRPC's name
        self.calls += 1
        self.trace = trace.current.get()
        if self.behaviour:
            await self.behaviour()
        return pb.BatchIssueTicketsResponse(results=[pb.IssueTicketResult(ticket=pb.Ticket(url=self.name))])

    async def BatchSignDownloads(self, request: Any, context: Any) -> pb.BatchSignDownloadsResponse:  # noqa: N802  # gRPC's name
        self.calls += 1
        if self.behaviour:
            await self.behaviour()
        return pb.BatchSignDownloadsResponse()


@asynccontextmanager
async def served(servicer: Servicer, *, port: int = 0, drain: float = 5) -> AsyncIterator[grpc_server.GrpcServer]:
    async with grpc_server.serving(
        host="127.0.0.1",
        port=port,
        names=[SERVICE],
        add=lambda server: rpc.add_PresignServiceServicer_to_server(servicer, server),
        drain_seconds=drain,
    ) as running:
        yield running


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def stub_of(stack: AsyncExitStack, *ports: int, retried: tuple[str, ...] = ()) -> Any:
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    return rpc.PresignServiceStub(await grpc_client.channel(stack, target, retried=retried))


async def issue(stub: Any, timeout: float = 5) -> str:
    answer = await grpc_client.call(stub.BatchIssueTickets, pb.BatchIssueTicketsRequest(), timeout)
    return str(answer.results[0].ticket.url)


async def seen(stub: Any, name: str) -> None:
    """Calls until this server answers."""
    for _ in range(500):
        if await issue(stub) == name:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} never answered")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def failing(error: Exception) -> Behaviour:
    async def behaviour() -> None:
        raise error

    return behaviour


async def test_an_error_arrives_as_it_was_raised(stack: AsyncExitStack) -> None:
    error = DarkroomError(Kind.QUOTA_EXCEEDED, "kein Platz für 日本", pointer="/size", retry_after=3.5)
    running = await stack.enter_async_context(served(Servicer(behaviour=failing(error))))
    with pytest.raises(DarkroomError) as caught:
        await issue(await stub_of(stack, running.port))
    got = caught.value
    assert (got.kind, got.detail, got.pointer, got.retry_after) == (error.kind, error.detail, "/size", 3.5)


async def test_a_bug_in_a_servicer_tells_nothing_of_itself(stack: AsyncExitStack) -> None:
    running = await stack.enter_async_context(served(Servicer(behaviour=failing(ValueError("SELECT secret")))))
    with pytest.raises(DarkroomError) as caught:
        await issue(await stub_of(stack, running.port))
    assert caught.value.kind is Kind.INTERNAL
    assert "secret" not in str(caught.value)


async def test_the_callers_trace_goes_on_at_the_server(stack: AsyncExitStack) -> None:
    servicer = Servicer()
    running = await stack.enter_async_context(served(servicer))
    stub = await stub_of(stack, running.port)
    token = trace.current.set(TRACEPARENT)
    try:
        await issue(stub)
    finally:
        trace.current.reset(token)
    assert trace.trace_id(servicer.trace) == trace.trace_id(TRACEPARENT)
    await issue(stub)
    assert servicer.trace == "", "a call without one does not inherit that of the call before"


async def test_a_call_ends_at_its_deadline(stack: AsyncExitStack) -> None:
    async def sleeping() -> None:
        await asyncio.sleep(5)

    running = await stack.enter_async_context(served(Servicer(behaviour=sleeping), drain=0.1))
    started = time.monotonic()
    with pytest.raises(DarkroomError) as caught:
        await issue(await stub_of(stack, running.port), timeout=0.1)
    assert caught.value.kind is Kind.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 2


async def health(stub: Any, name: str) -> int:
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status)


async def test_health_follows_readiness(stack: AsyncExitStack) -> None:
    running = await stack.enter_async_context(served(Servicer()))
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{running.port}"))
    stub = health_pb2_grpc.HealthStub(channel)
    for ready, status in ((True, 1), (False, 2), (True, 1)):
        await running.set_ready(ready)
        assert [await health(stub, name) for name in ("", SERVICE)] == [status, status]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health(stub, "unknown.Service")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_port_that_is_taken_is_an_error(stack: AsyncExitStack) -> None:
    running = await stack.enter_async_context(served(Servicer()))
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{running.port}"):
        await stack.enter_async_context(served(Servicer(), port=running.port))


async def test_both_of_two_servers_get_calls(stack: AsyncExitStack) -> None:
    ports = [(await stack.enter_async_context(served(Servicer(name)))).port for name in ("one", "two")]
    stub = await stub_of(stack, *ports)
    await asyncio.gather(*(issue(stub) for _ in range(20)))
    names = Counter([await issue(stub) for _ in range(40)])
    assert names["one"] == names["two"] == 20


async def test_dead_addresses_in_the_block_are_skipped(stack: AsyncExitStack) -> None:
    running = await stack.enter_async_context(served(Servicer("alive")))
    stub = await stub_of(stack, free_port(), running.port, free_port(), free_port())
    assert [await issue(stub) for _ in range(20)] == ["alive"] * 20


async def test_a_server_that_comes_later_is_found_without_a_new_channel(stack: AsyncExitStack) -> None:
    first = await stack.enter_async_context(served(Servicer("one")))
    port = free_port()
    stub = await stub_of(stack, first.port, port)
    assert await issue(stub) == "one"
    await stack.enter_async_context(served(Servicer("two"), port=port))
    await seen(stub, "two")


async def test_a_server_that_is_not_ready_gets_no_calls(stack: AsyncExitStack) -> None:
    servicers = [Servicer("one"), Servicer("two")]
    one, two = [await stack.enter_async_context(served(servicer)) for servicer in servicers]
    stub = await stub_of(stack, one.port, two.port)
    await seen(stub, "one")
    await seen(stub, "two")
    await one.set_ready(False)
    await asyncio.sleep(0.1)
    assert {await issue(stub) for _ in range(20)} == {"two"}
    await one.set_ready(True)
    await seen(stub, "one")


async def test_a_drain_lets_running_calls_end_and_loses_none_that_come(stack: AsyncExitStack) -> None:
    release = asyncio.Event()

    async def held() -> None:
        await release.wait()

    slow, leaving = Servicer("slow"), AsyncExitStack()
    ports = [(await leaving.enter_async_context(served(slow))).port]
    ports.append((await stack.enter_async_context(served(Servicer("other")))).port)
    stub = await stub_of(stack, *ports)
    await seen(stub, "slow")
    await seen(stub, "other")
    slow.behaviour, slow.calls = held, 0
    calls = [asyncio.ensure_future(issue(stub)) for _ in range(20)]
    await asyncio.sleep(0.1)
    assert slow.calls == 10
    closing = asyncio.ensure_future(leaving.aclose())
    for _ in range(30):  # while it drains, calls keep coming: none is lost, and soon none goes there
        calls.append(asyncio.ensure_future(issue(stub)))
        await asyncio.sleep(0.01)
    taken = slow.calls
    assert await issue(stub) == "other"
    assert not closing.done()
    release.set()
    names = Counter(await asyncio.gather(*calls))
    await closing
    assert names["slow"] == taken == slow.calls
    assert sum(names.values()) == 50


async def test_a_drain_does_not_wait_for_those_who_only_watch(stack: AsyncExitStack) -> None:
    leaving = AsyncExitStack()
    running = await leaving.enter_async_context(served(Servicer(), drain=30))
    assert await issue(await stub_of(stack, running.port)) == "one"  # its channel watches the health service
    started = time.monotonic()
    await leaving.aclose()
    assert time.monotonic() - started < 1.5


async def test_a_drain_has_an_end(stack: AsyncExitStack) -> None:
    async def forever() -> None:
        await asyncio.sleep(60)

    leaving = AsyncExitStack()
    running = await leaving.enter_async_context(served(Servicer(behaviour=forever), drain=0.2))
    call = asyncio.ensure_future(issue(await stub_of(stack, running.port)))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await leaving.aclose()
    assert time.monotonic() - started < 2
    with pytest.raises(DarkroomError) as caught:
        await call
    assert caught.value.kind is Kind.UNAVAILABLE


async def test_only_listed_methods_are_retried_and_only_when_unavailable(stack: AsyncExitStack) -> None:
    servicer = Servicer()
    running = await stack.enter_async_context(served(servicer))
    stub = await stub_of(stack, running.port, retried=(ISSUE,))

    servicer.behaviour = failing(DarkroomError(Kind.UNAVAILABLE, "for a moment"))
    with pytest.raises(DarkroomError):
        await grpc_client.call(stub.BatchSignDownloads, pb.BatchSignDownloadsRequest(), 5)
    assert servicer.calls == 1, "a method that is not listed is called once"

    for kind in set(Kind) - {Kind.UNAVAILABLE}:
        servicer.calls = 0
        servicer.behaviour = failing(DarkroomError(kind, "no"))
        with pytest.raises(DarkroomError):
            await issue(stub)
        assert servicer.calls == 1, f"{kind} is no reason to retry"

    servicer.calls = 0

    async def twice() -> None:
        if servicer.calls < 3:
            raise DarkroomError(Kind.UNAVAILABLE, "for a moment")

    servicer.behaviour = twice
    assert await issue(stub) == "one"
    assert servicer.calls == 3


async def test_retries_stay_within_the_deadline(stack: AsyncExitStack) -> None:
    stub = await stub_of(stack, free_port(), retried=(ISSUE,))
    started = time.monotonic()
    with pytest.raises(DarkroomError) as caught:
        await issue(stub, timeout=0.3)
    assert caught.value.kind in {Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED}
    assert time.monotonic() - started < 1.5


async def test_a_restart_of_the_only_server_is_bridged_by_retries(stack: AsyncExitStack) -> None:
    port = free_port()
    first = AsyncExitStack()
    await first.enter_async_context(served(Servicer("before"), port=port))
    stub = await stub_of(stack, port, retried=(ISSUE,))
    assert await issue(stub) == "before"
    await first.aclose()
    call = asyncio.ensure_future(issue(stub, timeout=10))
    await asyncio.sleep(1)
    await stack.enter_async_context(served(Servicer("after"), port=port))
    assert await call == "after"


async def test_a_frozen_server_does_not_hang_a_call(stack: AsyncExitStack) -> None:
    """A process that is stopped keeps its port and accepts connections: nothing ever answers."""
    frozen = socket.create_server(("127.0.0.1", 0))
    stack.callback(frozen.close)
    alive = await stack.enter_async_context(served(Servicer("alive")))
    stub = await stub_of(stack, frozen.getsockname()[1], alive.port)
    assert {await issue(stub, timeout=1) for _ in range(10)} == {"alive"}

    alone = await stub_of(stack, frozen.getsockname()[1])
    started = time.monotonic()
    with pytest.raises(DarkroomError):
        await issue(alone, timeout=0.2)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("target", ["127.0.0.1:{}", "dns:///localhost:{}", "ipv4:127.0.0.1:{}"])
async def test_every_form_of_a_target_works(stack: AsyncExitStack, target: str) -> None:
    running = await stack.enter_async_context(served(Servicer()))
    stub = rpc.PresignServiceStub(await grpc_client.channel(stack, target.format(running.port)))
    assert await issue(stub) == "one"


async def test_behind_a_proxy_one_draining_server_does_not_speak_for_all(stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(served(Servicer("one")))
    watching = rpc.PresignServiceStub(await grpc_client.channel(stack, f"127.0.0.1:{server.port}"))
    proxied = rpc.PresignServiceStub(await grpc_client.channel(stack, f"proxy:127.0.0.1:{server.port}"))
    assert await issue(watching) == await issue(proxied) == "one"
    await server.set_ready(False)
    await asyncio.sleep(0.1)
    assert await issue(proxied) == "one"
    with pytest.raises(DarkroomError) as refused:
        await issue(watching)
    assert refused.value.kind is Kind.UNAVAILABLE
