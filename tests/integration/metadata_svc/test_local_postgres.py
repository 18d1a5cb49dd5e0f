"""The PostgreSQL of the local cluster and of the tests."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from deploy.local.postgres import admin_url, free_port, running
from tests.support.postgres import Database


async def test_each_service_role_reaches_its_database(database: Database) -> None:
    for url in (database.app_url, database.maintenance_url, database.owner_url):
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT current_database()") == database.name
        await connection.close()


async def test_sigterm_stops_the_server_at_once_even_with_a_client_connected(tmp_path: Path) -> None:
    port = free_port()
    data = tmp_path / "data"
    command = [sys.executable, "-m", "deploy.local.postgres", "--data", str(data), "--port", str(port)]
    server = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    connection = None
    for _ in range(200):
        try:
            connection = await asyncpg.connect(admin_url(data, port))
            break
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.05)
    assert connection is not None
    assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
    server.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(server.wait(), 10) == 0
    connection.terminate()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncpg.connect(admin_url(data, port))


def test_an_existing_server_is_used_where_database_url_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/x")
    with running(tmp_path / "data") as url:
        assert url == "postgresql://elsewhere/x"
    assert not (tmp_path / "data").exists()
