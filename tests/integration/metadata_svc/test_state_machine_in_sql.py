"""The same machine as in the unit tests, on the real statements."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from metadata_svc.adapters import statements
from metadata_svc.adapters.credentials import FixedLogin
from metadata_svc.adapters.database import connected
from metadata_svc.adapters.images import all_images, own_images
from tests.support.image_machine import LIFE, SIZE, ImageMachine, World
from tests.support.metadata import age, settings_for_tests
from tests.support.postgres import Database

_T = TypeVar("_T")


class SqlWorld:
    """Two pools and the owner's connection, on an event loop of its own: hypothesis is not asynchronous."""

    def __init__(self, database: Database) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stack = AsyncExitStack()
        self.run(self._open(database))

    async def _open(self, database: Database) -> None:
        import asyncpg

        sql = statements.load()
        options = settings_for_tests().pool(2)
        app = await self._stack.enter_async_context(connected(FixedLogin(database.app_url), sql, options, name="app"))
        maintenance = await self._stack.enter_async_context(
            connected(FixedLogin(database.maintenance_url), sql, options, name="maintenance")
        )
        self.own = own_images(app, lambda: None)
        self.every = all_images(maintenance, lambda: None)
        self._owner = await asyncpg.connect(database.owner_url)
        self._stack.push_async_callback(self._owner.close)

    def run(self, awaitable: Awaitable[_T]) -> _T:
        async def result() -> _T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(result(), self._loop).result(30)

    async def reset(self) -> None:
        await self._owner.execute("TRUNCATE darkroom.images, darkroom.tags, darkroom.usage_deltas, darkroom.outbox")

    async def add(self, tenant_id: UUID, image_id: UUID) -> None:
        await self._owner.execute(
            """
            INSERT INTO darkroom.tenants (id, name, max_image_bytes, max_images, max_bytes, requests_per_second)
            VALUES ($1, 't', 10000, 10, 100000, 10)
            """,
            tenant_id,
        )
        await self._owner.execute(
            """
            SELECT ord FROM darkroom.create_images(
                ARRAY[$1::uuid], ARRAY[$2::uuid], ARRAY[NULL], ARRAY[NULL::bytea], ARRAY['a'], ARRAY['image/jpeg'],
                ARRAY[$3::bigint], ARRAY[NULL::bytea], ARRAY[1::smallint], ARRAY[''], ARRAY[NULL],
                ARRAY[$4::double precision], ARRAY[''], '24 hours', '10 minutes'
            )
            """,
            tenant_id,
            image_id,
            SIZE,
            LIFE,
        )

    async def advance(self, seconds: float) -> None:
        await age(self._owner, seconds)

    async def usage(self) -> tuple[int, int]:
        row: Any = await self._owner.fetchrow(
            """
            SELECT coalesce(sum(images), 0)::int AS images, coalesce(sum(bytes), 0)::int AS bytes
            FROM darkroom.usage_deltas
            """
        )
        return row["images"], row["bytes"]

    async def kinds(self) -> list[str]:
        rows = await self._owner.fetch('SELECT kind FROM darkroom.outbox ORDER BY kind COLLATE "C"')
        return [row["kind"] for row in rows]

    def close(self) -> None:
        pass

    def end(self) -> None:
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def test_any_calls_in_any_order_answer_as_the_model_says(database: Database) -> None:
    world = SqlWorld(database)

    class SqlMachine(ImageMachine):
        def make_world(self) -> World:
            world.run(world.reset())
            return world

    try:
        run_state_machine_as_test(
            SqlMachine,
            settings=settings(
                max_examples=40,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    finally:
        world.end()


def test_an_unknown_image_reads_as_none(database: Database) -> None:
    world = SqlWorld(database)
    try:
        for store in (world.every, world.own):
            reading = world.run(store.read(uuid.uuid4(), uuid.uuid4(), 5.0))
            assert reading.image is None
            assert reading.now.tzinfo is not None
    finally:
        world.end()
