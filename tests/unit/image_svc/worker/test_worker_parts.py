"""Slots, acknowledgements, the watchdog, and seeing a call through."""

import asyncio
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest

from image_svc.pipeline.types import Reason, Rejected
from image_svc.ports import Unreachable
from image_svc.worker.acks import Acks
from image_svc.worker.patience import patiently, seen_through
from image_svc.worker.slots import Slots
from image_svc.worker.source import Source, Sources
from image_svc.worker.watchdog import watchdog
from tests.support import virtual_clock
from tests.support.image_world import FakeQueue, World, event


def test_slots_are_never_overcommitted_and_who_is_alone_is_alone() -> None:
    async def story() -> None:
        slots = Slots(3)
        running = [0, 0]  # one by one, alone
        most = 0
        chance = random.Random(7)

        async def job(alone: bool) -> None:
            nonlocal most
            await asyncio.sleep(chance.random() * 20)
            async with slots.all() if alone else slots.one():
                running[alone] += 1
                most = max(most, running[0])
                assert running[0] <= 3
                assert running[1] == 0 or running == [0, 1]
                await asyncio.sleep(chance.random())
                running[alone] -= 1

        tasks = [asyncio.create_task(job(number % 10 == 0)) for number in range(200)]
        for task in tasks[::7]:
            asyncio.get_running_loop().call_later(chance.random() * 25, task.cancel)
        done, _ = await asyncio.wait(tasks)
        assert all(task.cancelled() or task.exception() is None for task in done if not task.cancelled())
        assert most == 3
        async with asyncio.timeout(1):  # none was lost
            async with slots.all():
                pass

    virtual_clock.run(story())


def test_who_wants_to_be_alone_is_not_overtaken() -> None:
    async def story() -> None:
        slots, order = Slots(2), []

        async def job(name: str, alone: bool) -> None:
            async with slots.all() if alone else slots.one():
                order.append(name)
                await asyncio.sleep(1)

        tasks = [asyncio.create_task(job(name, name == "alone")) for name in ("a", "b", "alone", "c", "d")]
        await asyncio.wait(tasks)
        assert order == ["a", "b", "alone", "c", "d"]

    virtual_clock.run(story())


def test_a_slot_that_comes_with_a_cancellation_is_not_lost() -> None:
    async def story() -> None:
        slots = Slots(1)
        entered = []

        async def waiting() -> None:
            async with slots.one():
                entered.append(True)

        async with slots.one():
            waiter = asyncio.create_task(waiting())
            await asyncio.sleep(1)
        waiter.cancel()  # its turn has come, and it does not know yet
        await asyncio.wait([waiter])
        assert not entered
        async with asyncio.timeout(1), slots.all():
            pass

    virtual_clock.run(story())


class _Forbidden:
    def __init__(self, size: int) -> None:
        self.size = size

    async def chunks(self) -> AsyncIterator[bytes]:
        for _ in range(1):
            raise AssertionError("it was read")
        yield b""


@pytest.mark.parametrize(("size", "reason"), [(11, Reason.TOO_LARGE), (9, Reason.CONTENT_MISMATCH)])
async def test_an_original_of_another_size_is_refused_before_it_is_read(size: int, reason: Reason) -> None:
    with Sources().one() as source, pytest.raises(Rejected) as caught:
        await source.fill(_Forbidden(size), size=10, sha256=b"")
    assert caught.value.reason is reason


class _Growing:
    size = 10

    async def chunks(self) -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"xxxx"


async def test_no_more_is_taken_in_than_was_announced() -> None:
    with Sources().one() as source:
        with pytest.raises(Rejected) as caught:
            await source.fill(_Growing(), size=10, sha256=b"")
        assert os.fstat(source.fd).st_size <= 10
    assert caught.value.reason is Reason.TOO_LARGE


async def test_a_second_try_starts_afresh() -> None:
    class Original:
        def __init__(self, content: bytes) -> None:
            self.size = 10
            self._content = content

        async def chunks(self) -> AsyncIterator[bytes]:
            yield self._content

    with Sources().one() as source:
        await source.fill(Original(b"longer: 10"), size=10, sha256=b"")
        await source.fill(Original(b"0123456789"), size=10, sha256=hashlib.sha256(b"0123456789").digest())
        assert os.pread(source.fd, 100, 0) == b"0123456789"


def _filled(source: Source, content: bytes) -> None:
    class Original:
        size = len(content)

        async def chunks(self) -> AsyncIterator[bytes]:
            yield content

    asyncio.run(source.fill(Original(), size=len(content), sha256=b""))


@pytest.mark.parametrize("lengths", [(9000, 5), (5, 9000), (5000, 5000)])
def test_the_memory_of_an_original_serves_the_next_one_and_shows_nothing_of_the_first(lengths: tuple[int, int]) -> None:
    sources = Sources()
    with sources.one() as source:
        _filled(source, b"a" * lengths[0])
        used = source.fd
    with sources.one() as source:
        assert source.fd == used
        _filled(source, b"b" * lengths[1])
        assert os.pread(source.fd, 10_000, 0) == b"b" * lengths[1]
        os.ftruncate(source.fd, 10_000)  # nor behind its end
        assert os.pread(source.fd, 10_000, lengths[1]) == bytes(10_000 - lengths[1])


def test_what_arrives_cut_short_is_not_completed_by_what_was_there_before() -> None:
    class Cut:
        size = 9

        async def chunks(self) -> AsyncIterator[bytes]:
            yield b"bbb"

    sources = Sources()
    with sources.one() as source:
        _filled(source, b"aaaaaaaaa")
    with sources.one() as source:
        asyncio.run(source.fill(Cut(), size=9, sha256=b""))
        assert os.pread(source.fd, 100, 0) == b"bbb"


def test_two_originals_at_a_time_have_a_memory_each() -> None:
    sources = Sources()
    with sources.one() as first, sources.one() as second:
        assert os.fstat(first.fd).st_ino != os.fstat(second.fd).st_ino


def test_an_original_that_is_large_or_ended_badly_leaves_no_memory() -> None:
    sources = Sources()
    with sources.one() as source:
        os.ftruncate(source.fd, 16 * 2**20 + 1)
        large = os.fstat(source.fd).st_ino
    with suppress(RuntimeError), sources.one() as source:
        failed = os.fstat(source.fd).st_ino
        raise RuntimeError("badly")
    with sources.one() as source:
        assert os.fstat(source.fd).st_ino not in {large, failed}


class _CountingQueue(FakeQueue):
    batches: list[int]

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        self.batches.append(len(receipts))
        left = await super().delete(receipts)
        return [*left, receipts[0]] if len(receipts) == 3 else left


def test_messages_that_end_together_are_deleted_together() -> None:
    async def story() -> None:
        world = World()
        letters = [world.post(event(f"incoming/{number}")) for number in range(24)]
        queue = _CountingQueue(world)
        queue.batches = []
        acks = Acks(queue)

        async def ended(*numbers: int) -> None:
            for number in numbers:
                acks.add(f"{letters[number].id}/1")
            await asyncio.sleep(0.1)

        await ended(0)
        assert queue.batches == [1], "a lone one waits for nobody"
        await ended(1, 2)
        await ended(3, 4)
        assert queue.batches == [1]
        await asyncio.sleep(1)
        assert queue.batches == [1, 4]
        await ended(*range(5, 16))
        assert queue.batches == [1, 4, 10], "what fills a batch does not wait"
        await ended(16)
        await asyncio.sleep(2)
        assert queue.batches == [1, 4, 10, 2]
        await ended(17, *range(18, 24))
        await acks.flush()
        assert sum(queue.batches) == 24
        assert not world.letters

    virtual_clock.run(story())


def test_a_flush_waits_for_what_is_on_its_way_and_for_no_timer() -> None:
    async def story() -> None:
        world = World()
        letters = [world.post(event(f"incoming/{number}")) for number in range(24)]
        acks = Acks(FakeQueue(world))
        await acks.flush()
        for letter in letters:
            acks.add(f"{letter.id}/1")
        started = asyncio.get_running_loop().time()
        await acks.flush()
        assert not world.letters
        assert asyncio.get_running_loop().time() - started < 0.5

    virtual_clock.run(story())


def test_a_delete_that_fails_does_not_end_the_next_ones() -> None:
    async def story() -> None:
        world = World()
        letters = [world.post(event(f"incoming/{number}")) for number in range(3)]
        queue = _CountingQueue(world)
        queue.batches = []
        acks = Acks(queue)
        world.faults["delete"] = [RuntimeError("a bug"), Unreachable("SQS")]
        for letter in letters:
            acks.add(f"{letter.id}/1")
            await acks.flush()
        assert list(world.letters) == [letter.id for letter in letters[:2]]
        assert queue.batches == [1, 1, 1]

    virtual_clock.run(story())


def test_patience_ends() -> None:
    async def story() -> None:
        tries = 0

        async def call() -> None:
            nonlocal tries
            tries += 1
            raise Unreachable("away")

        started = time.monotonic()
        with pytest.raises(Unreachable):
            await patiently(call, 60)
        assert 50 < time.monotonic() - started < 70
        assert 10 < tries < 40

    virtual_clock.run(story())


def test_a_call_that_is_seen_through_keeps_its_result_against_a_cancellation() -> None:
    async def story() -> None:
        async def call(fail: bool) -> str:
            await asyncio.sleep(1)
            if fail:
                raise ValueError
            return "result"

        kept = asyncio.create_task(seen_through(call(False)))
        failed = asyncio.create_task(seen_through(call(True)))
        await asyncio.sleep(0.5)
        kept.cancel()
        failed.cancel()
        await asyncio.wait([kept, failed])
        assert kept.result() == "result"
        assert failed.cancelled()

    virtual_clock.run(story())


async def test_the_watchdog_notices_a_stuck_event_loop() -> None:
    found: list[str] = []
    async with watchdog(lambda: 0.0, hung=0.2, die=found.append):
        await asyncio.sleep(0.3)
        assert found == []
        time.sleep(0.6)  # noqa: ASYNC251 - the very thing
    assert found == ["event loop"]


async def test_the_watchdog_notices_a_stuck_consumer() -> None:
    found: list[str] = []
    async with watchdog(lambda: 1.0, hung=0.2, die=found.append):
        await asyncio.sleep(0.1)
    assert found
    assert set(found) == {"consumer"}


def test_a_consumer_that_waits_gives_signs_of_life() -> None:
    from tests.support.image_worker import Worker

    async def story() -> None:
        world = World()
        world.develop_seconds = 300
        for number in range(4):
            world.register(b"photo %d" % number)
        worker = Worker(world)
        for _ in range(100):
            await asyncio.sleep(7)
            assert worker.consumer.silence < 25
        await worker.stop()
        assert worker.consumer.silence == 0

    virtual_clock.run(story())
