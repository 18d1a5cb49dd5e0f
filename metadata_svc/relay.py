"""Sends what the outbox holds: commands to the queue, events to the topic; at least once, whatever dies in between."""

from __future__ import annotations

import asyncio

import structlog

from metadata_svc.ports import Outbox, Publisher
from runtime.errors import DarkroomError

_log = structlog.get_logger(__name__)


class Relay:
    """Takes due messages, sends them, removes those that were taken. Any number of processes may run one."""

    def __init__(
        self, outbox: Outbox, publisher: Publisher, *, interval: float, first_retry: float, longest_retry: float
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._interval = interval
        self._first_retry = first_retry
        self._longest_retry = longest_retry
        self._woken = asyncio.Event()
        self._more = False  # the last round left something that is due

    def wake(self) -> None:
        """Says that a message was just written: it need not wait for the next look."""
        self._woken.set()

    async def run(self) -> None:
        """Relays until it is cancelled. A message in hand then is sent again by whoever finds its claim run out."""
        while True:
            self._woken.clear()
            try:
                if await self.round() and self._more:
                    continue
            except DarkroomError as error:
                _log.warning("outbox not reachable", error=error.detail)
            try:
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def round(self) -> int:
        """Sends what is due now; returns how many messages were sent."""
        messages = await self._outbox.claim()
        if not messages:
            return 0
        sent = await self._publisher.publish(messages)
        failed = [(m.id, self._wait(m.attempts)) for m in messages if m.id not in sent]
        if failed:
            _log.warning("messages not sent", count=len(failed))
        self._more = await self._outbox.settle([m.id for m in messages if m.id in sent], failed)
        return len(sent)

    def _wait(self, attempts: int) -> float:
        """Seconds until the next try of a message that was tried so often."""
        return min(self._first_retry * 2.0 ** min(attempts - 1, 30), self._longest_retry)
