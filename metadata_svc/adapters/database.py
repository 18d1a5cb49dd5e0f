"""A pool of connections for one role: time-outs, a fresh password for each connection, errors as callers know them.

Pooled connections hold no session state (no SET, LISTEN, advisory lock or temporary table), so the pool's reset query
is off: that saves a round trip a call. What a transaction needs is set for its own length by the SQL functions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import structlog
from asyncpg import exceptions as pg

from metadata_svc.adapters.credentials import Logins
from runtime.errors import DarkroomError, Kind

_log = structlog.get_logger(__name__)

_LOST: Final = (
    pg.PostgresConnectionError,
    pg.ConnectionDoesNotExistError,
    pg.InterfaceError,
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.CannotConnectNowError,
    pg.ReadOnlySQLTransactionError,
    pg.InvalidAuthorizationSpecificationError,
    pg.TargetServerAttributeNotMatched,
    OSError,
)
_LATER: Final = (
    pg.TooManyConnectionsError,
    pg.QueryCanceledError,
    pg.LockNotAvailableError,
    pg.SerializationError,
    pg.DeadlockDetectedError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Sizes and times of one pool, in connections and seconds."""

    size: int
    acquire_timeout: float
    connect_timeout: float
    statement_timeout: float
    idle_seconds: float
    retry_after: float
    ssl: str


class Database:
    """Runs named statements. Every failure is a `DarkroomError`; a connection that may be bad is dropped."""

    def __init__(self, pool: Any, statements: Mapping[str, str], options: PoolOptions) -> None:
        self._pool = pool
        self._statements = statements
        self._options = options

    async def fetch(self, name: str, *arguments: Any, timeout: float | None = None) -> Sequence[asyncpg.Record]:
        """The rows of a statement, within `timeout` seconds (at most the pool's own statement time-out)."""
        options = self._options
        limit = options.statement_timeout if timeout is None else min(timeout, options.statement_timeout)
        if limit <= 0:
            raise DarkroomError(Kind.DEADLINE_EXCEEDED, "no time left to ask the database")
        try:
            connection = await self._pool.acquire(timeout=min(limit, options.acquire_timeout))
            try:
                rows: Sequence[asyncpg.Record] = await connection.fetch(
                    self._statements[name], *arguments, timeout=limit
                )
            except pg.ReadOnlySQLTransactionError:
                # We are still connected to what was the writer before a failover; so are the others.
                connection.terminate()
                await self._pool.expire_connections()
                raise
            finally:
                await self._pool.release(connection)
        except _LOST as error:
            _log.warning("database connection lost", statement=name, error=repr(error))
            raise DarkroomError(
                Kind.UNAVAILABLE, "the database is not reachable", retry_after=options.retry_after
            ) from error
        except _LATER as error:
            _log.warning("database gave no answer", statement=name, error=repr(error))
            raise DarkroomError(Kind.UNAVAILABLE, "the database is busy", retry_after=options.retry_after) from error
        return rows

    async def row(self, name: str, *arguments: Any, timeout: float | None = None) -> asyncpg.Record | None:
        """The first row of a statement, or None."""
        rows = await self.fetch(name, *arguments, timeout=timeout)
        return rows[0] if rows else None


@asynccontextmanager
async def connected(
    logins: Logins, statements: Mapping[str, str], options: PoolOptions, *, name: str
) -> AsyncIterator[Database]:
    """A pool for the length of the block. Its first connection is made at once, so that a wrong login shows at start.

    `name` is what the server shows in pg_stat_activity.
    """

    async def connect(*_: Any, **kwargs: Any) -> Any:
        login = await logins.current()
        try:
            return await _connect(login, kwargs)
        except (pg.InvalidPasswordError, pg.InvalidAuthorizationSpecificationError):
            # Rotated since we last looked.
            return await _connect(await logins.refreshed(), kwargs)

    async def _connect(login: Any, kwargs: dict[str, Any]) -> Any:
        return await asyncpg.connect(
            host=login.host,
            port=login.port,
            database=login.database,
            user=login.user,
            password=login.password,
            ssl=options.ssl,
            timeout=options.connect_timeout,
            target_session_attrs="read-write",
            server_settings={
                "application_name": name,
                # The client gives up first; this ends what it gave up on.
                "statement_timeout": str(int(options.statement_timeout * 1000)),
                "idle_in_transaction_session_timeout": str(int(options.statement_timeout * 2000)),
                "jit": "off",
                "timezone": "UTC",
            },
            **kwargs,
        )

    pool = await asyncpg.create_pool(
        min_size=1,
        max_size=options.size,
        max_inactive_connection_lifetime=options.idle_seconds,
        connect=connect,
        reset=_no_reset,
    )
    try:
        yield Database(pool, statements, options)
    finally:
        try:
            await asyncio.wait_for(pool.close(), options.statement_timeout)
        except TimeoutError:
            pool.terminate()


async def _no_reset(_connection: Any) -> None:
    return None
