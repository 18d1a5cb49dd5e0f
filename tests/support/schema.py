"""`metadata_svc/schema.sql`: the schema as it stands after all migrations, for people to read and tests to compare.

    python -m tests.support.schema

writes it anew after a migration was added.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg

from deploy.local import postgres
from metadata_svc import migrate

SCHEMA: Final = Path(migrate.__file__).resolve().parent / "schema.sql"
_HEAD: Final = "-- Generated from the migrations by `python -m tests.support.schema`; a test compares the two.\n\n"
# Lines of pg_dump that say how to load a dump, not what is in it; some differ from run to run.
_NOISE: Final = ("--", "SET ", "SELECT pg_catalog.set_config", "\\")


def dump(url: str) -> str:
    """The schema of a database, in a form that does not depend on the server's version."""
    parts = urlsplit(url)
    # The newer pg_dump reads older servers too.
    program = postgres.binaries(Path("/nonexistent")).parents[1] / "pginstall18" / "bin" / "pg_dump"
    done = subprocess.run(
        [
            str(program),
            "--schema-only",
            f"--host={parts.hostname}",
            f"--port={parts.port or 5432}",
            f"--username={unquote(parts.username or '')}",
            f"--dbname={parts.path.lstrip('/')}",
            "--schema=darkroom",
        ],
        env={"PGPASSWORD": unquote(parts.password or "")},
        capture_output=True,
        text=True,
        check=True,
    )
    lines: list[str] = []
    for line in done.stdout.splitlines():
        if line.startswith(_NOISE) or (not line.strip() and (not lines or not lines[-1])):
            continue
        lines.append(line.rstrip())
    return "\n".join(lines).strip() + "\n"


async def _migrated(url: str) -> None:
    connection = await asyncpg.connect(url)
    await migrate.ensure_roles(connection, {})
    await migrate.apply(connection)
    await connection.close()


def main() -> None:
    """Writes schema.sql from a replay of the migrations."""
    quiet = {**postgres.VOLATILE, "log_min_messages": "fatal"}
    with tempfile.TemporaryDirectory() as folder, postgres.running(Path(folder) / "data", settings=quiet) as url:
        asyncio.run(_migrated(url))
        SCHEMA.write_text(_HEAD + dump(url))


if __name__ == "__main__":
    main()
