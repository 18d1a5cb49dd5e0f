"""Executes the commands of metadata_svc. Each may come again and again: a repetition changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from image_svc.domain.messages import Order, Task
from image_svc.domain.model import Disposition, Done
from image_svc.ports import Metadata, ObjectStore
from image_svc.worker.hold import Hold
from image_svc.worker.job import Jobs
from image_svc.worker.patience import patiently
from runtime import trace

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Orders:
    """What metadata_svc decides and may not do itself: it touches no object. `patience` is in seconds."""

    def __init__(self, jobs: Jobs, metadata: Metadata, store: ObjectStore, *, patience: float) -> None:
        self._jobs = jobs
        self._metadata = metadata
        self._store = store
        self._patience = patience

    async def execute(self, order: Order, hold: Hold) -> Disposition:
        """Does what is ordered. Raises as `Jobs.process` does."""
        token = trace.current.set(trace.continued(order.traceparent))
        try:
            match order.task:
                case Task.PROCESS:
                    return await self._jobs.process(order.original_key, hold)
                case Task.CHECK_UPLOAD:
                    return await self._check_upload(order, hold)
                case Task.REMOVE_ORIGINAL:
                    await hold.interruptible(self._remove_original(order))
                case Task.PURGE:
                    await hold.interruptible(self._purge(order))
            _log.info("order executed", task=order.task.value, image_id=order.image_id, tenant_id=order.tenant_id)
            return Done()
        finally:
            trace.current.reset(token)

    async def _check_upload(self, order: Order, hold: Hold) -> Disposition:
        if await hold.interruptible(self._tried(lambda: self._store.has_original(order.original_key))):
            _log.info("upload found without its event", image_id=order.image_id, tenant_id=order.tenant_id)
            return await self._jobs.process(order.original_key, hold)
        # Bytes that come after this look are past their deadline: their event finds the image EXPIRED.
        await hold.interruptible(
            self._tried(lambda: self._metadata.expire_upload(order.tenant_id, order.image_id)),
        )
        _log.info("upload never came", image_id=order.image_id, tenant_id=order.tenant_id)
        return Done()

    async def _remove_original(self, order: Order) -> None:
        await self._tried(lambda: self._store.remove_original(order.original_key))
        await self._tried(lambda: self._metadata.record_original_removal(order.tenant_id, order.image_id))

    async def _purge(self, order: Order) -> None:
        await self._tried(lambda: self._store.remove_original(order.original_key))
        await self._tried(lambda: self._store.remove_variants(order.media_prefix))
        await self._tried(lambda: self._metadata.record_purge(order.tenant_id, order.image_id))

    async def _tried(self, call: Callable[[], Awaitable[_T]]) -> _T:
        return await patiently(call, self._patience)
