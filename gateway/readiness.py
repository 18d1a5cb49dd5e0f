"""Whether this process can serve: asked in the background, and by a request only where a roll-out tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from gateway.ports import Health

_log = structlog.get_logger(__name__)


class Readiness:
    """Keeps what the services behind last said of themselves."""

    def __init__(
        self, services: Mapping[str, Health], *, seconds: float, optional: frozenset[str] = frozenset()
    ) -> None:
        """`seconds` between two checks, and the time-out of one. Without those in `optional` we can serve, too."""
        self._optional = optional
        self._services = services
        self._seconds = seconds
        self.reached = dict.fromkeys(services, False)
        self.draining = False

    @property
    def ready(self) -> bool:
        """Whether every service behind that we cannot do without is reached, and this process does not drain."""
        return self.suffices(self.reached)

    def suffices(self, reached: Mapping[str, bool], tested: str = "") -> bool:
        """Whether one can serve with what is reached; `tested` is a service that must be among it in any case."""
        return not self.draining and all(
            answer for name, answer in reached.items() if name not in self._optional or name == tested
        )

    async def ask(self, tested: str = "") -> dict[str, bool]:
        """What all of them say now. Of the service `tested` a new version is asked, where one is being rolled out."""
        answers = await asyncio.gather(*(health.check(self._seconds, tested) for health in self._services.values()))
        return dict(zip(self._services, answers, strict=True))

    async def check(self) -> None:
        """Asks all of them once, and keeps what they say."""
        for name, answer in (await self.ask()).items():
            if self.reached[name] != answer:
                _log.info("service reached" if answer else "service not reached", name=name)
            self.reached[name] = answer

    async def run(self) -> None:
        """Asks again and again, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self._seconds)
