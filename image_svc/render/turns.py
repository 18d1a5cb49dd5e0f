"""Whose rendering gets the next free slot: tenants in turn, a bounded number waiting.

Somebody waits for each of these, so a queue that is longer than their patience is no use: beyond it, the answer is to
come again. Within it, tenants take turns, so that one with many does not keep the others waiting.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class QueueFull(Exception):  # noqa: N818 - what the queue is
    """Too many wait already. `own`: too many of the tenant's own."""

    def __init__(self, *, own: bool) -> None:
        super().__init__("too many of this tenant wait" if own else "too many wait")
        self.own = own


class Turns:
    """`slots` at a time; at most `waiting` in the queue, `waiting_of_one` of them of one tenant."""

    def __init__(self, slots: int, *, waiting: int, waiting_of_one: int) -> None:
        self._free = slots
        self._most = waiting
        self._most_of_one = waiting_of_one
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._queues.values()))

    @asynccontextmanager
    async def one(self, tenant_id: str) -> AsyncIterator[None]:
        """Waits for a slot and holds it. Raises `QueueFull`."""
        await self._take(tenant_id)
        try:
            yield
        finally:
            self._give()

    async def _take(self, tenant_id: str) -> None:
        if self._free > 0:  # then nobody waits
            self._free -= 1
            return
        if len(self._queues.get(tenant_id, ())) >= self._most_of_one:
            raise QueueFull(own=True)
        if self.waiting >= self._most:
            raise QueueFull(own=False)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(tenant_id, turn)
            else:
                self._give()  # its turn came in the same moment
            raise

    def _leave(self, tenant_id: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(tenant_id)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[tenant_id]

    def _give(self) -> None:
        while self._queues:
            tenant_id, queue = next(iter(self._queues.items()))
            turn = queue.popleft()
            if queue:
                self._queues.move_to_end(tenant_id)
            else:
                del self._queues[tenant_id]
            if not turn.done():  # else cancelled, and about to find out
                turn.set_result(None)
                return
        self._free += 1
