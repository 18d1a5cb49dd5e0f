"""Warm streams: the same answers, errors and deadlines as unary calls, whatever happens to a server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from darkroom.presign.v1 import presign_pb2 as pb
from darkroom.presign.v1 import presign_pb2_grpc as rpc

from runtime import grpc_client, grpc_server, grpc_warm
from runtime.errors import DarkroomError, Kind
from runtime.grpc_warm import WarmMethod

SERVICE = "darkroom.presign.v1.PresignService"
ISSUE = f"{SERVICE}/BatchIssueTickets"


class Servicer(rpc.PresignServiceServicer):
    """Answers with its own name and the keys asked for; counts what comes, and how many streams it came by."""

    def __init__(self, name: str = "one") -> None:
        self.name = name
        self.calls = 0
        self.running = 0
        self.streams: set[int] = set()
        self.behaviour: Callable[[], Awaitable[None]] | None = None

    async def BatchIssueTickets(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        self.calls += 1
        self.streams.add(id(context))
        self.running += 1
        try:
            if self.behaviour:
                await self.behaviour()
        finally:
            self.running -= 1
        urls = [self.name, *(item.key for item in request.items)]
        return pb.BatchIssueTicketsResponse(results=[pb.IssueTicketResult(ticket=pb.Ticket(url=url)) for url in urls])

    async def BatchSignDownloads(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        return pb.BatchSignDownloadsResponse()


@asynccontextmanager
async def served(servicer: Servicer, *, port: int = 0, drain: float = 5) -> AsyncIterator[int]:
    async with grpc_server.serving(
        host="127.0.0.1",
        port=port,
        names=[SERVICE],
        add=lambda server: rpc.add_PresignServiceServicer_to_server(servicer, server),
        drain_seconds=drain,
    ) as running:
        yield running.port


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


Issue = WarmMethod[pb.BatchIssueTicketsRequest, pb.BatchIssueTicketsResponse]


async def method(stack: AsyncExitStack, *ports: int) -> Issue:
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    channel = await grpc_client.channel(stack, target, retried=[ISSUE])
    return WarmMethod(channel, ISSUE, pb.BatchIssueTicketsRequest, pb.BatchIssueTicketsResponse)


async def issue(call: Issue, key: str = "k", timeout: float = 5) -> list[str]:
    items = [pb.IssueTicketRequest(key=key)]
    answer = await call(pb.BatchIssueTicketsRequest(items=items), timeout)
    return [result.ticket.url for result in answer.results]


async def test_calls_one_after_the_other_share_a_stream(stack: AsyncExitStack) -> None:
    servicer = Servicer()
    call = await method(stack, await stack.enter_async_context(served(servicer)))
    assert [await issue(call, str(number)) for number in range(20)] == [["one", str(number)] for number in range(20)]
    assert len(servicer.streams) == 1


async def test_calls_at_once_get_their_own_answers(stack: AsyncExitStack) -> None:
    servicer = Servicer()
    call = await method(stack, await stack.enter_async_context(served(servicer)))
    for _ in range(3):
        answers = await asyncio.gather(*(issue(call, str(number)) for number in range(50)))
        assert answers == [["one", str(number)] for number in range(50)]


async def test_an_error_arrives_as_it_was_raised_and_the_next_call_is_well(stack: AsyncExitStack) -> None:
    servicer = Servicer()
    call = await method(stack, await stack.enter_async_context(served(servicer)))

    async def fails() -> None:
        raise DarkroomError(Kind.GONE, "gone", pointer="/key")

    servicer.behaviour = fails
    with pytest.raises(DarkroomError) as caught:
        await issue(call)
    assert (caught.value.kind, caught.value.pointer) == (Kind.GONE, "/key")
    assert servicer.calls == 1
    servicer.behaviour = None
    assert await issue(call) == ["one", "k"]


async def test_a_deadline_ends_the_call_and_the_work(stack: AsyncExitStack) -> None:
    servicer = Servicer()
    call = await method(stack, await stack.enter_async_context(served(servicer)))

    async def hangs() -> None:
        await asyncio.sleep(30)

    servicer.behaviour = hangs
    started = time.monotonic()
    with pytest.raises(DarkroomError) as caught:
        await issue(call, timeout=0.1)
    assert caught.value.kind is Kind.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 1
    servicer.behaviour = None
    assert await issue(call, "after") == ["one", "after"], "a late answer is never taken for the next call's"
    await asyncio.sleep(0.1)
    assert servicer.running == 0


async def test_a_caller_that_is_cancelled_leaves_no_answer_behind(stack: AsyncExitStack) -> None:
    servicer = Servicer()
    call = await method(stack, await stack.enter_async_context(served(servicer)))

    async def slowly() -> None:
        await asyncio.sleep(0.1)

    servicer.behaviour = slowly
    cancelled = asyncio.ensure_future(issue(call, "cancelled"))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    assert await issue(call, "next") == ["one", "next"]
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_what_is_unavailable_is_tried_again_as_a_call_of_its_own(stack: AsyncExitStack) -> None:
    servicer = Servicer()
    call = await method(stack, await stack.enter_async_context(served(servicer)))

    async def twice() -> None:
        if servicer.calls <= 2:
            raise DarkroomError(Kind.UNAVAILABLE, "for a moment")

    servicer.behaviour = twice
    assert await issue(call) == ["one", "k"]
    assert servicer.calls == 3


async def test_a_server_that_knows_no_streams_is_called_plainly(stack: AsyncExitStack) -> None:
    server = grpc.aio.server()
    servicer = Servicer("plain")
    rpc.add_PresignServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stack.push_async_callback(server.stop, 0)
    call = await method(stack, port)
    assert await issue(call) == ["plain", "k"]


async def test_two_servers_both_get_their_share(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_warm, "_AGE", 0.01)
    ports = [await stack.enter_async_context(served(Servicer(name))) for name in ("one", "two")]
    call = await method(stack, *ports)
    names: Counter[str] = Counter()
    for _ in range(100):
        names[(await issue(call))[0]] += 1
        await asyncio.sleep(0.005)
    assert min(names["one"], names["two"]) >= 20


async def test_a_drain_under_load_loses_no_call_and_both_servers_stay_in_use(stack: AsyncExitStack) -> None:
    leaving, staying = Servicer("leaving"), Servicer("staying")
    first = AsyncExitStack()
    ports = [await first.enter_async_context(served(leaving)), await stack.enter_async_context(served(staying))]
    call = await method(stack, *ports)
    stop = asyncio.Event()

    async def load() -> Counter[str]:
        names: Counter[str] = Counter()
        while not stop.is_set():
            names[(await issue(call))[0]] += 1
            await asyncio.sleep(0.002)
        return names

    loads = [asyncio.ensure_future(load()) for _ in range(8)]
    async with asyncio.timeout(10):
        while not (leaving.calls and staying.calls):
            await asyncio.sleep(0.05)  # the servers have no event to wait for
    await first.aclose()
    seen = leaving.calls
    await asyncio.sleep(0.1)
    stop.set()
    names = sum(await asyncio.gather(*loads), Counter())
    assert leaving.calls == seen, "nothing was called twice"
    assert names["leaving"] == leaving.calls
    assert names["staying"] == staying.calls


async def test_a_restart_of_the_only_server_is_bridged(stack: AsyncExitStack) -> None:
    first = AsyncExitStack()
    port = await first.enter_async_context(served(Servicer("before")))
    call = await method(stack, port)
    assert await issue(call) == ["before", "k"]
    await first.aclose()
    waiting = asyncio.ensure_future(issue(call, timeout=10))
    await asyncio.sleep(0.5)
    await stack.enter_async_context(served(Servicer("after"), port=port))
    assert await waiting == ["after", "k"]


async def test_streams_that_are_old_are_left(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_warm, "_AGE", 0.05)
    servicer = Servicer()
    call = await method(stack, await stack.enter_async_context(served(servicer)))
    for _ in range(3):
        await asyncio.gather(*(issue(call) for _ in range(10)))
        await asyncio.sleep(0.1)
    await issue(call)
    assert len(call._idle) == 1


async def test_a_stream_that_breaks_under_a_write_is_repeated_and_a_servers_own_failure_is_not(
    stack: AsyncExitStack,
) -> None:
    class Broken:
        """What grpc.aio raises when a server dies between the check of a stream and the write to it."""

        def done(self) -> bool:
            return False

        def cancel(self) -> None:
            """Is broken already."""

        async def write(self, request: Any) -> None:
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, none, none, details="Internal error from Core")

    async def fail() -> None:
        raise RuntimeError("a bug")

    servicer = Servicer()
    port = await stack.enter_async_context(served(servicer))
    call = await method(stack, port)
    broken: Any = Broken()
    call._idle.append((time.monotonic() + 60, broken))
    assert await issue(call) == ["one", "k"]
    assert servicer.calls == 1
    servicer.behaviour = fail
    with pytest.raises(DarkroomError) as failure:
        await issue(call)
    assert failure.value.kind is Kind.INTERNAL
    assert servicer.calls == 2
