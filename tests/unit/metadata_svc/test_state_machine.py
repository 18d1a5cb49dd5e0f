"""The state machine as a pure thing: any calls in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.image_machine import ImageMachine, World, an_image
from tests.support.metadata_fakes import FakeImageStore

_T = TypeVar("_T")


class PureWorld:
    """Everything in memory."""

    def __init__(self) -> None:
        self.store = FakeImageStore()
        self.every = self.own = self.store

    def run(self, awaitable: Awaitable[_T]) -> _T:
        async def result() -> _T:
            return await awaitable

        coroutine = result()
        # Nothing in it waits for anything, so one step ends it.
        try:
            coroutine.send(None)
        except StopIteration as stop:
            answer: _T = stop.value
            return answer
        raise AssertionError("the fake waited")

    async def add(self, tenant_id: UUID, image_id: UUID) -> None:
        self.store.add(an_image(tenant_id, image_id, self.store.now))

    async def advance(self, seconds: float) -> None:
        self.store.advance(timedelta(seconds=seconds))

    async def usage(self) -> tuple[int, int]:
        return self.store.images, self.store.bytes

    async def kinds(self) -> list[str]:
        return sorted(self.store.kinds)

    def close(self) -> None:
        pass


class PureMachine(ImageMachine):
    def make_world(self) -> World:
        return PureWorld()


def test_any_calls_in_any_order_answer_as_the_model_says() -> None:
    run_state_machine_as_test(PureMachine, settings=settings(max_examples=300, stateful_step_count=40, deadline=None))


def test_the_state_machine_decides_again_when_somebody_was_faster() -> None:
    from metadata_svc.domain import processing
    from metadata_svc.transitions import decide
    from tests.support.image_machine import RULES

    world = PureWorld()
    tenant, image = UUID(int=1), UUID(int=2)
    asyncio.run(world.add(tenant, image))
    world.store.races = 3
    outcome = asyncio.run(
        decide(
            world.store,
            tenant,
            image,
            lambda r: processing.begin(r.image, r.now, timedelta(seconds=5), RULES, r.policy),
            5.0,
        )
    )
    assert isinstance(outcome, processing.Job)
    assert world.store.races == 0
