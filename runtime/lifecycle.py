"""A process's life: build, serve until SIGTERM, then leave in the opposite order.

A service's `build` enters everything it needs on one `AsyncExitStack`: first pools, then background work, then the
server, then readiness. Leaving therefore first says "not ready", then stops the intake, lets work in hand end, and
closes the pools last.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import structlog
import uvloop

from runtime import logs
from runtime.settings import SettingsError

_log = structlog.get_logger(__name__)

# Objects made and not yet freed after which the collector looks for cycles. Python's own 700 is one call in work: it
# would look again and again at what is about to be freed by itself.
_YOUNG: Final = 5_000
# Bytes, by the name's number in glibc's malloc.h (M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD): what the heap keeps
# when it was freed, what it grows by, and from what size on a block lives outside of it. A body in transit (a piece of
# a photo, a variant) is freed a moment later: glibc's own 128 KiB would give its pages back to the kernel, which clears
# them for the next one. 300 page faults of an image, and a twentieth of a worker's CPU.
_KEPT: Final = {-1: 4 * 1024 * 1024, -2: 1024 * 1024, -3: 4 * 1024 * 1024}


class Lifecycle:
    """What `build` gets: the stack of what is to be closed, and the tasks that must live as long as the process."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.stopping = asyncio.Event()
        self.failed = False

    def background(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Runs work beside the server, and cancels it on the way out.

        If it fails, the process ends with status 1, so that the supervisor (ECS, or supervisord on one machine)
        starts a sound one.
        """
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self.stack.push_async_callback(_cancelled, task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        _log.error("background task failed; the process ends", task=task.get_name(), exc_info=task.exception())
        self.failed = True
        self.stopping.set()


async def _cancelled(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _live(build: Callable[[Lifecycle], Awaitable[None]]) -> int:
    started = time.monotonic()
    life = Lifecycle()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, life.stopping.set)
    async with life.stack:
        if await _built(build, life):
            _spare_the_collector()
            _keep_memory()
            _log.info("ready", seconds=round(time.monotonic() - started, 3))
            await life.stopping.wait()
        _log.info("stopping")
    _log.info("stopped")
    return 1 if life.failed else 0


def _spare_the_collector() -> None:
    """What was loaded and built stays, so that looking through it for cycles (30 ms and more) would be in vain."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def _keep_memory() -> None:
    """Has the heap keep what it frees, up to a bound, where the C library is glibc."""
    with suppress(AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        for option, size in _KEPT.items():
            set_option(option, size)


async def _built(build: Callable[[Lifecycle], Awaitable[None]], life: Lifecycle) -> bool:
    """Builds, unless the process is told to stop before that is done."""
    building = asyncio.ensure_future(build(life))
    stopping = asyncio.create_task(life.stopping.wait())
    await asyncio.wait([building, stopping], return_when=asyncio.FIRST_COMPLETED)
    if building.done():
        stopping.cancel()
        building.result()
        return True
    await _cancelled(building)
    return False


def run(service: str, build: Callable[[Lifecycle], Awaitable[None]]) -> None:
    """Runs a service and ends the process: with status 0 after a drain, 1 after a failure."""
    logs.configure(service)
    try:
        status = uvloop.run(_live(build))
    except SettingsError as error:
        _log.error("cannot start", reason=str(error))
        status = 2
    except Exception:
        _log.exception("cannot start, or died")
        status = 1
    sys.exit(status)


def once(service: str, work: Callable[[AsyncExitStack], Awaitable[bool]]) -> int:
    """Runs a command that ends by itself, and returns the process's status: 0 where `work` says that all is done, 1
    where it says that not, where it fails, and where SIGTERM cuts it. What it enters on the stack is closed.
    """
    logs.configure(service)
    try:
        return 0 if uvloop.run(_once(work)) else 1
    except SettingsError as error:
        _log.error("cannot start", reason=str(error))
    except asyncio.CancelledError:
        _log.warning("told to stop before the end")
    except Exception:
        _log.exception("died")
    return 1


async def _once(work: Callable[[AsyncExitStack], Awaitable[bool]]) -> bool:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("not in a task")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    async with AsyncExitStack() as stack:
        return await work(stack)
