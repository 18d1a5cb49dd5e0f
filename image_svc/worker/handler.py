"""Finds out what a message asks for, has it done, and says what becomes of the message."""

from __future__ import annotations

import structlog

from image_svc.domain.backoff import backoff
from image_svc.domain.messages import Created, Ignored, Item, Order, Unreadable, parse
from image_svc.domain.model import Disposition, Done, Later, Leave, joined
from image_svc.ports import StaleAttempt, Unreachable
from image_svc.worker.hold import Hold, Interrupted, Why
from image_svc.worker.job import Jobs
from image_svc.worker.orders import Orders

_log = structlog.get_logger(__name__)


class Handler:
    """What the consumer calls for each message. It never raises for a message's sake.

    `bucket` is the incoming one; `unreadable`, `retry_first` and `retry_longest` are seconds, as `Settings` explains
    them.
    """

    def __init__(
        self, jobs: Jobs, orders: Orders, *, bucket: str, unreadable: float, retry_first: float, retry_longest: float
    ) -> None:
        self._jobs = jobs
        self._orders = orders
        self._bucket = bucket
        self._unreadable = unreadable
        self._retry_first = retry_first
        self._retry_longest = retry_longest

    async def __call__(self, hold: Hold) -> Disposition:
        """Does what the message asks for, item by item; one that fails does not keep the next from being done."""
        try:
            items = parse(hold.message.body, bucket=self._bucket)
        except Unreadable as error:
            _log.error("message left in the queue", reason=str(error), receives=hold.message.receives)
            return Later(self._unreadable)
        return joined([await self._settled(item, hold) for item in items])

    async def _settled(self, item: Item, hold: Hold) -> Disposition:
        try:
            return await self._do(item, hold)
        except Interrupted as order:
            _log.info("handed back" if order.why is Why.DRAINING else "overtaken by another attempt")
            return Later(0) if order.why is Why.DRAINING else Leave()
        except StaleAttempt:
            _log.info("overtaken by another attempt")
            return Leave()
        except Unreachable as error:
            wait = self._wait(hold)
            _log.warning("a dependency is away; message goes back", reason=str(error), seconds=round(wait, 1))
            return Later(wait)
        except Exception:
            wait = self._wait(hold)
            _log.exception("message not handled; it goes back", seconds=round(wait, 1), receives=hold.message.receives)
            return Later(wait)

    async def _do(self, item: Item, hold: Hold) -> Disposition:
        match item:
            case Created(key):
                return await self._jobs.process(key, hold)
            case Order():
                return await self._orders.execute(item, hold)
            case Ignored(reason):
                _log.info("message ignored", reason=reason)
                return Done()

    def _wait(self, hold: Hold) -> float:
        return backoff(hold.message.receives, first=self._retry_first, longest=self._retry_longest)
