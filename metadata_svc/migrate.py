"""Brings the database's schema up to date: `python -m metadata_svc.migrate`.

A one-off task before a rollout, never part of a service's start. Migrations are plain SQL files,
`migrations/NNNN_pre_*.sql` (expand: what the new release needs and the old one tolerates) and `NNNN_post_*.sql`
(contract: what no running release needs any more). Each runs once, in order, in a transaction of its own; what ran is
kept in `darkroom_migrations` with the checksum of its file, and a file that changed afterwards is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import asyncpg

_ROOT: Final = Path(__file__).resolve().parent
_FOLDER: Final = _ROOT / "migrations"
_OWNER: Final = "darkroom_owner"
# Any constant will do, as long as no other program takes the same: the first bytes of sha256("darkroom migrations").
_LOCK: Final = 0x1F0A_5C3B
# A migration that waits for a lock makes everyone behind it wait too: rather give up and be repeated.
_LOCK_TIMEOUT: Final = "5s"

Phase = Literal["pre", "post", "all"]


class MigrationError(Exception):
    """The schema cannot be brought up to date; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `number` orders it, `phase` says on which side of a rollout it runs."""

    number: int
    phase: str
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = _FOLDER) -> list[Migration]:
    """Every migration, in order. Raises `MigrationError` for a name out of form or a number taken twice."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        number, _, rest = path.stem.partition("_")
        phase, _, title = rest.partition("_")
        if not (len(number) == 4 and number.isdigit() and phase in {"pre", "post"} and title):
            raise MigrationError(f"{path.name}: not of the form NNNN_pre_title.sql or NNNN_post_title.sql")
        if found and found[-1].number == int(number):
            raise MigrationError(f"{path.name}: number {number} is taken by {found[-1].name}")
        found.append(Migration(int(number), phase, path.name, path.read_text()))
    return found


async def ensure_roles(connection: asyncpg.Connection, passwords: Mapping[str, str]) -> None:
    """Makes the roles where they are missing, and lets those log in that a password is given for."""
    await connection.execute((_ROOT / "roles.sql").read_text())
    for role, password in passwords.items():
        # A utility statement takes no parameters, so the server itself quotes the values.
        statement = await connection.fetchval(
            "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", role, password
        )
        await connection.execute(statement)


async def apply(connection: asyncpg.Connection, phase: Phase = "all", steps: Sequence[Migration] | None = None) -> int:
    """Runs what has not run yet, as the owner; returns how many files that were. One runner works at a time."""
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(f"SET ROLE {_OWNER}")
        await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
        done = await _applied(connection)
        ran = 0
        for step in migrations() if steps is None else steps:
            if step.number in done:
                if done[step.number] != step.checksum:
                    raise MigrationError(f"{step.name} changed after it ran; undo the edit and add a new migration")
                continue
            if phase not in ("all", step.phase):
                if phase == "post":
                    raise MigrationError(f"{step.name} has not run; run the phase `pre` first")
                continue
            try:
                async with connection.transaction():
                    await connection.execute(step.sql)
                    await connection.execute(
                        "INSERT INTO darkroom.migrations (number, name, checksum) VALUES ($1, $2, $3)",
                        step.number,
                        step.name,
                        step.checksum,
                    )
            except asyncpg.PostgresError as error:
                raise MigrationError(f"{step.name}: {error}") from error
            ran += 1
        return ran
    finally:
        await connection.execute("RESET ROLE; RESET lock_timeout")
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _applied(connection: asyncpg.Connection) -> dict[int, str]:
    """Checksums of what ran, by number. The table itself is no migration: it must be there before the first one."""
    await connection.execute("""
        CREATE SCHEMA IF NOT EXISTS darkroom;
        CREATE TABLE IF NOT EXISTS darkroom.migrations (
            number integer PRIMARY KEY,
            name text NOT NULL,
            checksum text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    rows = await connection.fetch("SELECT number, checksum FROM darkroom.migrations")
    return {row["number"]: row["checksum"] for row in rows}


async def _read(names: Sequence[str]) -> list[dict[str, Any]]:
    """What database secrets hold, in their order."""
    from contextlib import AsyncExitStack

    from runtime import aws
    from runtime.aws import AwsSettings
    from runtime.settings import read_secret

    async with AsyncExitStack() as stack:
        client: Any = await aws.client(stack, aws.session(), "secretsmanager", AwsSettings())
        return [await read_secret(client, name) for name in names]


async def _place(url: str | None, owner: str | None) -> dict[str, Any]:
    """Where to connect, and as whom: by the owner's secret `{host, port, dbname, username, password}` where one is
    named, else by the URL.

    TLS is what PGSSLMODE and PGSSLROOTCERT say, as with every PostgreSQL client.
    """
    if owner is None:
        return {"dsn": url}
    (secret,) = await _read([owner])
    return {
        "host": str(secret["host"]),
        "port": int(secret["port"]),
        "database": str(secret["dbname"]),
        "user": str(secret["username"]),
        "password": str(secret["password"]),
    }


async def _refused(place: Mapping[str, Any], user: str, password: str) -> bool:
    """Whether the database does not let a user in with that password."""
    try:
        connection = await asyncpg.connect(**{**place, "user": user, "password": password})
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        return True
    await connection.close()
    return False


async def _run(url: str | None, owner: str | None, phase: Phase, roles: bool, secrets: Sequence[str]) -> int:
    place = await _place(url, owner)
    held = {str(secret["username"]): str(secret["password"]) for secret in await _read(secrets)}
    # A password that lets in is left alone: rotation may be about to make another one the current one.
    passwords = {user: password for user, password in held.items() if await _refused(place, user, password)}
    connection = await asyncpg.connect(**place)
    try:
        if roles or held:
            await ensure_roles(connection, passwords)
        return await apply(connection, phase)
    finally:
        await connection.close()


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m metadata_svc.migrate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: $DATABASE_URL")
    parser.add_argument("--owner", metavar="NAME", help="database secret of the owner, instead of an URL")
    parser.add_argument("--phase", choices=["pre", "post", "all"], default="all", help="which side of a rollout")
    parser.add_argument("--roles", action="store_true", help="make the roles first; needs the right to")
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME",
        help="database secret whose user gets the password it holds, unless that lets in already; implies --roles; "
        "can be repeated",
    )
    options = parser.parse_args()
    if not (options.database_url or options.owner):
        parser.error("no database: give --owner or --database-url, or set DATABASE_URL")
    try:
        ran = asyncio.run(_run(options.database_url, options.owner, options.phase, options.roles, options.secret))
    except MigrationError as error:
        sys.exit(f"migrate: {error}")
    sys.stdout.write(f"{ran} migration(s) applied\n")


if __name__ == "__main__":
    main()
