"""What becomes of a message, path by path."""

import asyncio

import pytest

from image_svc.domain.model import Problem
from image_svc.pipeline.types import Reason, Rejected
from image_svc.ports import ObjectMissing, Unreachable
from image_svc.sandbox import Killed, SandboxError, TimedOut
from tests.support import virtual_clock
from tests.support.image_worker import DRAIN, HAND_BACK, LEASE, PATIENCE, UNREADABLE, Worker, check, settle
from tests.support.image_world import World, event


def test_an_uploaded_photo_becomes_ready_and_its_message_goes_last() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        check(world)
        assert row.state == "READY"
        order = [point for point in world.history if point.endswith(":after") and not point.startswith("receive")]
        assert order == [
            "begin:after",
            "get:after",
            "develop:after",
            *["put:after"] * 4,
            "finish:after",
            "delete:after",
        ]

    virtual_clock.run(story())


def test_duplicate_events_give_one_result() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        for _ in range(4):
            world.post(event(row.key))
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        check(world)
        assert world.history.count(f"settled {row.image_id}") == 1
        assert world.history.count("develop:before") == 1

    virtual_clock.run(story())


@pytest.mark.parametrize("reason", list(Reason))
def test_a_verdict_of_the_sandbox_is_recorded_with_the_contracts_reason(reason: Reason) -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults["develop"] = [Rejected(reason, "it is odd")]
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "REJECTED"
        assert isinstance(row.problem, Problem)
        assert row.problem.type == reason.value
        assert row.problem.title
        assert row.problem.detail.startswith("It is odd. ")
        assert not world.variants

    virtual_clock.run(story())


@pytest.mark.parametrize(
    ("announced", "size", "reason"),
    [(b"photo", 4, "too_large"), (b"photo", 6, "content_mismatch"), (b"other", 5, "content_mismatch")],
)
def test_bytes_that_were_not_announced_are_refused_without_being_developed(
    announced: bytes, size: int, reason: str
) -> None:
    async def story() -> None:
        world = World()
        row = world.register(announced, size=size)
        world.originals[row.key] = b"photo"
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "REJECTED"
        assert row.problem is not None
        assert row.problem.type == reason
        assert "develop:before" not in world.history

    virtual_clock.run(story())


@pytest.mark.parametrize("cause", [TimedOut("wall"), Killed("from outside")])
def test_what_was_timed_out_or_killed_runs_once_more_alone(cause: Exception) -> None:
    async def story() -> None:
        world = World()
        first = world.register(b"first")
        others = [world.register(b"other %d" % number) for number in range(6)]
        world.faults["develop"] = [cause]
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        check(world)
        assert first.attempts == 1
        assert all(row.state == "READY" for row in others)
        # Calls of develop, each with how many ran then: the retry is the one that ran alone in the middle.
        assert len(world.overlaps) == 8
        assert 1 in world.overlaps[2:-1]

    virtual_clock.run(story())


@pytest.mark.parametrize("first", [TimedOut("internals"), Killed("internals")])
@pytest.mark.parametrize("second", [TimedOut("internals"), Killed("internals")])
def test_what_is_timed_out_or_killed_alone_too_is_failed_at_once(first: Exception, second: Exception) -> None:
    async def story() -> None:
        world = World()
        row = world.register(b"hopeless")
        others = [world.register(b"other %d" % number) for number in range(6)]
        world.poison[b"hopeless"] = [first, second]
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "FAILED"
        assert (row.attempts, row.attempt) == (1, 1)
        assert row.problem is not None
        assert row.problem.type == "processing_failed"
        assert "internals" not in row.problem.detail
        assert [(other.state, other.attempts) for other in others] == [("READY", 1)] * 6
        assert world.history.count("develop:before") == 2 + len(others)
        assert world.history.count("fail:after") == 1

    virtual_clock.run(story())


def test_a_helper_that_dies_during_the_lonely_retry_leaves_further_attempts() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults["develop"] = [Killed("by the kernel"), SandboxError("the helper has died")]
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert (row.state, row.attempts) == ("READY", 2)

    virtual_clock.run(story())


@pytest.mark.parametrize(
    ("where", "cause"),
    [
        ("develop", SandboxError("internals")),
        ("develop", ValueError("internals")),
        ("get", ObjectMissing("internals")),
        ("put", RuntimeError("internals")),
    ],
)
def test_failures_of_ours_use_up_five_attempts_and_end_failed(where: str, cause: Exception) -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults[where] = [cause] * 20
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "FAILED"
        assert row.attempts == 5
        assert row.problem is not None
        assert row.problem.type == "processing_failed"
        assert "internals" not in row.problem.detail

    virtual_clock.run(story())


def test_a_retry_waits_as_long_as_metadata_says() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        letter = next(iter(world.letters.values()))
        world.faults["develop"] = [SandboxError("helper")]
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "READY"
        assert letter.hidden_for == [2.0]

    virtual_clock.run(story())


def test_a_running_attempt_of_another_worker_is_left_alone_until_its_lease_ends() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        row.state, row.attempt, row.attempts, row.leased_until = "PROCESSING", 1, 1, 1000 + 17.0
        letter = next(iter(world.letters.values()))
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert letter.hidden_for[0] == pytest.approx(17, abs=0.1)
        assert row.state == "READY"
        assert row.attempt == 2

    virtual_clock.run(story())


@pytest.mark.parametrize("state", ["DELETED", "EXPIRED"])
def test_an_object_of_a_dead_image_is_removed_with_its_message(state: str) -> None:
    async def story() -> None:
        world = World()
        row = world.register(state=state)
        world.variants[f"{row.prefix}late.webp"] = (b"late", "image/webp")
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert not world.originals
        assert bool(world.variants) == (state == "EXPIRED")

    virtual_clock.run(story())


def test_an_image_that_is_settled_keeps_its_object() -> None:
    async def story() -> None:
        world = World()
        row = world.register(state="READY")
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.key in world.originals

    virtual_clock.run(story())


def test_a_deletion_during_the_job_leaves_no_variant_behind() -> None:
    async def story() -> None:
        world = World()
        row = world.register()

        def strike(worker: str, point: str) -> None:
            if point == "finish:before":
                row.state = "DELETED"

        world.strike = strike
        worker = Worker(world)
        await asyncio.sleep(LEASE / 2)
        assert not world.variants  # long before its message comes back
        await settle(world)
        await worker.stop()
        assert row.state == "DELETED"
        assert not world.variants
        assert not world.originals

    virtual_clock.run(story())


def test_the_heartbeat_keeps_a_long_job_in_hand() -> None:
    async def story() -> None:
        world = World()
        world.develop_seconds = 5 * LEASE
        row = world.register()
        letter = next(iter(world.letters.values()))
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert letter.receives == 1
        assert row.attempts == 1
        assert world.history.count("renew:after") == world.history.count("keep:after") == 14

    virtual_clock.run(story())


def test_a_stale_attempt_is_dropped_and_its_message_left_to_the_owner() -> None:
    async def story() -> None:
        world = World()
        world.develop_seconds = 50
        row = world.register()
        letter = next(iter(world.letters.values()))
        worker = Worker(world)
        await asyncio.sleep(5)
        row.attempt += 1  # another worker's now
        await asyncio.sleep(6)  # one heartbeat
        assert worker.consumer.in_hand == 0
        assert world.developing == 0
        assert letter.id in world.letters
        row.leased_until = 0
        await settle(world)
        await worker.stop()
        assert row.state == "READY"

    virtual_clock.run(story())


def test_an_outage_of_metadata_costs_no_attempt_and_no_receive() -> None:
    async def story() -> None:
        world = World()
        rows = [world.register(b"photo %d" % number) for number in range(6)]
        away: list[BaseException] = [Unreachable("metadata_svc")] * 400
        back_at = asyncio.get_running_loop().time() + 60

        def strike(worker: str, point: str) -> None:
            world.faults["begin"] = away if asyncio.get_running_loop().time() < back_at else []

        world.strike = strike
        letters = list(world.letters.values())
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        check(world)
        assert [row.attempts for row in rows] == [1] * 6
        assert [letter.receives for letter in letters] == [1] * 6
        tries = world.history.count("begin:before")
        assert tries < 6 + 4 * 30, f"{tries} tries in a minute are a hot loop"

    virtual_clock.run(story())


def test_a_finished_job_outlives_an_outage_of_metadata() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults["finish"] = [Unreachable("metadata_svc")] * 15
        world.faults["renew"] = [Unreachable("metadata_svc")] * 6
        worker = Worker(world)
        took = await settle(world)
        await worker.stop()
        assert took > LEASE
        assert row.state == "READY"
        assert world.history.count("develop:before") == 1

    virtual_clock.run(story())


@pytest.mark.parametrize("where", ["get", "put"])
def test_a_short_outage_of_s3_costs_no_attempt(where: str) -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults[where] = [Unreachable("S3")] * 12
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        check(world)
        assert row.attempts == 1

    virtual_clock.run(story())


def test_a_long_outage_of_metadata_gives_the_message_back() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults["begin"] = [Unreachable("metadata_svc")] * 60
        letter = next(iter(world.letters.values()))
        worker = Worker(world)
        took = await settle(world)
        await worker.stop()
        assert took > PATIENCE
        assert row.attempts == 1
        assert 1 < letter.receives < 5

    virtual_clock.run(story())


def test_an_outage_of_the_queue_is_waited_out_without_a_hot_loop() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults["receive"] = [Unreachable("SQS")] * 20
        worker = Worker(world)
        took = await settle(world)
        await worker.stop()
        assert took > 100
        assert row.state == "READY"

    virtual_clock.run(story())


def test_a_receive_that_never_answers_is_given_up_before_the_consumer_counts_as_hung() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.delays["receive"] = [10_000.0] * 3
        worker = Worker(world)
        silence = 0.0
        while world.letters:
            await asyncio.sleep(0.5)
            silence = max(silence, worker.consumer.silence)
        await worker.stop()
        assert row.state == "READY"
        assert silence < 60

    virtual_clock.run(story())


def test_a_drain_deletes_what_is_done_and_does_not_wait_for_a_queue_that_is_silent() -> None:
    async def story() -> None:
        world = World()
        rows = [world.register(b"photo %d" % number) for number in range(3)]
        worker = Worker(world, slots=3)
        await asyncio.sleep(1.5)  # one is deleted, the others wait for their second
        assert all(row.state == "READY" for row in rows)
        assert await worker.stop() < 1.1  # what the last receive is granted
        assert not world.letters
        row = world.register()
        world.delays["delete"] = [60]
        worker = Worker(world)
        await asyncio.sleep(2)
        assert row.state == "READY"
        assert await worker.stop() < 2 * HAND_BACK
        world.delays.clear()
        second = Worker(world, "w2")
        await settle(world)
        await second.stop()
        assert row.attempts == 1
        check(world)

    virtual_clock.run(story())


def test_a_delete_that_fails_costs_a_look_and_no_second_result() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults["delete"] = [Unreachable("SQS")]
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert world.history.count(f"settled {row.image_id}") == 1
        assert world.history.count("develop:before") == 1

    virtual_clock.run(story())


@pytest.mark.parametrize(
    "body", ["no json", '{"schema": "darkroom.process/2"}', '{"Records": [{"eventVersion": "3.0"}]}']
)
def test_a_message_that_cannot_be_read_stays_in_the_queue(body: str) -> None:
    async def story() -> None:
        world = World()
        letter = world.post(body)
        worker = Worker(world)
        await asyncio.sleep(10)
        await worker.stop()
        assert letter.id in world.letters
        assert letter.hidden_for == [UNREADABLE]

    virtual_clock.run(story())


def test_no_more_messages_are_in_hand_than_can_be_started_soon() -> None:
    async def story() -> None:
        world = World()
        for number in range(30):
            world.register(b"photo %d" % number)
        worker = Worker(world, slots=2, prefetch=2)
        most = 0

        def strike(name: str, point: str) -> None:
            nonlocal most
            most = max(most, worker.consumer.in_hand)

        world.strike = strike
        took = await settle(world)
        await worker.stop()
        check(world)
        assert most == 4
        assert world.most_developing == 2
        # Two at a time, a second each: transfers beside developing cost nearly nothing.
        assert took < 30 / 2 * world.develop_seconds * 1.15

    virtual_clock.run(story())


def test_a_drain_finishes_what_has_begun_and_gives_the_rest_back_at_once() -> None:
    async def story() -> None:
        world = World()
        world.develop_seconds = 10
        rows = [world.register(b"photo %d" % number) for number in range(8)]
        worker = Worker(world)
        await asyncio.sleep(5)
        took = await worker.stop()
        assert took < DRAIN
        assert [row.state for row in rows].count("READY") == 4
        assert all(row.attempts == 0 for row in rows if row.state != "READY")
        assert all(letter.visible_at <= asyncio.get_running_loop().time() for letter in world.letters.values())
        world.develop_seconds = 1
        second = Worker(world, "w2")
        assert await settle(world) < 10
        await second.stop()
        check(world)

    virtual_clock.run(story())


def test_a_drain_hands_back_within_two_seconds_what_will_not_be_finished() -> None:
    async def story() -> None:
        world = World()
        world.develop_seconds = 1000
        rows = [world.register(b"photo %d" % number) for number in range(4)]
        worker = Worker(world)
        await asyncio.sleep(5)
        took = await worker.stop()
        assert took <= DRAIN
        assert all(row.attempts == 0 and row.leased_until == 0 for row in rows)
        now = asyncio.get_running_loop().time()
        assert all(letter.visible_at <= now for letter in world.letters.values())

    virtual_clock.run(story())


def test_a_heartbeat_under_way_does_not_take_back_what_is_given_back() -> None:
    async def story() -> None:
        world = World()
        world.register()
        letter = next(iter(world.letters.values()))
        world.faults["begin"] = [Unreachable("metadata_svc")] * 100
        world.delays["keep"] = [3.0]  # the first heartbeat's
        worker = Worker(world)
        await asyncio.sleep(11)
        await worker.stop()
        await asyncio.sleep(5)
        assert letter.hidden_for == [LEASE, 0]

    virtual_clock.run(story())


def test_a_verdict_on_its_way_is_recorded_and_acknowledged_even_if_cancelled() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.delays["finish"] = [2.0]  # longer than the receive under way is waited for

        def strike(name: str, point: str) -> None:
            if point == "finish:before":
                worker.task.cancel()

        world.strike = strike
        worker = Worker(world, drain=HAND_BACK)
        await asyncio.wait([worker.task])
        assert row.state == "READY"
        assert not world.letters
        assert "hand_back:before" not in world.history

    virtual_clock.run(story())


def test_an_idle_worker_stops_at_once() -> None:
    async def story() -> None:
        world = World()
        worker = Worker(world)
        await asyncio.sleep(7)
        assert await worker.stop() <= 1.1  # the grace of the receive under way

    virtual_clock.run(story())


def test_a_cancellation_does_not_cut_a_drain_that_has_begun() -> None:
    async def story() -> None:
        world = World()
        world.develop_seconds = 1000
        rows = [world.register(b"photo %d" % number) for number in range(4)]
        worker = Worker(world)
        await asyncio.sleep(5)
        worker.consumer.stop()
        await asyncio.sleep(1)
        worker.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker.task
        assert all(row.attempts == 0 and row.leased_until == 0 for row in rows)
        now = asyncio.get_running_loop().time()
        assert all(letter.visible_at <= now for letter in world.letters.values())

    virtual_clock.run(story())


def test_an_intake_that_dies_drains_before_it_takes_the_process_down() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        worker = Worker(world)
        await asyncio.sleep(0.5)
        world.faults["receive"] = [RuntimeError("a bug")]
        world.post(event("incoming/other"))
        with pytest.raises(RuntimeError, match="a bug"):
            await worker.task
        assert row.state == "READY"

    virtual_clock.run(story())


def test_cancellation_drains_and_is_raised_again() -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        worker = Worker(world)
        await asyncio.sleep(0.5)
        worker.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker.task
        assert row.state == "READY"
        assert not world.letters

    virtual_clock.run(story())
