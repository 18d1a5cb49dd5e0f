"""A PostgreSQL server for the session, and a fresh database for each test that asks for one.

The server is the one of `DATABASE_URL` where that is set (its user must be allowed to create databases and roles), or
one of our own that starts with the first test. A test's database is cloned from a migrated template, which takes
milliseconds.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from deploy.local.postgres import VOLATILE, running
from metadata_svc import migrate


@dataclass(frozen=True)
class Database:
    """A migrated database. URLs of the server's owner and of logins with the rights of the two service roles."""

    name: str
    owner_url: str
    app_url: str
    maintenance_url: str


@dataclass(frozen=True)
class Template:
    """What databases are cloned from, and the logins that reach them."""

    name: str
    owner_url: str
    logins: dict[str, str]


def with_database(url: str, name: str) -> str:
    """The URL with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port or 5432}"))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server as its owner."""
    data: Path = tmp_path_factory.mktemp("postgres") / "data"
    with running(data, settings={**VOLATILE, "log_min_messages": "fatal"}) as url:
        yield url


@pytest.fixture(scope="session")
async def template(postgres: str) -> AsyncIterator[Template]:
    """A migrated database that nobody writes to.

    The logins are members of the service roles rather than those roles themselves: on a server that is in use for
    something else, nobody's password changes.
    """
    suffix = secrets.token_hex(4)
    name = f"darkroom_template_{suffix}"
    logins: dict[str, str] = {}
    server = await asyncpg.connect(postgres)
    await server.execute(f"CREATE DATABASE {name}")
    url = with_database(postgres, name)
    connection = await asyncpg.connect(url)
    await migrate.ensure_roles(connection, {})
    await migrate.apply(connection)
    await connection.close()
    for role in ("darkroom_app", "darkroom_maintenance"):
        user, password = f"{role}_{suffix}", secrets.token_hex(16)
        await server.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}' IN ROLE {role}")
        logins[role] = _with_login(postgres, user, password)
    yield Template(name, url, logins)
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    for url in logins.values():
        await server.execute(f"DROP ROLE {urlsplit(url).username}")
    await server.close()


@pytest.fixture
async def database(postgres: str, template: Template) -> AsyncIterator[Database]:
    """A fresh database with the schema and nothing in it."""
    name = f"darkroom_test_{secrets.token_hex(6)}"
    server = await asyncpg.connect(postgres)
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {template.name}")
        yield Database(
            name=name,
            owner_url=with_database(postgres, name),
            app_url=with_database(template.logins["darkroom_app"], name),
            maintenance_url=with_database(template.logins["darkroom_maintenance"], name),
        )
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()
