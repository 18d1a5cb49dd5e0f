"""A worker may die, be stopped or be cancelled at any await: another one ends the work with the same result."""

import asyncio
from collections.abc import Callable

import pytest

from tests.support import virtual_clock
from tests.support.eventually import eventually
from tests.support.image_worker import HAND_BACK, LEASE, Worker, check, settle
from tests.support.image_world import World

_PHOTOS = 3


def _photos(world: World) -> None:
    for number in range(_PHOTOS):
        world.register(b"photo %d" % number)


def _undisturbed() -> tuple[int, dict[str, bytes]]:
    async def story() -> tuple[int, dict[str, bytes]]:
        world = World()
        _photos(world)
        worker = Worker(world)
        await settle(world)
        points = len(world.history)
        await worker.stop()
        check(world)
        return points, {key: body for key, (body, _) in world.variants.items()}

    return virtual_clock.run(story())


_POINTS, _RESULT = _undisturbed()


async def _reached(world: World, point: int) -> None:
    async def there() -> bool:
        return len(world.history) >= point or not world.letters

    await eventually(there, within=3600, every=0.01)


async def _struck_at(point: int, end: Callable[[Worker], None], *, drain: float = 25.0) -> World:
    """The world after the first worker met its end at this await, and a second one has done the rest."""
    world = World()
    _photos(world)
    first = Worker(world, "w1", drain=drain)

    def strike(worker: str, _point: str) -> None:
        if worker == "w1" and len(world.history) == point:
            end(first)

    world.strike = strike
    second = None
    async with asyncio.timeout(3600):
        await _reached(world, point)
        second = Worker(world, "w2")
        await settle(world)
        await second.stop()
    first.consumer.stop()
    first.task.cancel()
    await asyncio.wait([first.task], timeout=60)
    return world


def _check_same(world: World) -> None:
    check(world)
    assert {key: body for key, (body, _) in world.variants.items()} == _RESULT
    settled = [entry for entry in world.history if entry.startswith("settled")]
    assert len(settled) == len(set(settled)) == _PHOTOS
    for row, letter in zip(world.rows.values(), ("m2", "m4", "m6"), strict=True):
        assert world.history.index(f"settled {row.image_id}") < world.history.index(f"deleted {letter}")


@pytest.mark.parametrize("point", range(1, _POINTS + 1))
def test_a_worker_killed_at_any_await_leaves_the_same_keys_and_bytes(point: int) -> None:
    async def story() -> None:
        world = await _struck_at(point, lambda worker: worker.kill())
        _check_same(world)
        assert all(row.attempts <= 2 for row in world.rows.values())

    virtual_clock.run(story())


def _cancel(worker: Worker) -> None:
    worker.task.cancel()


@pytest.mark.parametrize("point", range(1, _POINTS + 1))
def test_a_worker_cancelled_at_any_await_gives_back_and_acknowledges_nothing_early(point: int) -> None:
    async def story() -> None:
        # A drain without a grace: what is not done is handed back at once.
        world = await _struck_at(point, _cancel, drain=HAND_BACK)
        _check_same(world)
        assert all(row.attempts == 1 for row in world.rows.values()), "an attempt was not handed back"
        now = asyncio.get_running_loop().time()
        assert now - 1000 < LEASE, "somebody waited for a lease to end"

    virtual_clock.run(story())


@pytest.mark.parametrize("point", range(1, _POINTS + 1))
def test_a_worker_stopped_at_any_await_finishes_what_it_has_begun(point: int) -> None:
    async def story() -> None:
        world = await _struck_at(point, lambda worker: worker.consumer.stop())
        _check_same(world)
        assert all(row.attempts == 1 for row in world.rows.values())
        assert world.history.count("develop:before") == _PHOTOS

    virtual_clock.run(story())


def test_a_worker_that_was_frozen_finds_its_attempt_stale() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        frozen = Worker(world, "w1")
        await asyncio.sleep(0.5)
        world.freeze("w1")
        second = Worker(world, "w2")
        await settle(world)
        world.thaw("w1")
        await asyncio.sleep(LEASE)
        await frozen.stop()
        await second.stop()
        check(world)
        assert world.history.count(f"settled {row.image_id}") == 1

    virtual_clock.run(story())
