"""A worker of image_svc on a `World`, and the rules that must hold whatever happens to it."""

from __future__ import annotations

import asyncio
import time

from image_svc.presets import Presets
from image_svc.render.renderer import Renderer, RenderLimits
from image_svc.render.turns import Turns
from image_svc.worker.consumer import Consumer, ConsumerLimits
from image_svc.worker.handler import Handler
from image_svc.worker.hold import Rhythm
from image_svc.worker.job import JobLimits, Jobs
from image_svc.worker.orders import Orders
from image_svc.worker.slots import Slots
from tests.support.image_world import INCOMING, PRESETS, FakeDeveloper, FakeMetadata, FakeQueue, FakeStore, World

LEASE = 30.0
DRAIN = 25.0
HAND_BACK = 2.0
PATIENCE = 120.0
UNREADABLE = 900.0


def renderer(
    world: World,
    name: str = "w1",
    *,
    slots: int = 1,
    waiting: int = 4,
    waiting_of_one: int = 2,
    presets: Presets | None = None,
) -> Renderer:
    """One process's half for rendering on demand."""
    return Renderer(
        FakeMetadata(world, name),
        FakeStore(world, name),
        FakeDeveloper(world, name),
        presets or Presets.fixed(PRESETS),
        turns=Turns(slots, waiting=waiting, waiting_of_one=waiting_of_one),
        limits=RenderLimits(render=60, margin=5),
    )


class Worker:
    """One process's consumer; `name` is who it is in the world."""

    def __init__(
        self,
        world: World,
        name: str = "w1",
        *,
        slots: int = 2,
        prefetch: int = 3,
        drain: float = DRAIN,
        presets: Presets | None = None,
    ) -> None:
        self.world = world
        self.name = name
        metadata, store = FakeMetadata(world, name), FakeStore(world, name)
        self.jobs = Jobs(
            metadata,
            store,
            FakeDeveloper(world, name),
            presets or Presets.fixed(PRESETS),
            slots=Slots(slots),
            limits=JobLimits(job=600, patience=PATIENCE),
        )
        handler = Handler(
            self.jobs,
            Orders(self.jobs, metadata, store, patience=PATIENCE),
            bucket=INCOMING,
            unreadable=UNREADABLE,
            retry_first=2,
            retry_longest=300,
        )
        self.consumer = Consumer(
            FakeQueue(world, name),
            metadata,
            handler,
            ConsumerLimits(
                in_hand=slots + prefetch,
                prefetch=prefetch,
                rhythm=Rhythm(lease=LEASE, heartbeat=10),
                receive_wait=20,
                poll_grace=1,
                drain=drain,
                hand_back=HAND_BACK,
            ),
        )
        self.task = asyncio.create_task(self.consumer.run())

    async def stop(self) -> float:
        """Stops it as SIGTERM does, and says how many seconds that took."""
        started = time.monotonic()
        self.consumer.stop()
        await self.task
        return time.monotonic() - started

    def kill(self) -> None:
        """Ends it as SIGKILL does: from now on it has no effect on the world."""
        self.world.dead.add(self.name)


async def settle(world: World, *, within: float = 3600.0) -> float:
    """Waits until the queue is empty, and says how many seconds that took. Fails when it does not become so."""
    started = time.monotonic()
    while world.letters:
        assert time.monotonic() - started < within, f"still in the queue: {world.letters}"
        await asyncio.sleep(0.05)
    return time.monotonic() - started


def check(world: World) -> None:
    """What must hold of every uploaded image at the end."""
    for row in world.rows.values():
        assert row.state in {"READY", "REJECTED", "FAILED"}, f"{row.image_id} is {row.state}"
        assert f"settled {row.image_id}" in world.history or row.state == "FAILED"
        if row.state == "READY":
            assert len(world.variants_of(row)) == len(PRESETS), "a set with too few or too many keys"
