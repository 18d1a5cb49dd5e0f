"""The runner, and the schema that it leads to."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from metadata_svc import migrate
from metadata_svc.migrate import Migration, MigrationError
from runtime.aws import AwsSettings, client
from runtime.aws import session as aws_session
from tests.support import schema
from tests.support.localstack import LocalStack
from tests.support.metadata import metadata_service
from tests.support.postgres import Database


@pytest.fixture
async def empty(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection to a database without our schema."""
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute("DROP SCHEMA darkroom CASCADE")
    await migrate.ensure_roles(connection, {})  # a clone does not inherit the right to create schemas
    yield connection
    await connection.close()


def step(number: int, sql: str, phase: str = "pre") -> Migration:
    return Migration(number, phase, f"{number:04}_{phase}_step.sql", sql)


async def test_a_replay_of_all_migrations_equals_schema_sql(database: Database, empty: asyncpg.Connection) -> None:
    await empty.execute(schema.SCHEMA.read_text())
    read = await asyncio.to_thread(schema.dump, database.owner_url)
    await empty.execute("DROP SCHEMA darkroom CASCADE")
    await migrate.apply(empty)
    replayed = await asyncio.to_thread(schema.dump, database.owner_url)
    assert replayed == read, "run `python -m tests.support.schema`"


async def test_each_migration_runs_once_and_is_remembered(empty: asyncpg.Connection) -> None:
    steps = [step(1, "CREATE TABLE darkroom.a ()"), step(2, "CREATE TABLE darkroom.b ()")]
    assert await migrate.apply(empty, steps=steps[:1]) == 1
    assert await migrate.apply(empty, steps=steps) == 1
    assert await migrate.apply(empty, steps=steps) == 0
    owners = await empty.fetch("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'darkroom'")
    assert [row["tableowner"] for row in owners] == ["darkroom_owner"]


async def test_a_migration_that_changed_after_it_ran_is_refused(empty: asyncpg.Connection) -> None:
    await migrate.apply(empty, steps=[step(1, "CREATE TABLE darkroom.a ()")])
    with pytest.raises(MigrationError, match="changed after it ran"):
        await migrate.apply(empty, steps=[step(1, "CREATE TABLE darkroom.a (x int)")])


async def test_a_migration_that_fails_leaves_nothing_behind(empty: asyncpg.Connection) -> None:
    with pytest.raises(MigrationError, match=r"0001_pre_step\.sql"):
        await migrate.apply(empty, steps=[step(1, "CREATE TABLE darkroom.a (); SELECT 1 / 0")])
    assert await empty.fetchval("SELECT to_regclass('darkroom.a')") is None
    assert await migrate.apply(empty, steps=[step(1, "CREATE TABLE darkroom.a ()")]) == 1


async def test_pre_runs_without_post_but_not_the_other_way_round(empty: asyncpg.Connection) -> None:
    steps = [step(1, "CREATE TABLE darkroom.a ()"), step(2, "DROP TABLE darkroom.a", "post"), step(3, "SELECT 1")]
    with pytest.raises(MigrationError, match="run the phase `pre` first"):
        await migrate.apply(empty, "post", steps=steps)
    assert await migrate.apply(empty, "pre", steps=steps) == 2
    assert await migrate.apply(empty, "post", steps=steps) == 1


async def test_two_runners_at_once_take_turns(database: Database, empty: asyncpg.Connection) -> None:
    other = await asyncpg.connect(database.owner_url)
    steps = [step(1, "SELECT pg_sleep(0.3); CREATE TABLE darkroom.a ()")]
    ran = await asyncio.gather(migrate.apply(empty, steps=steps), migrate.apply(other, steps=steps))
    await other.close()
    assert sorted(ran) == [0, 1]


async def test_a_migration_gives_up_rather_than_queue_behind_a_long_lock(
    database: Database, empty: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "100ms")
    await migrate.apply(empty, steps=[step(1, "CREATE TABLE darkroom.a ()")])
    other = await asyncpg.connect(database.owner_url)
    async with other.transaction():
        await other.execute("LOCK darkroom.a IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="lock timeout"):
            await migrate.apply(empty, steps=[step(1, "CREATE TABLE darkroom.a ()"), step(2, "DROP TABLE darkroom.a")])
    await other.close()


async def test_roles_can_be_made_again_and_log_in_with_the_password_given(database: Database) -> None:
    """On a server of our own; on another one, nobody's password is touched."""
    owner = await asyncpg.connect(database.owner_url)
    try:
        await owner.execute("CREATE ROLE darkroom_spare NOLOGIN")
        await migrate.ensure_roles(owner, {"darkroom_spare": "it's a \\ secret"})
        rows = await owner.fetch(
            "SELECT rolname, rolbypassrls OR rolsuper AS mighty FROM pg_roles WHERE rolname ~ '^darkroom'"
        )
        assert not any(row["mighty"] for row in rows)
        assert await owner.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'darkroom_spare'")
    finally:
        await owner.execute("DROP ROLE IF EXISTS darkroom_spare")
        await owner.close()


async def test_the_task_before_a_rollout_knows_nothing_but_the_names_of_secrets(
    localstack: LocalStack, database: Database, empty: asyncpg.Connection
) -> None:
    place, stage = urlsplit(database.owner_url), secrets.token_hex(6)
    owner = {
        "host": place.hostname,
        "port": place.port,
        "dbname": place.path.lstrip("/"),
        "username": unquote(place.username or ""),
        "password": unquote(place.password or ""),
    }
    spare = {"username": "darkroom_spare", "password": "as its secret has it"}
    async with AsyncExitStack() as stack:
        here = AwsSettings(AWS_ENDPOINT_URL=localstack.endpoint_url)
        manager = await client(stack, aws_session(), "secretsmanager", here)
        for name, value in (("owner", owner), ("spare", spare)):
            await manager.create_secret(Name=f"{stage}/{name}", SecretString=json.dumps(value))
    await empty.execute("CREATE ROLE darkroom_spare NOLOGIN")
    try:
        task = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "metadata_svc.migrate", "--phase", "pre"),
            *("--owner", f"{stage}/owner", "--secret", f"{stage}/spare"),
            env={**{n: v for n, v in os.environ.items() if n != "DATABASE_URL"}, **localstack.environment},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await task.communicate()
        assert task.returncode == 0
        assert b"migration(s) applied" in output
        assert await empty.fetchval("SELECT to_regclass('darkroom.images')") is not None
        assert await empty.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'darkroom_spare'")
    finally:
        await empty.execute("DROP ROLE darkroom_spare")


async def test_the_service_does_not_start_on_an_older_schema(database: Database) -> None:
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("DELETE FROM darkroom.migrations WHERE number > 1")
    await owner.close()
    with pytest.raises(Exception, match="the schema is at migration 1, this release needs"):
        async with metadata_service(database):
            pass
