"""Watches the dead-letter queue: an image whose message ended there is FAILED, and its client is told.

The messages stay where they are, for the redrive tool. They are hidden only while they are looked at, because a
redrive moves what is visible.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import structlog

from image_svc.domain import problems
from image_svc.domain.messages import Created, Order, Task, Unreadable, parse
from image_svc.domain.model import Message
from image_svc.ports import Metadata, Queue, Unreachable

_log = structlog.get_logger(__name__)

_RECEIVE_MOST: Final = 10
# Seconds. A receive that waits asks all of SQS's servers; one that does not may miss the few messages there are.
_WAIT: Final = 1
# Messages remembered as handled; beyond that the oldest are handled again, which changes nothing.
_REMEMBERED: Final = 20_000
_CAUSE: Final = "Processing was given up after many tries"


@dataclass(frozen=True, slots=True)
class DeadLetterLimits:
    """Seconds between two looks and of hiding what one saw, and how many receives one look makes at most."""

    interval: float
    hidden: float
    batches: int


class DeadLetters:
    """The watcher. `bucket` is the incoming one. Each message is handled once in the life of a process."""

    def __init__(self, queue: Queue, metadata: Metadata, limits: DeadLetterLimits, *, bucket: str) -> None:
        self._queue = queue
        self._metadata = metadata
        self._limits = limits
        self._bucket = bucket
        self._handled: OrderedDict[str, None] = OrderedDict()

    async def run(self) -> None:
        """Looks now and then, until cancelled."""
        while True:
            # Spread, so that the processes of one service do not look at the same time.
            await asyncio.sleep(self._limits.interval * random.uniform(0.5, 1.0))  # noqa: S311 - protects nothing
            try:
                await self.look()
            except Unreachable as error:
                _log.warning("dead letters not read", reason=str(error))
            except Exception:
                _log.exception("dead letters not read")

    async def look(self) -> None:
        """Handles what is there and was not handled yet."""
        for _ in range(self._limits.batches):
            messages = await self._queue.receive(most=_RECEIVE_MOST, wait=_WAIT, visibility=self._limits.hidden)
            for message in messages:
                if message.id not in self._handled:
                    await self._handle(message)
            if len(messages) < _RECEIVE_MOST:
                return

    async def _handle(self, message: Message) -> None:
        try:
            items = parse(message.body, bucket=self._bucket)
        except Unreadable as error:
            _log.error("dead letter cannot be read", message_id=message.id, reason=str(error))
            items = []
        for item in items:
            match item:
                case Created(key) | Order(task=Task.PROCESS, original_key=key):
                    await self._metadata.abandon(key, problems.failed(_CAUSE), message.sent_at)
                    _log.error("dead letter: image failed", message_id=message.id, key=key)
                case Order(task=task, image_id=image_id):
                    # metadata_svc orders it again by itself: no image fails for it.
                    _log.error(
                        "dead letter: order not executed", message_id=message.id, task=task.value, image=image_id
                    )
                case _:
                    pass
        self._handled[message.id] = None
        if len(self._handled) > _REMEMBERED:
            self._handled.popitem(last=False)
