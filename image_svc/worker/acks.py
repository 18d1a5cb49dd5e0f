"""Deletes messages in batches, because a call costs as much for ten as for one."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from image_svc.ports import Queue, Unreachable

_log = structlog.get_logger(__name__)

# SQS's own bound of a batch.
_BATCH: Final = 10
# Seconds between two batches: a busy core ends some ten messages in so many. What is done is no worse for a second in
# the queue; should this process be killed in it, the message comes back and is found settled.
_GATHER: Final = 1.0


class Acks:
    """Deletes what is done. A lone message is deleted at once, those that follow it within a second together."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: list[str] = []
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = -_GATHER

    def add(self, receipt: str) -> None:
        """Has a message deleted. Where that fails, it comes back."""
        self._waiting.append(receipt)
        self._plan()

    async def flush(self) -> None:
        """Returns when everything that was added has been tried."""
        while self._waiting or self._sending is not None:
            await asyncio.wait([self._started()])

    def _plan(self) -> None:
        if not self._waiting or self._sending is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._sent_at + _GATHER
        if len(self._waiting) >= _BATCH or loop.time() >= due:
            self._started()
        elif self._timer is None:
            self._timer = loop.call_at(due, self._started)

    def _started(self) -> asyncio.Task[None]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="acks")
        return self._sending

    async def _send(self) -> None:
        batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
        try:
            await self._delete(batch)
        finally:
            self._sending = None
            self._sent_at = asyncio.get_running_loop().time()
        self._plan()

    async def _delete(self, receipts: list[str]) -> None:
        try:
            left = await self._queue.delete(receipts)
        except Unreachable as error:
            _log.warning("messages not deleted; they come back", count=len(receipts), reason=str(error))
        except Exception:
            _log.exception("messages not deleted; they come back", count=len(receipts))
        else:
            if left:
                _log.warning("messages not deleted; they come back", count=len(left))
