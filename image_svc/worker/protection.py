"""When a task asks not to be stopped: while it has work in hand, but never for so long that a roll-out waits for it.

Everything in hand survives a stop anyway (drained or handed back). Protection makes ECS choose an idle task when it
scales in, and leaves a busy one its work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from image_svc.ports import Protection, Unreachable

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProtectionLimits:
    """Seconds, but for the minutes that ECS counts protection in.

    `look`: between two looks at what is in hand. `minutes`: how long one request protects. `longest`: a stretch of
    protection, after which the task is free to be stopped for `pause`, however busy.
    """

    look: float
    minutes: int
    longest: float
    pause: float


class Protector:
    """Decides from the number of messages in hand; `wants` is pure but for what it remembers."""

    def __init__(self, limits: ProtectionLimits) -> None:
        self._limits = limits
        self._since: float | None = None  # of the present stretch
        self._renewed = 0.0
        self._free_until = float("-inf")

    def wants(self, now: float, in_hand: int) -> bool | None:
        """What to tell ECS: True to protect (anew), False to end it, None for nothing. `now` is a steady clock's."""
        if self._since is None:
            if in_hand and now >= self._free_until:
                self._since = self._renewed = now
                return True
            return None
        if not in_hand:
            self._since = None
            return False
        if now - self._since >= self._limits.longest:
            self._since = None
            self._free_until = now + self._limits.pause
            return False
        if now - self._renewed >= self._limits.minutes * 60 / 2:
            self._renewed = now
            return True
        return None

    def forget(self) -> None:
        """What was wanted was not done: it is wanted again at the next look."""
        self._since = None


async def keep_protected(
    protection: Protection, in_hand: Callable[[], int], limits: ProtectionLimits, clock: Callable[[], float]
) -> None:
    """Looks again and again, until cancelled. An agent that does not answer costs a line in the log, nothing else."""
    protector = Protector(limits)
    while True:
        wanted = protector.wants(clock(), in_hand())
        if wanted is not None:
            try:
                await protection.set(limits.minutes if wanted else None)
            except Unreachable as error:
                protector.forget()
                _log.warning("task protection not changed", wanted=wanted, reason=str(error))
        await asyncio.sleep(limits.look)
