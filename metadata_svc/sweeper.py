"""Does what is due by time alone. Any number of processes may sweep: they skip each other's rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from metadata_svc.ports import Sweep
from runtime.errors import DarkroomError

_log = structlog.get_logger(__name__)


class Sweeper:
    """Orders and leases at one interval, usage at another. `batch` is the most rows that a statement takes: a full one
    is followed by the next at once.
    """

    def __init__(
        self,
        sweep: Sweep,
        *,
        interval: float,
        fold_interval: float,
        batch: int,
        wake: Callable[[], None],
    ) -> None:
        self._sweep = sweep
        self._interval = interval
        self._fold_interval = fold_interval
        self._batch = batch
        self._wake = wake

    async def run(self) -> None:
        """Sweeps until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(self._interval, self.sweep))
            group.create_task(self._every(self._fold_interval, self.fold))

    async def _every(self, interval: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except DarkroomError as error:
                _log.warning("sweep put off", error=error.detail)
            await asyncio.sleep(interval)

    async def sweep(self) -> None:
        """One pass over everything but usage."""
        orders = await self._drained(self._sweep.images)
        if orders:
            self._wake()
            _log.info("orders given", count=orders)
        await self._drained(self._sweep.leases)

    async def fold(self) -> None:
        """One pass over usage."""
        await self._sweep.usage()

    async def _drained(self, work: Callable[[], Awaitable[int]]) -> int:
        total = 0
        while True:
            count = await work()
            total += count
            if count < self._batch:
                return total
