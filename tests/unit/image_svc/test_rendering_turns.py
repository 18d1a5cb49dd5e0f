"""Whose turn it is: bounded, and fair between tenants."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from image_svc.render.turns import QueueFull, Turns
from tests.support import virtual_clock


async def hold(turns: Turns, tenant: str, order: list[str], seconds: float = 1.0) -> None:
    async with turns.one(tenant):
        order.append(tenant)
        await asyncio.sleep(seconds)


def test_a_tenant_with_many_does_not_keep_another_waiting() -> None:
    async def story() -> None:
        turns, order = Turns(1, waiting=100, waiting_of_one=50), []  # type: Turns, list[str]
        many = [asyncio.create_task(hold(turns, "many", order)) for _ in range(20)]
        await asyncio.sleep(0.1)
        few = [asyncio.create_task(hold(turns, name, order)) for name in ("a", "b", "a")]
        await asyncio.gather(*many, *few)
        assert order[:8] == ["many", "many", "a", "b", "many", "a", "many", "many"]
        assert Counter(order) == {"many": 20, "a": 2, "b": 1}
        assert turns.waiting == 0

    virtual_clock.run(story())


def test_the_queue_is_bounded_in_all_and_for_each_tenant() -> None:
    async def story() -> None:
        turns = Turns(1, waiting=3, waiting_of_one=2)
        order: list[str] = []
        running = [asyncio.create_task(hold(turns, "a", order)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as own:
            await hold(turns, "a", order)
        assert own.value.own
        running.append(asyncio.create_task(hold(turns, "b", order)))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as full:
            await hold(turns, "c", order)
        assert not full.value.own
        await asyncio.gather(*running)
        assert len(order) == 4
        await hold(turns, "c", order)

    virtual_clock.run(story())


def test_who_stops_waiting_leaves_no_trace_whenever_it_does() -> None:
    async def story() -> None:
        turns = Turns(2, waiting=10, waiting_of_one=10)
        order: list[str] = []
        tasks = [asyncio.create_task(hold(turns, f"t{n % 3}", order)) for n in range(8)]
        await asyncio.sleep(0.5)
        for task in tasks[3:6]:
            task.cancel()
        # In the very moment in which its turn comes: the slot is handed on.
        asyncio.get_running_loop().call_later(0.5, tasks[2].cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert turns.waiting == 0
        both = [asyncio.create_task(hold(turns, "x", order)) for _ in range(2)]
        async with asyncio.timeout(1.5):
            await asyncio.gather(*both)

    virtual_clock.run(story())
