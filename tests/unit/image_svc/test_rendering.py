"""Rendering on demand and processing anew, on a world in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from darkroom.image.v1 import image_pb2

from image_svc.domain.model import Ready, StoredVariant
from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Reason, Rejected
from image_svc.ports import StaleAttempt, Unreachable
from image_svc.presets import Presets, PresetsUncertain
from image_svc.render.renderer import NotMade, Renderer, UnknownPreset
from image_svc.sandbox import Killed, SandboxError, TimedOut
from image_svc.service import ImageService
from runtime.errors import DarkroomError, Kind
from runtime.watched import Stored, Watched
from tests.support import virtual_clock
from tests.support.image_worker import Worker, renderer, settle
from tests.support.image_world import PRESETS, TENANT, FakeMetadata, FakeQueue, FakeStore, Row, World

ZOOM = Preset(name="zoom", width=9, height=9, format="webp", eager=False)
BOTH = Presets.fixed((*PRESETS, ZOOM))


async def ready(world: World, content: bytes = b"photo", **row: Any) -> Row:
    """An image that went all the way."""
    worker = Worker(world, "maker", presets=BOTH)
    made = world.register(content, **row)
    await settle(world)
    await worker.stop()
    assert made.state == "READY"
    world.history.clear()
    return made


async def anew(world: World, row: Row, presets: Presets) -> Worker:
    """Orders the row's processing again and has it done."""
    row.state, row.attempts, row.leased_until = "PROCESSING", 0, 0
    world.order(row, "process")
    worker = Worker(world, "again", presets=presets)
    await settle(world)
    await worker.stop()
    return worker


def variants_of(row: Row) -> dict[str, StoredVariant]:
    assert isinstance(row.verdict, Ready)
    return {variant.name: variant for variant in row.verdict.variants}


async def call(world: World, one: Renderer, row: Row, *, tenant_id: str = TENANT) -> image_pb2.RenderResponse:
    servicer = ImageService(FakeMetadata(world), FakeStore(world), FakeQueue(world), one, retry_seconds=5)
    context: Any = None  # not looked at
    request = image_pb2.RenderRequest(tenant_id=tenant_id, image_id=row.image_id, preset="zoom")
    return await servicer.Render(request, context)


def test_many_who_ask_for_the_same_wait_for_one_piece_of_work() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        one = renderer(world, presets=BOTH)
        made = await asyncio.gather(*(one.render(TENANT, row.image_id, "zoom") for _ in range(10)))
        assert len(set(made)) == 1
        assert world.history.count("develop:before") == 1
        assert variants_of(row)["zoom"] == made[0]

    virtual_clock.run(story())


def test_two_tasks_that_render_the_same_do_no_harm() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        tasks = [renderer(world, f"task{n}", presets=BOTH) for n in range(3)]
        made = await asyncio.gather(*(one.render(TENANT, row.image_id, "zoom") for one in tasks))
        assert len(set(made)) == 1
        assert len([name for name in variants_of(row) if name == "zoom"]) == 1
        assert len(world.variants_of(row)) == len(PRESETS) + 1

    virtual_clock.run(story())


def test_a_caller_that_goes_leaves_the_work_to_the_next() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        world.develop_seconds = 30
        one = renderer(world, presets=BOTH)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await one.render(TENANT, row.image_id, "zoom")
        async with asyncio.timeout(15):
            await one.render(TENANT, row.image_id, "zoom")
        assert world.history.count("develop:before") == 1

    virtual_clock.run(story())


@pytest.mark.parametrize("point", ["begin_rendering:after", "get:after", "develop:after", "put:after"])
@pytest.mark.parametrize("fate", ["DELETED", "reprocessed"])
def test_a_variant_joins_no_image_that_was_overtaken_meanwhile(point: str, fate: str) -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        before = variants_of(row)

        def strike(worker: str, name: str) -> None:
            if worker == "late" and name == point:
                if fate == "DELETED":
                    row.state = "DELETED"
                    world.variants.clear()  # the purge was quick
                else:
                    row.attempt += 1

        world.strike = strike
        with pytest.raises(StaleAttempt):
            await renderer(world, "late", presets=BOTH).render(TENANT, row.image_id, "zoom")
        assert variants_of(row) == before
        if fate == "DELETED":
            assert not world.variants_of(row), "nothing of a deleted image is left"

    virtual_clock.run(story())


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"get": [Unreachable("internals")]}, Kind.UNAVAILABLE),
        ({"begin_rendering": [Unreachable("internals")]}, Kind.UNAVAILABLE),
        ({"record_variant": [Unreachable("internals")]}, Kind.UNAVAILABLE),
        ({"develop": [SandboxError("internals")]}, Kind.UNAVAILABLE),
        ({"develop": [Killed("internals"), TimedOut("internals")]}, Kind.UNAVAILABLE),
        ({"develop": [Rejected(Reason.TOO_COMPLEX, "It takes too long.")]}, Kind.WRONG_STATE),
        ({"record_variant": [StaleAttempt("1")]}, Kind.STALE_ATTEMPT),
    ],
)
def test_what_goes_wrong_is_said_without_internals_and_the_next_call_starts_afresh(
    faults: dict[str, list[BaseException]], kind: Kind
) -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        one = renderer(world, presets=BOTH)
        world.faults |= {name: list(errors) for name, errors in faults.items()}
        with pytest.raises(DarkroomError) as caught:
            await call(world, one, row)
        assert caught.value.kind is kind
        assert "internals" not in caught.value.detail
        assert (await call(world, one, row)).variant.name == "zoom"

    virtual_clock.run(story())


def test_one_cut_off_is_tried_once_more_at_once() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        world.faults["develop"] = [Killed("by the kernel")]
        assert (await renderer(world, presets=BOTH).render(TENANT, row.image_id, "zoom")).name == "zoom"

    virtual_clock.run(story())


def test_what_takes_too_long_ends_and_frees_its_slot() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        one = renderer(world, presets=BOTH)
        world.develop_seconds = 1000
        with pytest.raises(NotMade):
            await one.render(TENANT, row.image_id, "zoom")
        world.develop_seconds = 1
        await one.render(TENANT, row.image_id, "zoom")

    virtual_clock.run(story())


def test_a_full_queue_and_a_tenants_own_are_told_apart() -> None:
    async def story() -> None:
        world = World()
        rows = [await ready(world, bytes([n])) for n in range(4)]
        one = renderer(world, presets=BOTH, waiting=2, waiting_of_one=2)
        calls = [asyncio.create_task(call(world, one, row)) for row in rows[:3]]
        await asyncio.sleep(0.1)
        with pytest.raises(DarkroomError) as own:
            await call(world, one, rows[3])
        assert (own.value.kind, own.value.retry_after) == (Kind.RATE_LIMITED, 5)
        with pytest.raises(DarkroomError) as full:
            await call(world, one, rows[3], tenant_id="another")
        assert (full.value.kind, full.value.retry_after) == (Kind.UNAVAILABLE, 5)
        await asyncio.gather(*calls)

    virtual_clock.run(story())


def test_a_renderer_that_closes_leaves_nothing_running() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        world.develop_seconds = 100
        one = renderer(world, presets=BOTH)
        asking = asyncio.create_task(one.render(TENANT, row.image_id, "zoom"))
        await asyncio.sleep(1)
        assert world.developing == 1
        await one.close()
        assert world.developing == 0
        with pytest.raises(asyncio.CancelledError):
            await asking

    virtual_clock.run(story())


def test_an_unknown_preset_is_looked_for_once_more_and_is_then_unknown() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        stored: list[Stored] = [Stored("old")]

        def parse(text: str) -> tuple[Preset, ...]:
            if text == "bad":
                raise ValueError(text)
            return (*PRESETS, ZOOM) if text == "new" else PRESETS

        async def read() -> Stored:
            return stored[0]

        one = renderer(world, presets=Presets(Watched("presets", "old", parse, read)))
        with pytest.raises(UnknownPreset):
            await one.render(TENANT, row.image_id, "zoom")
        stored[0] = Stored("bad")
        with pytest.raises(PresetsUncertain):
            await one.render(TENANT, row.image_id, "zoom")
        stored[0] = Stored("new")
        assert (await one.render(TENANT, row.image_id, "zoom")).name == "zoom"

    virtual_clock.run(story())


def test_processing_anew_makes_what_changed_and_keeps_what_would_be_the_same() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        await renderer(world, presets=BOTH).render(TENANT, row.image_id, "zoom")
        before = variants_of(row)
        world.history.clear()
        changed = replace_preset(PRESETS, "small", quality=7)
        await anew(world, row, Presets.fixed((*changed, ZOOM)))
        after = variants_of(row)
        assert {name for name in after if after[name] != before[name]} == {"small"}
        assert world.history.count("put:before") == 1
        assert list(after) == [*(preset.name for preset in PRESETS), "zoom"]
        assert before["small"].key in world.variants, "a URL that was signed for it may still be in use"

    virtual_clock.run(story())


def test_processing_anew_with_nothing_to_make_reads_no_byte() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        before = row.verdict
        await anew(world, row, BOTH)
        assert (row.state, row.verdict) == ("READY", before)
        assert not {"get:before", "develop:before", "put:before"} & set(world.history)

    virtual_clock.run(story())


def test_what_was_lost_is_made_again_and_what_has_no_preset_any_more_goes() -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        await renderer(world, presets=BOTH).render(TENANT, row.image_id, "zoom")
        lost = variants_of(row)["thumb"].key
        del world.variants[lost]
        await anew(world, row, Presets.fixed(PRESETS))
        assert lost in world.variants
        assert list(variants_of(row)) == [preset.name for preset in PRESETS]

    virtual_clock.run(story())


@pytest.mark.parametrize(
    "point", ["begin:after", "head_variant:after", "get:after", "develop:after", "put:after", "finish:before"]
)
def test_a_worker_that_dies_while_it_processes_anew_leaves_what_was_there(point: str) -> None:
    async def story() -> None:
        world = World()
        row = await ready(world)
        before = row.verdict
        changed = Presets.fixed(replace_preset(PRESETS, "small", quality=7))

        def strike(worker: str, name: str) -> None:
            if worker == "doomed" and name == point:
                world.dead.add(worker)

        world.strike = strike
        row.state, row.attempts, row.leased_until = "PROCESSING", 0, 0
        world.order(row, "process")
        doomed = Worker(world, "doomed", presets=changed)
        async with asyncio.timeout(60):
            while "doomed" not in world.dead:
                await asyncio.sleep(0.1)
        assert row.verdict == before
        assert isinstance(before, Ready)
        assert all(variant.key in world.variants for variant in before.variants)
        next_one = Worker(world, "next", presets=changed)
        await settle(world)
        await next_one.stop()
        assert row.state == "READY"
        assert {name for name, variant in variants_of(row).items() if variant not in before.variants} == {"small"}
        doomed.task.cancel()

    virtual_clock.run(story())


def replace_preset(presets: tuple[Preset, ...], name: str, **fields: Any) -> tuple[Preset, ...]:
    return tuple(msgspec.structs.replace(preset, **fields) if preset.name == name else preset for preset in presets)
