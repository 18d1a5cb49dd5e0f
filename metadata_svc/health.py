"""Readiness follows the database, without flapping: a short silence is retried over, a longer one is said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from runtime.errors import DarkroomError

_log = structlog.get_logger(__name__)


class DatabaseWatch:
    """Asks the database for a sign of life and says when readiness changes.

    Not ready after `unready_after` seconds of silence; ready again with the first two signs in a row.
    """

    def __init__(
        self,
        ping: Callable[[float], Awaitable[object]],
        set_ready: Callable[[bool], Awaitable[None]],
        *,
        interval: float,
        unready_after: float,
        clock: Callable[[], float],
    ) -> None:
        self._ping = ping
        self._set_ready = set_ready
        self._interval = interval
        self._unready_after = unready_after
        self._clock = clock
        self._ready = True
        self._signs = 0
        self._last_sign = clock()

    async def run(self) -> None:
        """Watches until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            await self.look()

    async def look(self) -> None:
        """Asks once."""
        try:
            await self._ping(max(self._interval, 1.0))
        except DarkroomError as error:
            self._signs = 0
            if self._ready and self._clock() - self._last_sign >= self._unready_after:
                _log.warning("not ready: the database is silent", error=error.detail)
                await self._change(False)
            return
        self._signs += 1
        self._last_sign = self._clock()
        if not self._ready and self._signs >= 2:
            _log.info("ready: the database answers again")
            await self._change(True)

    async def _change(self, ready: bool) -> None:
        self._ready = ready
        await self._set_ready(ready)
