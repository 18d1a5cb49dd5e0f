"""Deletes rows whose time is over: `python -m metadata_svc.prune`. Runs once: status 0 when all are gone, 1 when not.

Here is what can wait a day and is found by its age alone; the sweeper has what others wait for (README.md). Nothing
depends on a run: an expired idempotency key counts as none, and a tombstone that stays answers 410 for longer.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog

from metadata_svc.adapters import statements
from metadata_svc.adapters.credentials import SecretLogins
from metadata_svc.adapters.database import connected
from metadata_svc.adapters.upkeep import SqlPrune
from metadata_svc.ports import Prune
from metadata_svc.settings import Settings
from runtime import aws, lifecycle
from runtime.errors import DarkroomError
from runtime.settings import load

_log = structlog.get_logger(__name__)


class Pruner:
    """One run. `batch` is the most rows of a statement, so that none holds its locks for long; `pause` and `longest`
    are seconds: between two statements, and for all of them.
    """

    def __init__(self, prune: Prune, *, batch: int, pause: float, longest: float) -> None:
        self._prune = prune
        self._batch = batch
        self._pause = pause
        self._longest = longest
        self.counts = {"tombstones": 0, "requests": 0}

    async def run(self) -> bool:
        """Deletes what is due. False where the time was not enough for all; raises `DarkroomError`."""
        ends = time.monotonic() + self._longest
        for name, work in (("tombstones", self._prune.tombstones), ("requests", self._prune.requests)):
            while True:
                count = await work()
                self.counts[name] += count
                if count < self._batch:
                    break
                if time.monotonic() >= ends:
                    return False
                await asyncio.sleep(self._pause)
        return True


async def _run(stack: AsyncExitStack) -> bool:
    started = time.monotonic()
    session = aws.session()
    settings = await load(Settings, session)
    secrets = await aws.client(stack, session, "secretsmanager", settings, connections=1)
    logins = SecretLogins(secrets, settings.maintenance_database_secret)
    try:
        database = await stack.enter_async_context(
            connected(logins, statements.load(), settings.pool(1), name="metadata_svc prune")
        )
        pruner = Pruner(
            SqlPrune(database, batch=settings.prune_batch, request_life=timedelta(hours=settings.request_life_hours)),
            batch=settings.prune_batch,
            pause=settings.prune_pause_seconds,
            longest=settings.prune_seconds,
        )
        finished = await pruner.run()
    except DarkroomError as error:
        _log.error("not pruned", reason=error.detail, cause=repr(error.__cause__))
        return False
    say = _log.info if finished else _log.error
    say("pruned", finished=finished, **pruner.counts, seconds=round(time.monotonic() - started, 1))
    return finished


def main() -> None:
    """Command line; see the module's docstring."""
    argparse.ArgumentParser(
        prog="python -m metadata_svc.prune", description=(__doc__ or "").partition("\n")[0]
    ).parse_args()
    sys.exit(lifecycle.once(Settings.service, _run))


if __name__ == "__main__":
    main()
