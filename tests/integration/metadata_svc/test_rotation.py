"""Passwords that rotate by alternating users, as on AWS: no superuser, every login out of Secrets Manager."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import traceback
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from darkroom.metadata.v1 import metadata_pb2 as pb

from deploy.local import postgres as server
from metadata_svc.adapters.credentials import LoginError, SecretLogins
from metadata_svc.adapters.database import Database, connected
from metadata_svc.app import Parts, assemble
from runtime import aws
from runtime.aws import AwsSettings
from runtime.errors import DarkroomError, Kind
from tests.support import rotation
from tests.support.localstack import LocalStack
from tests.support.metadata import FakePublisher, new_image, settings_for_tests

ROLES = ("owner", "app", "maintenance")
QUIET = {**server.VOLATILE, "log_min_messages": "fatal"}


class Context:
    """What the service reads of a call's context."""

    def time_remaining(self) -> float:
        """Seconds."""
        return 10.0


CONTEXT: Any = Context()


@dataclass(frozen=True)
class Place:
    """A database as Aurora gives it: its master user is the owner, and may create roles; nobody is a superuser."""

    manager: Any
    stage: str
    superuser_url: str

    def secret(self, role: str) -> str:
        """The name of a role's secret."""
        return f"{self.stage}/database/{role}"

    async def held(self, role: str) -> dict[str, Any]:
        """What a role's secret holds now."""
        answer = await self.manager.get_secret_value(SecretId=self.secret(role))
        content: dict[str, Any] = json.loads(answer["SecretString"])
        return content

    async def connect(self, role: str) -> asyncpg.Connection:
        """A connection as a role's current user."""
        held = await self.held(role)
        return await asyncpg.connect(
            host=held["host"],
            port=held["port"],
            database=held["dbname"],
            user=held["username"],
            password=held["password"],
        )

    async def migrate(self) -> None:
        """The command, as the one-off task runs it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "metadata_svc.migrate",
            "--owner",
            self.secret("owner"),
            *(part for role in ("app", "maintenance") for part in ("--secret", self.secret(role))),
            env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, (out, errors)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(localstack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A server of its own: the service roles must be made by a user who is none but their maker."""
    data: Path = tmp_path_factory.mktemp("rotation") / "data"
    port = server.free_port()
    running = server.start(data, port, QUIET)
    stage = f"r{uuid.uuid4().hex[:8]}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in localstack.environment.items():
                patch.setenv(name, value)
            async with AsyncExitStack() as stack:
                manager = await aws.client(stack, aws.session(), "secretsmanager", AwsSettings())
                made = Place(manager, stage, server.admin_url(data, port))
                await _secrets(made, port)
                superuser = await asyncpg.connect(made.superuser_url)
                owner = await made.held("owner")
                await superuser.execute(
                    f"CREATE ROLE darkroom_owner LOGIN CREATEROLE CREATEDB PASSWORD '{owner['password']}'"
                )
                await superuser.execute("ALTER DATABASE darkroom OWNER TO darkroom_owner")
                await superuser.close()
                yield made
    finally:
        server.stop(running)


async def _secrets(place: Place, port: int) -> None:
    """As Core makes them and Database attaches them."""
    master = ""
    for role in ROLES:
        content = {
            "username": f"darkroom_{role}",
            "password": secrets.token_hex(16),
            "engine": "postgres",
            "host": "127.0.0.1",
            "port": port,
            "dbname": server.DATABASE,
            **({"masterarn": master} if master else {}),
        }
        created = await place.manager.create_secret(Name=place.secret(role), SecretString=json.dumps(content))
        master = master or created["ARN"]


@asynccontextmanager
async def service(place: Place, **settings: Any) -> AsyncIterator[Parts]:
    """metadata_svc's parts, with the logins that it has on AWS."""
    async with AsyncExitStack() as stack:
        yield await assemble(
            stack,
            settings_for_tests(**settings),
            app=SecretLogins(place.manager, place.secret("app")),
            maintenance=SecretLogins(place.manager, place.secret("maintenance")),
            publisher=FakePublisher(),
        )


async def test_the_master_user_makes_schema_and_logins_without_being_a_superuser(place: Place) -> None:
    await place.migrate()
    connection = await place.connect("app")
    assert await connection.fetchval("SELECT current_user") == "darkroom_app"
    await connection.close()


async def test_a_clone_has_the_rights_and_the_policies_of_the_user_it_was_made_from(place: Place) -> None:
    await place.migrate()
    assert await rotation.rotate(place.manager, place.secret("app")) == "darkroom_app_clone"
    tenants = [uuid.uuid4(), uuid.uuid4()]
    owner = await asyncpg.connect(place.superuser_url)
    for tenant in tenants:
        await owner.execute(
            "INSERT INTO darkroom.tenants (id, name, max_image_bytes, max_images, max_bytes, requests_per_second) "
            "VALUES ($1, 'clone', 1000, 10, 10000, 10)",
            tenant,
        )
    clone = await place.connect("app")
    try:
        assert await clone.fetchval("SELECT current_user") == "darkroom_app_clone"
        # The policies of darkroom_app: forgotten conditions return nothing, a scope its own tenant.
        assert await clone.fetch("SELECT id FROM darkroom.tenants") == []
        async with clone.transaction():
            await clone.execute("SELECT set_config('darkroom.tenants', $1, true)", f"{{{tenants[0]}}}")
            assert [row["id"] for row in await clone.fetch("SELECT id FROM darkroom.tenants")] == [tenants[0]]
        for forbidden in ("SELECT 1 FROM darkroom.api_keys", "DELETE FROM darkroom.images", "SET ROLE darkroom_owner"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await clone.execute(forbidden)
    finally:
        await clone.close()
        await owner.close()


async def test_a_migration_between_rotations_leaves_the_passwords_alone(place: Place) -> None:
    await place.migrate()
    before = await place.held("app")
    await rotation.rotate(place.manager, place.secret("app"))
    await place.migrate()
    for held in (before, await place.held("app")):
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=held["port"],
            database=held["dbname"],
            user=held["username"],
            password=held["password"],
        )
        await connection.close()


async def test_rotations_under_load_fail_no_call(place: Place) -> None:
    """Six rotations of each secret while images are registered and read; connections are renewed all the time.

    One service starts as the first user and one as the clone, so that each is in use and each is changed.
    """
    await place.migrate()
    tenant = str(uuid.uuid4())
    owner = await asyncpg.connect(place.superuser_url)
    await owner.execute(
        "INSERT INTO darkroom.tenants (id, name, max_image_bytes, max_images, max_bytes, requests_per_second) "
        "VALUES ($1, 'load', 100000, 1000000, 1000000000000, 100000)",
        uuid.UUID(tenant),
    )
    done = asyncio.Event()
    users: set[str] = set()

    async def client(parts: Parts) -> int:
        calls = 0
        while not done.is_set():
            image = new_image(tenant, item_id=1)
            created = await parts.servicer.BatchCreateImages(pb.BatchCreateImagesRequest(items=[image]), CONTEXT)
            assert created.results[0].WhichOneof("result") == "image", created
            item = pb.GetImageRequest(item_id=1, tenant_id=tenant, image_id=image.image_id)
            read = await parts.servicer.BatchGetImages(pb.BatchGetImagesRequest(items=[item]), CONTEXT)
            assert read.results[0].image.id == image.image_id
            await parts.sweeper.fold()  # as maintenance
            for database in (parts.app, parts.maintenance):
                await database.unpark()
            await asyncio.sleep(secrets.randbelow(100) / 1000)
            calls += 3
        return calls

    async def watch() -> None:
        while not done.is_set():
            rows = await owner.fetch("SELECT usename FROM pg_stat_activity WHERE application_name LIKE 'metadata_svc%'")
            users.update(row["usename"] for row in rows)
            await asyncio.sleep(0.02)

    async def rotate() -> None:
        await asyncio.gather(*(rotation.rotate(place.manager, place.secret(role)) for role in ROLES[1:]))

    async with AsyncExitStack() as stack:
        services = []
        for _ in range(2):
            services.append(
                await stack.enter_async_context(
                    service(place, app_pool_size=4, maintenance_pool_size=4, connection_idle_seconds=0.05)
                )
            )
            await rotate()
        working = [asyncio.create_task(client(parts)) for parts in services for _ in range(2)]
        watching = asyncio.create_task(watch())
        for _ in range(6):
            await rotate()
            await asyncio.sleep(0.3)
        done.set()
        calls = sum(await asyncio.gather(*working))
        await watching
    await owner.close()
    assert calls > 100
    assert users == {f"darkroom_{role}{end}" for role in ROLES[1:] for end in ("", rotation.CLONE)}


OPTIONS = settings_for_tests().pool(1)


async def ended(database: Database, superuser: asyncpg.Connection) -> None:
    """Ends the pool's connection, so that the next call needs a new one."""
    row = await database.row("pid")
    assert row is not None
    assert await superuser.fetchval("SELECT pg_terminate_backend($1, 5000)", row["pid"])


async def test_a_secret_that_gives_no_answer_is_an_outage_of_the_database(place: Place) -> None:
    """The password has been rotated and the secret cannot be read: calls may come again, and then succeed."""
    user, secret = f"u{uuid.uuid4().hex[:8]}", f"{place.stage}/{uuid.uuid4().hex}"
    superuser = await asyncpg.connect(place.superuser_url)
    held = {**await place.held("app"), "username": user, "password": "first"}
    try:
        await superuser.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first'")
        await place.manager.create_secret(Name=secret, SecretString=json.dumps(held))
        statements = {"pid": "SELECT pg_backend_pid() AS pid"}
        async with connected(SecretLogins(place.manager, secret), statements, OPTIONS, name="test") as database:
            await superuser.execute(f"ALTER ROLE {user} PASSWORD 'second'")
            await place.manager.put_secret_value(
                SecretId=secret, SecretString=json.dumps({**held, "password": "second"})
            )
            await place.manager.delete_secret(SecretId=secret)
            await ended(database, superuser)
            for _ in range(2):
                with pytest.raises(DarkroomError, match="not reachable") as caught:
                    await database.fetch("pid")
                assert caught.value.kind is Kind.UNAVAILABLE
                assert caught.value.retry_after == OPTIONS.retry_after
                assert isinstance(caught.value.__cause__, LoginError)
                assert secret in str(caught.value.__cause__)
            await place.manager.restore_secret(SecretId=secret)
            assert await database.row("pid") is not None
    finally:
        await superuser.execute(f"DROP ROLE IF EXISTS {user}")
        await superuser.close()


@pytest.mark.parametrize("content", ["hunter2", "[]", "{}", '{"host": "h", "port": "hunter2"}'])
async def test_a_secret_without_a_login_is_named_and_not_quoted(place: Place, content: str) -> None:
    secret = f"{place.stage}/{uuid.uuid4().hex}"
    await place.manager.create_secret(Name=secret, SecretString=content)
    with pytest.raises(DarkroomError, match="cannot connect") as caught:
        async with connected(SecretLogins(place.manager, secret), {}, OPTIONS, name="test"):
            pass
    cause = caught.value.__cause__
    assert isinstance(cause, LoginError)
    assert secret in str(cause)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
