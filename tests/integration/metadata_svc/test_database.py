"""The pool: what is lost, what is refused, what takes too long, what must not stay behind."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from metadata_svc.adapters import statements
from metadata_svc.adapters.credentials import FixedLogin, Login, Logins
from metadata_svc.adapters.database import Database, PoolOptions, connected
from runtime.errors import DarkroomError, Kind
from tests.support import postgres

OPTIONS = PoolOptions(
    size=2,
    acquire_timeout=0.3,
    connect_timeout=3,
    statement_timeout=2,
    idle_seconds=60,
    retry_after=1.5,
    ssl="disable",
)
SQL = statements.load() | {
    "pid": "SELECT pg_backend_pid() AS pid",
    "sleep": "SELECT pg_sleep($1)",
    "freeze": "SET default_transaction_read_only = on",
    "write": "INSERT INTO darkroom.usage (tenant_id, images, bytes) VALUES (gen_random_uuid(), 0, 0) RETURNING 1",
    "settings": "SELECT current_setting('darkroom.tenants', true) AS tenants, current_setting('jit') AS jit",
    "last": "SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'test'",
    "wrong": "SELECT 1 / $1::int",
}


@asynccontextmanager
async def pool(logins: Logins | str, options: PoolOptions = OPTIONS) -> AsyncIterator[Database]:
    login = FixedLogin(logins) if isinstance(logins, str) else logins
    async with connected(login, SQL, options, name="test") as database:
        yield database


async def pid(database: Database) -> int:
    row = await database.row("pid")
    assert row is not None
    found: int = row["pid"]
    return found


async def unavailable(database: Database, name: str, *arguments: object) -> DarkroomError:
    with pytest.raises(DarkroomError) as caught:
        await database.fetch(name, *arguments)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert caught.value.retry_after == 1.5
    return caught.value


async def test_statements_share_connections(database: postgres.Database) -> None:
    async with pool(database.maintenance_url) as ours:
        assert len({await pid(ours) for _ in range(10)}) == 1
        assert len(set(await asyncio.gather(*(pid(ours) for _ in range(50))))) <= OPTIONS.size


async def test_more_callers_than_connections_take_turns(database: postgres.Database) -> None:
    async with pool(database.maintenance_url, replace(OPTIONS, acquire_timeout=2)) as ours:
        async with asyncio.timeout(2):
            await asyncio.gather(*(ours.fetch("sleep", 0.01) for _ in range(40)))


async def test_who_waits_too_long_for_a_connection_is_told_to_come_back(database: postgres.Database) -> None:
    async with pool(database.maintenance_url) as ours:
        busy = [asyncio.create_task(ours.fetch("sleep", 1)) for _ in range(OPTIONS.size)]
        await asyncio.sleep(0.1)
        error = await unavailable(ours, "pid")
        assert error.detail == "the database is busy"
        await asyncio.gather(*busy)
        assert await pid(ours)


async def test_a_connection_that_was_cut_is_replaced(database: postgres.Database) -> None:
    owner = await asyncpg.connect(database.owner_url)
    async with pool(database.maintenance_url) as ours:
        first = await pid(ours)
        await owner.execute("SELECT pg_terminate_backend($1, 1000)", first)
        await asyncio.sleep(0.1)  # its end arrives
        assert await pid(ours) != first
    await owner.close()


async def test_a_connection_cut_in_the_middle_of_a_statement_is_an_unavailable(database: postgres.Database) -> None:
    owner = await asyncpg.connect(database.owner_url)
    async with pool(database.maintenance_url) as ours:
        first = await pid(ours)
        running = asyncio.create_task(unavailable(ours, "sleep", 1.5))
        await asyncio.sleep(0.1)
        await owner.execute("SELECT pg_terminate_backend($1)", first)
        await running
        assert await pid(ours) != first
    await owner.close()


async def test_a_writer_that_became_a_reader_is_left(database: postgres.Database) -> None:
    """After a failover, connections to the old writer answer 25006 (read_only_sql_transaction) to every write."""
    async with pool(database.maintenance_url) as ours:
        first = await pid(ours)
        await ours.fetch("freeze")
        await unavailable(ours, "write")
        assert await pid(ours) != first
        assert await ours.fetch("write")


async def test_a_server_that_takes_no_writes_is_not_connected_to(database: postgres.Database) -> None:
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    with pytest.raises(DarkroomError, match="cannot connect"):
        async with pool(database.maintenance_url):
            pass
    await owner.close()


async def test_a_statement_that_takes_too_long_is_ended_on_both_sides(database: postgres.Database) -> None:
    owner = await asyncpg.connect(database.owner_url)
    async with pool(database.maintenance_url, replace(OPTIONS, statement_timeout=0.3)) as ours:
        await unavailable(ours, "sleep", 60)
        await asyncio.sleep(0.3)
        active = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND query ~ '^SELECT pg_sl'"
        )
        assert await owner.fetchval(active, database.name) == 0
        assert await pid(ours)
    await owner.close()


async def test_no_statement_starts_without_time_left(database: postgres.Database) -> None:
    async with pool(database.maintenance_url) as ours:
        with pytest.raises(DarkroomError) as caught:
            await ours.fetch("pid", timeout=-0.1)
        assert caught.value.kind is Kind.DEADLINE_EXCEEDED


async def test_a_cancelled_statement_leaves_a_pool_that_works(database: postgres.Database) -> None:
    async with pool(database.maintenance_url) as ours:
        for _ in range(5):
            running = asyncio.create_task(ours.fetch("sleep", 60))
            await asyncio.sleep(0.05)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert await pid(ours)


async def test_an_error_of_ours_is_not_taken_for_one_of_the_connection(database: postgres.Database) -> None:
    async with pool(database.maintenance_url) as ours:
        first = await pid(ours)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await ours.fetch("wrong", 0)
        assert await pid(ours) == first


async def test_nothing_of_a_session_stays_behind_and_no_reset_query_runs(database: postgres.Database) -> None:
    async with pool(database.app_url, replace(OPTIONS, size=1)) as ours, pool(database.owner_url) as observer:
        await ours.fetch("get_usage", secrets.token_hex(16))
        await ours.unpark()
        seen = await observer.row("last")
        assert seen is not None
        assert "darkroom.get_usage" in seen["query"]
        row = await ours.row("settings")
        assert row is not None
        assert (row["tenants"], row["jit"]) == ("", "off")


async def test_idle_connections_are_closed(database: postgres.Database) -> None:
    owner = await asyncpg.connect(database.owner_url)
    async with pool(database.maintenance_url, replace(OPTIONS, idle_seconds=0.2)) as ours:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'test'"
        await asyncio.gather(ours.fetch("sleep", 0.1), ours.fetch("sleep", 0.1))
        assert await owner.fetchval(count, database.name) == 2
        await ours.unpark()
        await asyncio.sleep(0.5)
        assert await owner.fetchval(count, database.name) == 1, "one is kept"
    await owner.close()


class Rotated:
    """A login whose password was changed since it was last read."""

    def __init__(self, url: str, old: str) -> None:
        self._good, self._old, self.reads = FixedLogin(url), old, 0

    async def current(self) -> Login:
        login = await self._good.current()
        return login if self.reads else replace(login, password=self._old)

    async def refreshed(self) -> Login:
        self.reads += 1
        return await self._good.current()


async def test_a_refused_password_is_read_again_once(database: postgres.Database) -> None:
    logins = Rotated(database.maintenance_url, "old")
    async with pool(logins) as ours:
        await asyncio.gather(*(pid(ours) for _ in range(10)))
    assert logins.reads == 1


async def test_a_password_that_is_wrong_shows_at_start(database: postgres.Database) -> None:
    parts = urlsplit(database.maintenance_url)
    wrong = urlunsplit(parts._replace(netloc=f"{parts.username}:wrong@{parts.hostname}:{parts.port}"))
    with pytest.raises(DarkroomError, match="cannot connect") as caught:
        async with pool(wrong):
            pass
    assert caught.value.__cause__ is not None
    assert "wrong" not in str(caught.value.__cause__)


async def test_a_rotation_under_load_fails_no_call(database: postgres.Database) -> None:
    """New connections log in with the new password, open ones go on."""
    owner = await asyncpg.connect(database.owner_url)
    user = urlsplit(database.maintenance_url).username
    old = urlsplit(database.maintenance_url).password

    class Secret:
        def __init__(self) -> None:
            self.password = old or ""
            self.seen = self.password

        async def current(self) -> Login:
            return replace(await FixedLogin(database.maintenance_url).current(), password=self.seen)

        async def refreshed(self) -> Login:
            self.seen = self.password
            return await self.current()

    secret = Secret()
    try:
        async with pool(secret, replace(OPTIONS, idle_seconds=0.05, size=4, acquire_timeout=2)) as ours:

            async def work() -> None:
                for _ in range(60):
                    await pid(ours)
                    await ours.unpark()
                    await asyncio.sleep(secrets.randbelow(100) / 1000)

            working = [asyncio.create_task(work()) for _ in range(4)]
            for _ in range(10):
                await asyncio.sleep(0.2)
                new = secrets.token_hex(8)
                await owner.execute(f"ALTER ROLE {user} PASSWORD '{new}'")
                await asyncio.sleep(0.05)
                secret.password = new
            await asyncio.gather(*working)
    finally:
        await owner.execute(f"ALTER ROLE {user} PASSWORD '{old}'")
        await owner.close()
