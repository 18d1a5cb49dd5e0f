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

from metadata_svc.adapters.credentials import LoginError, Logins
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
    LoginError,
    OSError,
)
# Seconds before the secret is read again after a refused login: at once for a rotation that is over, then as long as
# one may take. Open connections go on meanwhile.
_ROTATION_WAITS: Final = (0.0, 0.1, 0.3, 1.0)

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
    """Runs named statements. Every failure is a `DarkroomError`; a connection that may be bad is dropped.

    A connection that nobody waits for is parked here instead of going back to the pool between two statements: asyncpg
    makes a task, a time-out and a timer for each return, which costs twice as much as a statement. The pool still makes
    the connections, counts them and closes them.
    """

    def __init__(self, pool: Any, statements: Mapping[str, str], options: PoolOptions) -> None:
        self._pool = pool
        self._statements = statements
        self._options = options
        self._parked: list[Any] = []
        self._waiting = 0

    async def fetch(self, name: str, *arguments: Any, timeout: float | None = None) -> Sequence[asyncpg.Record]:
        """The rows of a statement, within `timeout` seconds (at most the pool's own statement time-out)."""
        options = self._options
        limit = options.statement_timeout if timeout is None else min(timeout, options.statement_timeout)
        if limit <= 0:
            raise DarkroomError(Kind.DEADLINE_EXCEEDED, "no time left to ask the database")
        try:
            connection = await self._taken(min(limit, options.acquire_timeout))
            try:
                rows: Sequence[asyncpg.Record] = await connection.fetch(
                    self._statements[name], *arguments, timeout=limit
                )
            except pg.ReadOnlySQLTransactionError:
                # We are still connected to what was the writer before a failover; so are the others.
                await self._pool.expire_connections()
                await self._pool.release(connection)
                await self.unpark()
                raise
            except BaseException:
                # Cancelled or lost: the pool finds out whether the connection can still be used.
                await self._pool.release(connection)
                raise
            if self._waiting or _is_closed(connection):
                await self._pool.release(connection)
            else:
                self._parked.append(connection)
        except _LATER as error:  # first: a TimeoutError is an OSError, too
            _log.warning("database gave no answer", statement=name, error=repr(error))
            raise DarkroomError(Kind.UNAVAILABLE, "the database is busy", retry_after=options.retry_after) from error
        except _LOST as error:
            _log.warning("database connection lost", statement=name, error=repr(error))
            raise DarkroomError(
                Kind.UNAVAILABLE, "the database is not reachable", retry_after=options.retry_after
            ) from error
        return rows

    async def row(self, name: str, *arguments: Any, timeout: float | None = None) -> asyncpg.Record | None:
        """The first row of a statement, or None."""
        rows = await self.fetch(name, *arguments, timeout=timeout)
        return rows[0] if rows else None

    async def unpark(self) -> None:
        """Gives parked connections back to the pool, which closes those that are too old or idle for too long."""
        parked, self._parked = self._parked, []
        for connection in parked:
            if not _is_closed(connection):
                await self._pool.release(connection)

    async def _taken(self, timeout: float) -> Any:
        while self._parked:
            connection = self._parked.pop()
            if not _is_closed(connection):
                return connection
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=timeout)
        finally:
            self._waiting -= 1


@asynccontextmanager
async def connected(
    logins: Logins, statements: Mapping[str, str], options: PoolOptions, *, name: str
) -> AsyncIterator[Database]:
    """A pool for the length of the block. Its first connection is made at once, so that a wrong login shows at start.

    `name` is what the server shows in pg_stat_activity.
    """

    async def connect(*_: Any, **kwargs: Any) -> Any:
        login = await logins.current()
        for wait in _ROTATION_WAITS:
            try:
                return await _connect(login, kwargs)
            except (pg.InvalidPasswordError, pg.InvalidAuthorizationSpecificationError):
                # Rotated since we last looked, or just now: secret and server do not change in the same moment.
                await asyncio.sleep(wait)
                login = await logins.refreshed()
        return await _connect(login, kwargs)

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

    try:
        pool = await asyncpg.create_pool(
            min_size=1,
            max_size=options.size,
            max_inactive_connection_lifetime=options.idle_seconds,
            connect=connect,
            reset=_no_reset,
        )
    except (*_LOST, *_LATER) as error:
        raise DarkroomError(
            Kind.UNAVAILABLE, "cannot connect to the database", retry_after=options.retry_after
        ) from error
    database = Database(pool, statements, options)
    try:
        yield database
    finally:
        await database.unpark()
        try:
            await asyncio.wait_for(pool.close(), options.statement_timeout)
        except TimeoutError:
            pool.terminate()


def _is_closed(connection: Any) -> bool:
    """Whether a connection taken from the pool has ended; the pool itself has then let go of it."""
    try:
        closed: bool = connection.is_closed()
    except pg.InterfaceError:
        return True
    return closed


async def _no_reset(_connection: Any) -> None:
    return None
