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
        return not self.draining and all(
            reached for name, reached in self.reached.items() if name not in self._optional
        )

    async def test(self, name: str) -> bool:
        """Whether a service behind is well in its new version, where one is being rolled out. The others do not count:
        one that is broken must not stand in the way of another one's repair. KeyError for a service that is not behind.
        """
        return await self._services[name].check(self._seconds, name)

    async def check(self) -> None:
        """Asks all of them once."""
        answers = await asyncio.gather(*(health.check(self._seconds) for health in self._services.values()))
        for name, answer in zip(self._services, answers, strict=True):
            if self.reached[name] != answer:
                _log.info("service reached" if answer else "service not reached", name=name)
            self.reached[name] = answer

    async def run(self) -> None:
        """Asks again and again, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self._seconds)
