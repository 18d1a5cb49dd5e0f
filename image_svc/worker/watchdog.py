"""Ends a process whose event loop or consumer is stuck, so that the supervisor starts a sound one.

Nothing is lost by it: what was in hand comes back when its lease has run out.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

# Looks in the time that something may be silent. They are counted instead of reading a clock: a process that was
# frozen from outside (SIGSTOP, a paused host) must not take that for its own fault when it goes on.
_LOOKS: Final = 20
_STATUS: Final = 70  # EX_SOFTWARE, sysexits.h


def _die(what: str) -> None:
    _log.critical("hung; the process ends", what=what)
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    os._exit(_STATUS)


@asynccontextmanager
async def watchdog(
    silence: Callable[[], float], *, hung: float, die: Callable[[str], None] = _die
) -> AsyncIterator[None]:
    """Watches the running loop, and `silence` (seconds without a sign of life), from a thread of its own.

    `die` is called with what is stuck after `hung` seconds.
    """
    loop = asyncio.get_running_loop()
    ended = threading.Event()
    beat = threading.Event()

    def watch() -> None:
        missed = 0
        while not ended.wait(hung / _LOOKS):
            if beat.is_set():
                missed = 0
                beat.clear()
                loop.call_soon_threadsafe(answer)
            else:
                missed += 1
                if missed >= _LOOKS:
                    die("event loop")
                    return

    def answer() -> None:
        if silence() > hung:
            die("consumer")
        beat.set()

    beat.set()
    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        await asyncio.to_thread(thread.join)
