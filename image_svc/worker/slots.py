"""How many uploaded images are developed at a time, in the order in which the queue brought them.

Rendering on demand has slots of its own, where tenants take turns: `image_svc.render.turns`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """`count` slots to be taken one by one, or all at once by who must be alone.

    In the order of asking: who needs all is not overtaken, so that no stream of single ones keeps it waiting.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Waits for a free slot and holds it."""
        await self._take(1)
        try:
            yield
        finally:
            self._give(1)

    @asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        """Waits until no slot is taken and holds every one."""
        await self._take(self._count)
        try:
            yield
        finally:
            self._give(self._count)

    async def _take(self, need: int) -> None:
        if not self._waiting and self._free >= need:
            self._free -= need
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (need, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(entry)
                self._give(0)  # whoever stood behind may be able to go now
            else:
                self._give(need)  # its turn came in the same moment
            raise

    def _give(self, count: int) -> None:
        self._free += count
        while self._waiting and self._waiting[0][0] <= self._free:
            need, turn = self._waiting.popleft()
            if turn.done():
                continue  # cancelled, and about to find out
            self._free -= need
            turn.set_result(None)
