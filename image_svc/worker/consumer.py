"""Takes messages off the queue, no more than can be started soon, and gives back what will not be finished.

Cancellation means: stop, drain, re-raise (as procrastinate's worker does). Every message is settled alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from image_svc.domain.backoff import backoff
from image_svc.domain.model import Disposition, Done, Later, Leave, Message
from image_svc.ports import Metadata, Queue, ReceiptLost, Unreachable
from image_svc.worker.acks import Acks
from image_svc.worker.hold import Hold, Rhythm, Why

_log = structlog.get_logger(__name__)

# SQS's own bound of a receive.
_RECEIVE_MOST: Final = 10
# Seconds between tries while SQS does not answer.
_PAUSE_FIRST: Final = 0.5
_PAUSE_LONGEST: Final = 20.0
# Seconds beyond its wait after which a receive is given up: well before a silent consumer counts as hung.
_RECEIVE_SLACK: Final = 10.0
# Seconds. How often a waiting consumer says that it is alive.
_STAMP: Final = 5.0


@dataclass(frozen=True, slots=True)
class ConsumerLimits:
    """`in_hand` messages at most, `prefetch` of them beyond the slots; the rest are seconds, as `Settings` explains
    them.
    """

    in_hand: int
    prefetch: int
    rhythm: Rhythm
    receive_wait: float
    poll_grace: float
    drain: float
    hand_back: float

    @property
    def refill(self) -> int:
        """Messages that are received at a time while there is a backlog: fewer calls, and never an idle slot."""
        return max(1, (self.prefetch + 1) // 2)


class Consumer:
    """The intake loop and the messages in hand."""

    def __init__(
        self,
        queue: Queue,
        metadata: Metadata,
        handle: Callable[[Hold], Awaitable[Disposition]],
        limits: ConsumerLimits,
    ) -> None:
        self._queue = queue
        self._metadata = metadata
        self._handle = handle
        self._limits = limits
        self._acks = Acks(queue)
        self._tasks: dict[asyncio.Task[None], Hold] = {}
        self._freed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stopped_at = 0.0
        self._alive_at = time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds since the intake last gave a sign of life. It gives none once it has stopped."""
        return 0.0 if self._stopping.is_set() else time.monotonic() - self._alive_at

    @property
    def in_hand(self) -> int:
        """How many messages are in hand now."""
        return len(self._tasks)

    def stop(self) -> None:
        """Stops the intake at once and starts the drain; `run` ends with it."""
        if self._stopping.is_set():
            return
        self._stopped_at = time.monotonic()
        self._stopping.set()
        _log.info("draining", in_hand=self.in_hand)
        # An attempt that has not begun fits into another worker's day better than into the rest of ours.
        for hold in self._tasks.values():
            if hold.attempt is None:
                hold.interrupt(Why.DRAINING)

    async def run(self) -> None:
        """Works until `stop` or cancellation, then drains. A cancellation never cuts a drain: it ends by itself."""
        work = asyncio.create_task(self._run(), name="consumer work")
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait([work])
            raise

    async def _run(self) -> None:
        intake = asyncio.create_task(self._take_in(), name="intake")
        await asyncio.wait([intake])
        self.stop()  # if the intake died, what is in hand is not to suffer for it
        await self._drain(intake)
        intake.result()

    async def _take_in(self) -> None:
        failures, backlog = 0, False
        while not self._stopping.is_set():
            free = await self._room(self._limits.refill if backlog else 1)
            if self._stopping.is_set():
                return
            most = min(free, _RECEIVE_MOST)
            try:
                messages = await self._receive(most)
            except Unreachable as error:
                failures += 1
                pause = backoff(failures, first=_PAUSE_FIRST, longest=_PAUSE_LONGEST)
                _log.warning("queue unreachable", reason=str(error), retry_in=round(pause, 1))
                await self._until_stop(pause)
                continue
            failures, backlog = 0, len(messages) == most
            for message in messages:
                self._take(message)

    async def _room(self, least: int) -> int:
        while True:
            self._alive_at = time.monotonic()
            free = self._limits.in_hand - len(self._tasks)
            if free >= least or self._stopping.is_set():
                return free
            self._freed.clear()
            try:
                async with asyncio.timeout(_STAMP):
                    await self._freed.wait()
            except TimeoutError:
                continue

    async def _receive(self, most: int) -> list[Message]:
        poll = asyncio.create_task(
            self._queue.receive(most=most, wait=self._limits.receive_wait, visibility=self._limits.rhythm.lease)
        )
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            patience = self._limits.receive_wait + _RECEIVE_SLACK
            await asyncio.wait([poll, stopped], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not poll.done() and not stopped.done():
                raise Unreachable(f"SQS: no answer within {patience:.0f} s")
            if not poll.done():
                await asyncio.wait([poll], timeout=self._limits.poll_grace)
            return poll.result() if poll.done() else []
        finally:
            stopped.cancel()
            poll.cancel()

    async def _until_stop(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _take(self, message: Message) -> None:
        hold = Hold(message, self._queue, self._metadata, self._limits.rhythm)
        if self._stopping.is_set():
            hold.interrupt(Why.DRAINING)
        task = asyncio.create_task(self._work(hold), name=f"message {message.id}")
        self._tasks[task] = hold
        task.add_done_callback(self._released)

    def _released(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._freed.set()
        if not task.cancelled() and task.exception() is not None:
            _log.error("message left to come back", task=task.get_name(), exc_info=task.exception())

    async def _work(self, hold: Hold) -> None:
        message = hold.message
        with structlog.contextvars.bound_contextvars(message_id=message.id):
            async with hold:
                disposition = await self._handle(hold)
            # The heartbeat has ended: nothing extends any more what is given back here.
            match disposition:
                case Done():
                    self._acks.add(message.receipt)
                case Later(seconds):
                    await self._give_back(message, seconds)
                case Leave():
                    pass

    async def _give_back(self, message: Message, seconds: float) -> None:
        try:
            await self._queue.keep(message.receipt, seconds)
        except ReceiptLost:
            _log.info("message was not in hand any more")
        except Unreachable as error:
            _log.warning("message comes back with its lease's end", reason=str(error))

    async def _drain(self, intake: asyncio.Task[None]) -> None:
        deadline = self._stopped_at + self._limits.drain - self._limits.hand_back
        await asyncio.wait([intake], timeout=self._limits.poll_grace + self._limits.hand_back)
        intake.cancel()
        await self._wait_for_work(max(0.0, deadline - time.monotonic()))
        if self._tasks:
            _log.info("handing back", in_hand=self.in_hand)
            for hold in self._tasks.values():
                hold.interrupt(Why.DRAINING)
            await self._wait_for_work(self._limits.hand_back)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            _log.warning("messages come back with their lease's end", count=len(left))
            await asyncio.wait(left, timeout=self._limits.hand_back)
        try:
            async with asyncio.timeout(self._limits.hand_back):
                await self._acks.flush()
        except TimeoutError:
            _log.warning("messages not deleted in time; they come back")

    async def _wait_for_work(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
