"""Relay, sweeper and readiness, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from metadata_svc.health import DatabaseWatch
from metadata_svc.ports import Outgoing
from metadata_svc.prune import Pruner
from metadata_svc.relay import Relay
from metadata_svc.sweeper import Sweeper
from runtime.errors import DarkroomError, Kind


def message(kind: str = "image.ready", attempts: int = 1) -> Outgoing:
    return Outgoing(uuid4(), kind, uuid4(), uuid4(), "{}", "", datetime.now(UTC), attempts)


class Outbox:
    def __init__(self, *rounds: Sequence[Outgoing] | DarkroomError) -> None:
        self.rounds = list(rounds)
        self.sent: list[UUID] = []
        self.failed: list[tuple[UUID, float]] = []
        self.claims = 0

    async def claim(self) -> Sequence[Outgoing]:
        self.claims += 1
        following = self.rounds.pop(0) if self.rounds else ()
        if isinstance(following, DarkroomError):
            raise following
        return following

    async def settle(self, sent: Sequence[UUID], failed: Sequence[tuple[UUID, float]]) -> bool:
        self.sent += sent
        self.failed += failed
        return bool(self.rounds)


class Publisher:
    def __init__(self, *refused: Outgoing) -> None:
        self.refused = {message.id for message in refused}

    async def publish(self, messages: Sequence[Outgoing]) -> set[UUID]:
        return {message.id for message in messages} - self.refused


async def some_turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def relay(outbox: Outbox, publisher: Publisher, interval: float = 3600) -> Relay:
    return Relay(outbox, publisher, interval=interval, first_retry=1, longest_retry=60)


async def test_the_relay_goes_on_while_there_is_something_to_send() -> None:
    outbox = Outbox([message()], [message(), message()])
    task = asyncio.create_task(relay(outbox, Publisher()).run())
    await some_turns()
    assert (len(outbox.sent), outbox.claims) == (3, 2), "no look for what is known not to be there"
    await ended(task)


async def test_the_relay_waits_longer_each_time_for_what_is_refused_and_does_not_spin() -> None:
    refused = [message(attempts=count) for count in (1, 2, 5, 40)]
    taken = message()
    outbox = Outbox([*refused, taken])
    assert await relay(outbox, Publisher(*refused)).round() == 1
    assert [wait for _, wait in outbox.failed] == [1, 2, 16, 60]
    assert outbox.sent == [taken.id]
    outbox = Outbox([refused[0]])
    task = asyncio.create_task(relay(outbox, Publisher(*refused)).run())
    await some_turns()
    assert outbox.claims == 1
    await ended(task)


async def test_the_relay_outlives_a_database_that_is_away() -> None:
    outbox = Outbox(DarkroomError(Kind.UNAVAILABLE, "away"), [message()])
    running = relay(outbox, Publisher())
    task = asyncio.create_task(running.run())
    await some_turns()
    assert outbox.sent == []
    running.wake()
    await some_turns()
    assert len(outbox.sent) == 1
    await ended(task)


async def test_a_wake_during_a_round_is_not_lost() -> None:
    outbox = Outbox()
    running = relay(outbox, Publisher())
    task = asyncio.create_task(running.run())
    await some_turns()
    assert outbox.claims == 1
    running.wake()
    running.wake()
    await some_turns()
    assert outbox.claims == 2
    await ended(task)


class Sweep:
    def __init__(self, due: int = 0, *, broken: int = 0) -> None:
        self.due = due
        self.broken = broken
        self.calls: list[str] = []

    async def images(self) -> int:
        self.calls.append("images")
        if self.broken:
            self.broken -= 1
            raise DarkroomError(Kind.UNAVAILABLE, "away")
        taken = min(self.due, 10)
        self.due -= taken
        return taken

    async def leases(self) -> int:
        self.calls.append("leases")
        return 0

    async def usage(self) -> int:
        self.calls.append("usage")
        return 0


async def test_the_sweeper_takes_full_batches_one_after_the_other_and_wakes_the_relay() -> None:
    sweep, woken = Sweep(due=25), asyncio.Event()
    await Sweeper(sweep, interval=1, fold_interval=1, batch=10, wake=woken.set).sweep()
    assert sweep.calls == ["images"] * 3 + ["leases"]
    assert woken.is_set()


async def test_an_idle_sweeper_wakes_nobody() -> None:
    woken = asyncio.Event()
    await Sweeper(Sweep(), interval=1, fold_interval=1, batch=10, wake=woken.set).sweep()
    assert not woken.is_set()


async def test_the_sweeper_outlives_a_database_that_is_away() -> None:
    sweep = Sweep(broken=2)
    sweeper = Sweeper(sweep, interval=0, fold_interval=3600, batch=10, wake=lambda: None)
    task = asyncio.create_task(sweeper.run())
    await some_turns()
    assert sweep.calls.count("images") > 2
    assert sweep.calls.count("usage") == 1
    await ended(task)


class Watched:
    """A database that answers or not, a clock, and what was said of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answers = True
        self.said: list[bool] = []
        self.watch = DatabaseWatch(self.ping, self.set_ready, interval=1, unready_after=3, clock=lambda: self.now)

    async def ping(self, _timeout: float) -> None:
        if not self.answers:
            raise DarkroomError(Kind.UNAVAILABLE, "away")

    async def set_ready(self, ready: bool) -> None:
        self.said.append(ready)

    async def play(self, signs: str) -> list[bool]:
        for sign in signs:
            self.now += 1
            self.answers = sign == "+"
            await self.watch.look()
        return self.said


async def test_a_short_silence_is_not_said() -> None:
    assert await Watched().play("++--++--+") == []


async def test_a_longer_silence_is_said_once() -> None:
    assert await Watched().play("+-----") == [False]


async def test_readiness_comes_back_with_two_signs_in_a_row() -> None:
    assert await Watched().play("+----+-+-+") == [False]
    assert await Watched().play("+----+-++++") == [False, True]


class Pile:
    """Rows whose time is over; a statement deletes at most ten."""

    def __init__(self, *, tombstones: int = 0, requests: int = 0) -> None:
        self.left = {"tombstones": tombstones, "requests": requests}
        self.statements = 0

    async def tombstones(self) -> int:
        return self.take("tombstones")

    async def requests(self) -> int:
        return self.take("requests")

    def take(self, name: str) -> int:
        self.statements += 1
        taken = min(self.left[name], 10)
        self.left[name] -= taken
        return taken


async def test_pruning_goes_on_batch_by_batch_until_nothing_is_due() -> None:
    pile = Pile(tombstones=25, requests=20)
    pruner = Pruner(pile, batch=10, pause=0, longest=60)
    assert await pruner.run()
    assert pruner.counts == {"tombstones": 25, "requests": 20}
    assert pile.statements == 6
    assert await pruner.run()
    assert pruner.counts == {"tombstones": 25, "requests": 20}


async def test_pruning_that_does_not_end_in_time_says_so() -> None:
    pile = Pile(tombstones=1_000_000)
    pruner = Pruner(pile, batch=10, pause=0.001, longest=0.05)
    assert not await pruner.run()
    assert 0 < pruner.counts["tombstones"] < 1_000_000
    assert pile.left["tombstones"] + pruner.counts["tombstones"] == 1_000_000
