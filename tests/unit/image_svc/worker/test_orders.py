"""The commands of metadata_svc, executed once or again and again."""

import json

import pytest

from image_svc.ports import Unreachable
from tests.support import virtual_clock
from tests.support.image_worker import Worker, settle
from tests.support.image_world import World, event


def test_an_upload_whose_event_was_lost_is_found_and_processed() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.letters.clear()
        world.order(row, "check_upload")
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "READY"

    virtual_clock.run(story())


def test_an_upload_that_never_came_expires() -> None:
    async def story() -> None:
        world = World()
        row = world.register(upload=False)
        world.order(row, "check_upload")
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "EXPIRED"
        assert row.attempts == 0

    virtual_clock.run(story())


def test_bytes_that_come_after_the_image_expired_are_removed() -> None:
    async def story() -> None:
        world = World()
        row = world.register(upload=False)
        world.order(row, "check_upload")
        worker = Worker(world)
        await settle(world)
        world.originals[row.key] = b"late"
        world.post(event(row.key))
        await settle(world)
        await worker.stop()
        assert not world.originals

    virtual_clock.run(story())


def test_a_process_order_is_as_good_as_an_event() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.letters.clear()
        world.order(row, "process")
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "READY"

    virtual_clock.run(story())


@pytest.mark.parametrize("times", [1, 3])
def test_an_original_is_removed_before_that_is_recorded(times: int) -> None:
    async def story() -> None:
        world = World()
        row = world.register(state="READY")
        world.letters.clear()
        for _ in range(times):
            world.order(row, "remove_original")
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.original_removed
        assert not world.originals

    virtual_clock.run(story())


@pytest.mark.parametrize("times", [1, 3])
def test_a_purge_leaves_nothing_of_the_image_and_everything_of_others(times: int) -> None:
    async def story() -> None:
        world = World()
        row, other = world.register(b"one"), world.register(b"two")
        worker = Worker(world)
        await settle(world)
        row.state = "DELETED"
        for _ in range(times):
            world.order(row, "purge")
        await settle(world)
        await worker.stop()
        assert row.purged
        assert list(world.originals) == [other.key]
        assert not world.variants_of(row)
        assert len(world.variants_of(other)) == 4

    virtual_clock.run(story())


@pytest.mark.parametrize("call", ["remove_original", "remove_variants", "record_purge"])
def test_an_order_outlives_an_outage(call: str) -> None:
    async def story() -> None:
        world = World()
        row = world.register(state="DELETED")
        world.letters.clear()
        letter = world.order(row, "purge")
        world.faults[call] = [Unreachable("away")] * 10
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.purged
        assert letter.receives == 1

    virtual_clock.run(story())


def test_an_order_that_fails_comes_back_later_and_later() -> None:
    async def story() -> None:
        world = World()
        row = world.register(state="DELETED")
        world.letters.clear()
        letter = world.order(row, "purge")
        world.faults["remove_original"] = [RuntimeError("AccessDenied")] * 4
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.purged
        waits = letter.hidden_for
        assert len(waits) == 4
        assert all(2**number <= wait <= 2 ** (number + 1) for number, wait in enumerate(waits))

    virtual_clock.run(story())


def test_one_bad_record_does_not_keep_the_others_of_its_message_from_being_done() -> None:
    async def story() -> None:
        world = World()
        rows = [world.register(b"one"), world.register(b"two"), world.register(b"three")]
        world.letters.clear()
        records = [json.loads(event(row.key))["Records"][0] for row in rows]
        letter = world.post(json.dumps({"Records": records}))
        world.faults["begin"] = [RuntimeError("a bug of metadata_svc")]
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert [row.state for row in rows] == ["READY"] * 3
        assert letter.receives == 2
        assert world.history.count("develop:before") == 3

    virtual_clock.run(story())
