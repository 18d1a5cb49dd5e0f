"""The watcher of the dead-letter queue."""

import asyncio
import time

from image_svc.ports import Unreachable
from image_svc.worker.dead_letters import DeadLetterLimits, DeadLetters
from tests.support import virtual_clock
from tests.support.image_world import INCOMING, FakeMetadata, FakeQueue, World

_LIMITS = DeadLetterLimits(interval=60, hidden=20, batches=10)


def _watcher(world: World) -> DeadLetters:
    return DeadLetters(FakeQueue(world), FakeMetadata(world), _LIMITS, bucket=INCOMING)


def test_an_image_whose_message_ended_there_is_failed_and_the_message_stays() -> None:
    async def story() -> None:
        world = World()
        rows = [world.register(b"photo %d" % number, state="PROCESSING") for number in range(25)]
        await _watcher(world).look()
        assert {row.state for row in rows} == {"FAILED"}
        assert rows[0].problem is not None
        assert rows[0].problem.type == "processing_failed"
        assert len(world.letters) == 25

    virtual_clock.run(story())


def test_what_is_settled_meanwhile_stays_as_it_is() -> None:
    async def story() -> None:
        world = World()
        row = world.register(state="READY")
        await _watcher(world).look()
        assert row.state == "READY"

    virtual_clock.run(story())


def test_a_letter_from_before_the_image_was_to_be_processed_anew_fails_it_for_no_new_worker() -> None:
    async def story() -> None:
        world = World()
        row = world.register(state="PROCESSING")
        await asyncio.sleep(100)
        await _watcher(world).look()
        assert row.state == "FAILED"
        row.state, row.ordered_at = "PROCESSING", time.monotonic()  # its owner asked for it
        await asyncio.sleep(1)
        await _watcher(world).look()  # a worker that started just now
        assert row.state == "PROCESSING"
        world.order(row, "process")  # and this one, too, came to nothing
        await asyncio.sleep(100)
        await _watcher(world).look()
        assert row.state == "FAILED"

    virtual_clock.run(story())


def test_each_message_is_handled_once_and_visible_most_of_the_time() -> None:
    async def story() -> None:
        world = World()
        world.register(state="PROCESSING")
        world.post("not readable")
        world.order(world.register(upload=False, state="DELETED"), "purge")
        watcher = asyncio.create_task(_watcher(world).run())
        await asyncio.sleep(3600)
        watcher.cancel()
        await asyncio.wait([watcher])
        assert world.history.count("abandon:before") == 1
        looks = world.history.count("receive:after")
        assert 60 <= looks <= 120
        hidden = looks * _LIMITS.hidden
        assert hidden < 3600 * 0.6

    virtual_clock.run(story())


def test_an_outage_ends_neither_the_watcher_nor_a_message() -> None:
    async def story() -> None:
        world = World()
        row = world.register(state="PROCESSING")
        world.faults["receive"] = [Unreachable("SQS"), RuntimeError("a bug")]
        world.faults["abandon"] = [Unreachable("metadata_svc"), RuntimeError("a bug")]
        watcher = asyncio.create_task(_watcher(world).run())
        await asyncio.sleep(600)
        watcher.cancel()
        await asyncio.wait([watcher])
        assert row.state == "FAILED"

    virtual_clock.run(story())
