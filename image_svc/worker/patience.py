"""Waiting out what is not our fault, and seeing through what must not be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import stamina

from image_svc.ports import Unreachable

_T = TypeVar("_T")

# Seconds. A dependency that restarts is back within a few; the longest pause bounds how late we notice.
_FIRST: Final = 0.2
_LONGEST: Final = 5.0
_JITTER: Final = 1.0


async def patiently(call: Callable[[], Awaitable[_T]], patience: float) -> _T:
    """Repeats a call as long as its dependency cannot be reached, for `patience` seconds, with jittered pauses."""
    try:
        return await call()
    except Unreachable:
        pass
    async for attempt in stamina.retry_context(
        on=Unreachable,
        attempts=None,
        timeout=patience,
        wait_initial=_FIRST,
        wait_max=_LONGEST,
        wait_jitter=_JITTER,
    ):
        if attempt.num == 1:
            await asyncio.sleep(_FIRST)  # the try before this one failed, too
        with attempt:
            return await call()
    raise AssertionError("stamina either returns or raises")


async def seen_through(call: Coroutine[Any, Any, _T]) -> _T:
    """Awaits a call that must not be cut. A cancellation waits for its end, and yields to its result if it has one."""
    task = asyncio.create_task(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])  # bounded by the call's own deadline
        if task.cancelled() or task.exception() is not None:
            raise
        return task.result()
