"""Deletes messages in batches: those that end while one batch is on its way make up the next one."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from image_svc.ports import Queue, Unreachable

_log = structlog.get_logger(__name__)

# SQS's own bound of a batch.
_BATCH: Final = 10


class Acks:
    """Deletes what is done. Nothing waits for a timer: a lone message is deleted at once."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: list[tuple[str, asyncio.Future[bool]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def delete(self, receipt: str) -> bool:
        """Deletes a message. False where it could not: it comes back, and is found settled."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((receipt, future))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await future

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                left = await self._delete([receipt for receipt, _ in batch])
                for receipt, future in batch:
                    if not future.done():
                        future.set_result(receipt not in left)
        finally:
            self._sending = None

    async def _delete(self, receipts: list[str]) -> set[str]:
        try:
            left = await self._queue.delete(receipts)
        except Unreachable as error:
            _log.warning("messages not deleted; they come back", count=len(receipts), reason=str(error))
            return set(receipts)
        except Exception:
            _log.exception("messages not deleted; they come back", count=len(receipts))
            return set(receipts)
        if left:
            _log.warning("messages not deleted; they come back", count=len(left))
        return set(left)
