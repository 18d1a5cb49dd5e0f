"""Keeps signing credentials fresh, off the request path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from presign_svc.domain.sigv4 import Credentials
from presign_svc.ports import CredentialSource, CredentialsUnavailableError

_log = structlog.get_logger(__name__)

# Seconds. The wall clock may jump (a suspended machine, a corrected clock) while a task sleeps by the monotonic one.
_LONGEST_SLEEP = 60.0


class CredentialKeeper:
    """Holds the credentials that sign now. One background task refreshes them, so no two fetches ever run at once.

    `lead` is how many seconds before their end they are due for a refresh; `retry` how many lie between two attempts;
    `timeout` bounds one.
    """

    def __init__(
        self,
        source: CredentialSource,
        *,
        clock: Callable[[], float],
        lead: float,
        retry: float,
        timeout: float,
    ) -> None:
        self._source = source
        self._clock = clock
        self._lead = lead
        self._retry = retry
        self._timeout = timeout
        self._current: Credentials | None = None

    @property
    def current(self) -> Credentials:
        """The credentials that sign now. Who signs looks at their end: a refresh may have failed."""
        if self._current is None:
            raise RuntimeError("start() comes first")
        return self._current

    async def start(self) -> None:
        """Fetches the first credentials. Raises `CredentialsUnavailableError` where there are none."""
        self._current = await self._fetch()

    async def run(self) -> None:
        """Refreshes until it is cancelled."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = await self.step()

    async def step(self) -> float:
        """Refreshes if that is due; returns the seconds until the next look."""
        due = self._seconds_left() - self._lead
        if due > 0:
            return min(due, _LONGEST_SLEEP)
        try:
            fetched = await self._fetch()
        except CredentialsUnavailableError as error:
            _log.warning("credentials not refreshed", reason=str(error), seconds_left=self._seconds_left())
            return self._retry
        # A source may hand out what it has until shortly before the end: the one that lives longer stays.
        if _end(fetched) > _end(self.current):
            self._current = fetched
            _log.info("credentials refreshed", seconds_left=self._seconds_left())
        return self._retry

    async def _fetch(self) -> Credentials:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._source.fetch()
        except TimeoutError:
            raise CredentialsUnavailableError(f"no answer within {self._timeout} seconds") from None

    def _seconds_left(self) -> float:
        return _end(self.current) - self._clock()


def _end(credentials: Credentials) -> float:
    return float("inf") if credentials.expires_at is None else credentials.expires_at
