"""Runs a coroutine on a clock of its own: hours of waiting pass in no time, always in the same order.

For code whose only I/O is fakes. Time stands still while something runs, and jumps to the next timer when nothing does.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

_T = TypeVar("_T")


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def read(self) -> float:
        return self.now


class _Selector(selectors.DefaultSelector):
    """Instead of waiting it moves the clock."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everything waits and no timer is set: a deadlock")
            self._clock.now += timeout
        return ready


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine, on a fresh loop whose clock, and `time.monotonic`, are virtual."""
    clock = _Clock()
    with (
        mock.patch.object(time, "monotonic", clock.read),
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Selector(clock))) as runner,
    ):
        return runner.run(main)
