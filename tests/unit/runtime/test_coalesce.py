"""The coalescer: few batches, and every caller alone with its deadline, its cancellation and its error."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any, TypeAlias

import pytest
from darkroom.presign.v1 import presign_pb2 as pb
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import coalesce
from runtime.coalesce import Coalescer
from runtime.errors import DarkroomError, Kind

Item: TypeAlias = pb.IssueTicketRequest
Result: TypeAlias = pb.IssueTicketResult


def ask(key: str) -> pb.IssueTicketRequest:
    return pb.IssueTicketRequest(key=key)


def answer(item: pb.IssueTicketRequest) -> pb.IssueTicketResult:
    return pb.IssueTicketResult(item_id=item.item_id, ticket=pb.Ticket(url=item.key))


class Server:
    """A service behind. It answers when it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.patience: list[float] = []
        self.under_way = 0
        self.most_under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def send(self, items: list[pb.IssueTicketRequest], patience: float) -> Iterable[pb.IssueTicketResult]:
        self.batches.append([item.key for item in items])
        self.patience.append(patience)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
            if self.failure:
                raise self.failure
            return [answer(item) for item in items]
        finally:
            self.under_way -= 1


def coalescer(server: Server, *, max_items: int = 1000, max_in_flight: int = 1) -> Coalescer[Item, Result]:
    return Coalescer(server.send, max_items=max_items, max_in_flight=max_in_flight)


async def test_a_lone_call_leaves_at_once() -> None:
    server = Server()
    assert (await coalescer(server)(ask("a"), 1)).ticket.url == "a"
    assert server.batches == [["a"]]


async def test_calls_of_one_turn_go_out_together() -> None:
    server = Server()
    call = coalescer(server)
    results = await asyncio.gather(*(call(ask(str(number)), 1) for number in range(100)))
    assert [result.ticket.url for result in results] == [str(number) for number in range(100)]
    assert len(server.batches) == 1


async def test_what_comes_while_a_batch_is_under_way_is_the_next_batch() -> None:
    server = Server()
    server.gate.clear()
    call = coalescer(server)
    first = asyncio.ensure_future(call(ask("first"), 1))
    await asyncio.sleep(0.01)
    rest = [asyncio.ensure_future(call(ask(str(number)), 1)) for number in range(5)]
    await asyncio.sleep(0.01)
    assert server.batches == [["first"]]
    server.gate.set()
    await asyncio.gather(first, *rest)
    assert server.batches == [["first"], ["0", "1", "2", "3", "4"]]


async def test_a_batch_has_a_bound_and_so_have_the_batches_under_way() -> None:
    server = Server()
    call = coalescer(server, max_items=10, max_in_flight=3)
    await asyncio.gather(*(call(ask(str(number)), 1) for number in range(95)))
    assert [len(batch) for batch in server.batches] == [10] * 9 + [5]
    assert server.most_under_way == 3


async def test_an_error_of_one_item_is_its_callers_alone() -> None:
    async def send(items: list[Item], patience: float) -> list[Result]:
        error = DarkroomError(Kind.GONE, "gone", pointer="/key", retry_after=2.5).to_status()
        return [
            pb.IssueTicketResult(item_id=item.item_id, error=error) if item.key == "bad" else answer(item)
            for item in items
        ]

    call: Coalescer[Item, Result] = Coalescer(send, max_items=10, max_in_flight=1)
    good, bad, also = await asyncio.gather(*(call(ask(k), 1) for k in ("a", "bad", "b")), return_exceptions=True)
    assert not isinstance(good, BaseException)
    assert not isinstance(also, BaseException)
    assert isinstance(bad, DarkroomError)
    assert (bad.kind, bad.pointer, bad.retry_after) == (Kind.GONE, "/key", 2.5)


async def test_results_are_matched_by_id_not_by_order() -> None:
    async def send(items: list[Item], patience: float) -> list[Result]:
        results = [answer(item) for item in items]
        random.Random(7).shuffle(results)
        return results

    call: Coalescer[Item, Result] = Coalescer(send, max_items=100, max_in_flight=1)
    results = await asyncio.gather(*(call(ask(str(number)), 1) for number in range(50)))
    assert [result.ticket.url for result in results] == [str(number) for number in range(50)]


async def test_a_result_that_is_missing_doubled_or_unknown_harms_nobody_else() -> None:
    async def send(items: list[Item], patience: float) -> list[Result]:
        kept = [answer(item) for item in items if item.key != "lost"]
        return [*kept, *kept, pb.IssueTicketResult(item_id=10**9)]

    call: Coalescer[Item, Result] = Coalescer(send, max_items=100, max_in_flight=1)
    good, lost = await asyncio.gather(call(ask("a"), 1), call(ask("lost"), 1), return_exceptions=True)
    assert not isinstance(good, BaseException)
    assert isinstance(lost, DarkroomError)
    assert lost.kind is Kind.INTERNAL


async def test_a_failed_batch_fails_each_caller_with_an_error_of_its_own_and_the_next_one_is_well() -> None:
    server = Server()
    server.failure = DarkroomError(Kind.UNAVAILABLE, "down", retry_after=1.0)
    call = coalescer(server)
    errors = await asyncio.gather(*(call(ask(str(number)), 1) for number in range(3)), return_exceptions=True)
    assert [error.kind for error in errors if isinstance(error, DarkroomError)] == [Kind.UNAVAILABLE] * 3
    assert len({id(error) for error in errors}) == 3
    server.failure = None
    assert (await call(ask("a"), 1)).ticket.url == "a"


async def test_a_bug_in_sending_reaches_the_callers_and_not_the_next_batch() -> None:
    server = Server()
    server.failure = ZeroDivisionError("bug")
    call = coalescer(server)
    with pytest.raises(ZeroDivisionError):
        await call(ask("a"), 1)
    server.failure = None
    assert (await call(ask("b"), 1)).ticket.url == "b"


async def test_each_caller_has_a_deadline_of_its_own() -> None:
    server = Server()
    server.gate.clear()
    call = coalescer(server)
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def timed(seconds: float) -> float:
        with pytest.raises(DarkroomError) as caught:
            await call(ask(str(seconds)), seconds)
        assert caught.value.kind is Kind.DEADLINE_EXCEEDED
        return loop.time() - started

    waits = [0.15, 0.05, 0.1, 0.05]
    took = await asyncio.gather(*(timed(seconds) for seconds in waits))
    assert all(seconds - 0.002 <= spent < seconds + 0.2 for seconds, spent in zip(waits, took, strict=True))
    assert took[1] < took[2] < took[0]


async def test_the_batch_gets_the_patience_of_its_most_patient_caller() -> None:
    server = Server()
    call = coalescer(server)
    await asyncio.gather(*(call(ask(str(seconds)), seconds) for seconds in (0.5, 3.0, 1.0)))
    assert 2.9 < server.patience[0] <= 3.0


async def test_a_caller_that_gives_up_while_queueing_is_not_sent() -> None:
    server = Server()
    server.gate.clear()
    call = coalescer(server)
    first = asyncio.ensure_future(call(ask("first"), 1))
    await asyncio.sleep(0.01)
    cancelled = asyncio.ensure_future(call(ask("cancelled"), 1))
    late = asyncio.ensure_future(call(ask("late"), 0.02))
    stays = asyncio.ensure_future(call(ask("stays"), 1))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(DarkroomError):
        await late
    server.gate.set()
    assert (await stays).ticket.url == "stays"
    assert (await first).ticket.url == "first"
    assert server.batches == [["first"], ["stays"]]


async def test_a_caller_that_is_cancelled_takes_nobody_with_it() -> None:
    server = Server()
    server.gate.clear()
    call = coalescer(server)
    calls = [asyncio.ensure_future(call(ask(str(number)), 1)) for number in range(3)]
    await asyncio.sleep(0.01)
    calls[1].cancel()
    server.gate.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Result, asyncio.CancelledError, Result]


async def test_nothing_is_kept_of_a_call_that_is_over() -> None:
    server = Server()
    call = coalescer(server, max_items=3)
    calls = [asyncio.ensure_future(call(ask(str(number)), 1)) for number in range(10)]
    await asyncio.sleep(0)
    calls[0].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(0)
    assert (call._waiting, call._queue, call._tasks, call._in_flight) == ({}, [], set(), 0)


async def test_a_batch_that_hangs_holds_the_others_back_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "_SLOW_AFTER", 0.02)
    hang = asyncio.Event()

    async def send(items: list[Item], patience: float) -> list[Result]:
        if items[0].key == "hangs":
            await hang.wait()
        return [answer(item) for item in items]

    call: Coalescer[Item, Result] = Coalescer(send, max_items=10, max_in_flight=1)
    stuck = asyncio.ensure_future(call(ask("hangs"), 5))
    await asyncio.sleep(0.005)
    assert (await call(ask("behind"), 1)).ticket.url == "behind"
    assert (await call(ask("after"), 1)).ticket.url == "after"
    hang.set()
    assert (await stuck).ticket.url == "hangs"
    assert (call._in_flight, call._slow) == (0, 0)


async def test_batches_that_hang_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "_SLOW_AFTER", 0.001)
    server = Server()
    server.gate.clear()
    call = coalescer(server, max_items=1)
    calls = [asyncio.ensure_future(call(ask(str(number)), 5)) for number in range(50)]
    await asyncio.sleep(0.2)
    assert server.most_under_way == coalesce._MAX_SLOW + 1
    server.gate.set()
    await asyncio.gather(*calls)
    assert (call._in_flight, call._slow) == (0, 0)


class World:
    """A service behind that does to every item what the plan says, in an order and time of its own."""

    def __init__(self, plan: dict[str, str], max_items: int, max_in_flight: int, seed: int) -> None:
        self.plan, self.max_items, self.max_in_flight = plan, max_items, max_in_flight
        self.random = random.Random(seed)
        self.under_way = 0
        self.seen: list[str] = []

    async def send(self, items: list[Item], patience: float) -> list[Result]:
        assert 1 <= len(items) <= self.max_items
        self.under_way += 1
        assert self.under_way <= self.max_in_flight
        try:
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)
            self.seen += [item.key for item in items]
            results = []
            for item in items:
                fate = self.plan[item.key]
                if fate == "explode":
                    raise DarkroomError(Kind.UNAVAILABLE, "the batch exploded")
                if fate == "error":
                    status = status_pb2.Status(code=13)
                    results.append(pb.IssueTicketResult(item_id=item.item_id, error=status))
                elif fate != "lose":
                    results.append(answer(item))
            self.random.shuffle(results)
            return results
        finally:
            self.under_way -= 1


@settings(max_examples=100, deadline=None)
@given(
    fates=st.lists(st.sampled_from(["answer", "answer", "answer", "error", "lose", "explode", "cancel"]), max_size=40),
    max_items=st.integers(1, 12),
    max_in_flight=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_every_caller_gets_its_own_outcome_once(
    fates: list[str], max_items: int, max_in_flight: int, seed: int
) -> None:
    async def scenario() -> None:
        plan = {f"{number}": fate for number, fate in enumerate(fates)}
        world = World(plan, max_items, max_in_flight, seed)
        call: Coalescer[Item, Result] = Coalescer(world.send, max_items=max_items, max_in_flight=max_in_flight)
        calls: dict[str, asyncio.Future[Any]] = {}
        for key in plan:
            calls[key] = asyncio.ensure_future(call(ask(key), 5))
            if world.random.random() < 0.5:
                await asyncio.sleep(0)
        for key, fate in plan.items():
            if fate == "cancel":
                calls[key].cancel()
        outcomes = dict(zip(calls, await asyncio.gather(*calls.values(), return_exceptions=True), strict=True))
        for key, outcome in outcomes.items():
            if isinstance(outcome, Result):
                assert outcome.ticket.url == key
                assert plan[key] in {"answer", "cancel"}
            elif isinstance(outcome, DarkroomError):
                assert outcome.kind is Kind.UNAVAILABLE or plan[key] in {"error", "lose"}
            else:
                assert isinstance(outcome, asyncio.CancelledError)
                assert plan[key] == "cancel"
        assert len(world.seen) == len(set(world.seen)), "nothing is sent twice"
        while call._tasks:  # a batch of callers that have all gone may still be under way
            await asyncio.gather(*call._tasks)
        assert (call._waiting, call._queue, call._in_flight) == ({}, [], 0)

    asyncio.run(scenario())
