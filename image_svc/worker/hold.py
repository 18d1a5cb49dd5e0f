"""A message in hand: kept invisible by a heartbeat, together with the lease of the attempt that it led to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from image_svc.domain.model import Attempt, Message
from image_svc.ports import Metadata, Queue, ReceiptLost, StaleAttempt, Unreachable

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Why(Enum):
    """Why work is interrupted."""

    DRAINING = "draining"
    STALE = "stale"


class Interrupted(Exception):  # noqa: N818 - an order, not an error
    """The work shall end now, for this reason."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds: how long a message and its attempt are ours, and how often both are extended."""

    lease: float
    heartbeat: float


class Hold:
    """A message in hand. As a context manager it runs the heartbeat.

    `attempt` is set while an attempt is running: its lease is extended with the message. A heartbeat that learns that
    the attempt is stale interrupts the work. One that reaches nobody does not: while metadata_svc is away, nobody else
    can start an attempt either, and the fence refuses whatever comes too late.
    """

    def __init__(self, message: Message, queue: Queue, metadata: Metadata, rhythm: Rhythm) -> None:
        self.message = message
        self.rhythm = rhythm
        self.attempt: Attempt | None = None
        self._queue = queue
        self._metadata = metadata
        self._why: Why | None = None
        self._work: asyncio.Task[Any] | None = None
        self._first_beat: asyncio.TimerHandle | None = None
        self._beat: asyncio.Task[None] | None = None
        self._extension: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        # A task only for work that lasts: most is done before the first beat.
        self._first_beat = asyncio.get_running_loop().call_later(self.rhythm.heartbeat, self._start_beating)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._first_beat is not None:
            self._first_beat.cancel()
        if self._beat is None:
            return
        self._beat.cancel()
        # An extension under way must not arrive after the message was given back.
        under_way = [task for task in (self._beat, self._extension) if task is not None]
        await asyncio.wait(under_way, timeout=self.rhythm.heartbeat)

    def interrupt(self, why: Why) -> None:
        """Ends what runs in `interruptible`, now or as soon as it starts. The first reason counts."""
        self._why = self._why or why
        if self._work is not None:
            self._work.cancel()

    async def interruptible(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Does work that `interrupt` may end. Raises `Interrupted` if it did, and the work had no result yet."""
        if self._why is not None:
            work.close()
            raise Interrupted(self._why)
        task: asyncio.Task[_T] = asyncio.create_task(work)
        self._work = task
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            self._work = None
        if task.cancelled() and self._why is not None:
            raise Interrupted(self._why)
        return task.result()

    def _start_beating(self) -> None:
        self._beat = asyncio.create_task(self._keep_alive(), name=f"heartbeat {self.message.id}")

    async def _keep_alive(self) -> None:
        while True:
            # The lease first, so that it ends before the message comes back and is not found busy.
            await self._renew()
            self._extension = asyncio.create_task(self._extend())
            await asyncio.shield(self._extension)
            await asyncio.sleep(self.rhythm.heartbeat)

    async def _renew(self) -> None:
        attempt = self.attempt
        if attempt is None:
            return
        try:
            await self._metadata.renew(attempt, self.rhythm.lease)
        except StaleAttempt:
            if self.attempt is attempt:  # it may have been settled meanwhile, by ourselves
                self.interrupt(Why.STALE)
        except Unreachable as error:
            _log.warning("lease not renewed", attempt=attempt.number, reason=str(error))
        except Exception:
            _log.exception("lease not renewed", attempt=attempt.number)

    async def _extend(self) -> None:
        try:
            await self._queue.keep(self.message.receipt, self.rhythm.lease)
        except ReceiptLost:
            # Somebody may get the message again and will find the attempt running: the lease is what protects it.
            _log.warning("message no longer in hand", message_id=self.message.id)
        except Unreachable as error:
            _log.warning("message not extended", message_id=self.message.id, reason=str(error))
        except Exception:
            _log.exception("message not extended", message_id=self.message.id)
