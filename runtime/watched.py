"""A setting that may change while the process runs: its parameter is looked at again and again.

A new text that cannot be used is refused, loudly, and what stands stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

_log = structlog.get_logger(__name__)

_Value = TypeVar("_Value")

# Seconds. Looks that are asked for come no closer together than this: Parameter Store serves 40 calls a second to a
# whole account.
_GAP: Final = 1.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A parameter as it is stored. `version` grows with each change; 0 where it is not known."""

    text: str
    version: int = 0


# Reads the parameter: None where there is none. Raises `LookAgain` where it cannot be read now.
Read = Callable[[], Awaitable[Stored | None]]


class LookAgain(Exception):  # noqa: N818 - says what to do
    """The parameter could not be read this time."""


class Watched(Generic[_Value]):
    """What the setting `name` means now.

    `parse` makes the value of a text and raises ValueError, with a text for operators, where it cannot be used; the
    first text must be good. `read` is None where nothing can change it.
    """

    def __init__(self, name: str, text: str, parse: Callable[[str], _Value], read: Read | None = None) -> None:
        self._name = name
        self._parse = parse
        self._read = read
        self._text = text
        self._value = parse(text)
        self._refused = ""
        self._looks = 0
        self._next_at = 0.0
        self._looking = asyncio.Lock()
        self.uncertain = False
        # Seconds since the epoch: the text that stands is at least as new as this.
        self.read_at = time.time()

    @property
    def value(self) -> _Value:
        """The newest good one."""
        return self._value

    async def run(self, interval: float) -> None:
        """Looks every `interval` seconds, until cancelled. No look that goes wrong ends it: what stands serves on."""
        while self._read is not None:
            await asyncio.sleep(interval)
            try:
                await self.look()
            except Exception:
                self.uncertain = True
                _log.exception("setting not read; what stands stays", setting=self._name)

    async def look(self) -> None:
        """Looks once, not before the call; one look serves all who asked before it began.

        Afterwards `uncertain` says whether the newest text was refused or could not be read, so that what `value`
        lacks may still exist.
        """
        if self._read is None:
            return
        clock = asyncio.get_running_loop().time
        before = self._looks
        async with self._looking:
            if self._looks > before:
                return
            await asyncio.sleep(max(0.0, self._next_at - clock()))
            self._looks += 1
            self._next_at = clock() + _GAP
            began = time.time()
            try:
                stored = await self._read()
            except LookAgain as error:
                _log.warning("setting not read; what stands stays", setting=self._name, reason=str(error))
                self.uncertain = True
                return
            self.uncertain = stored is not None and not self._taken(stored)
            self.read_at = began

    def _taken(self, stored: Stored) -> bool:
        if stored.text == self._text:
            self._refused = ""
            return True
        if stored.text == self._refused:
            return False
        seen = {"setting": self._name, "version": stored.version, "sha256": _sha256(stored.text)}
        try:
            self._value = self._parse(stored.text)
        except ValueError as error:
            _log.error("setting refused; what stands stays", reason=str(error), **seen)
            self._refused = stored.text
            return False
        self._text, self._refused = stored.text, ""
        _log.info("setting changed", **seen)
        return True


def _sha256(text: str) -> str:
    """Enough of it to tell two texts apart in a log."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
