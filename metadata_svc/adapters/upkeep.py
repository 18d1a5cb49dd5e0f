"""The outbox and the sweeper's statements in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from metadata_svc.adapters.database import Database
from metadata_svc.ports import Outgoing


class SqlOutbox:
    """An `Outbox`. `claim_seconds` is how long a taken message is this process's own."""

    def __init__(self, database: Database, *, batch: int, claim_seconds: float) -> None:
        self._database = database
        self._batch = batch
        self._claim_seconds = claim_seconds

    async def claim(self) -> Sequence[Outgoing]:
        """Takes some messages that are due, in the order in which they were written."""
        rows = await self._database.fetch("claim_messages", self._batch, self._claim_seconds)
        messages = [Outgoing(**dict(row)) for row in rows]
        return sorted(messages, key=lambda message: message.created_at)

    async def settle(self, sent: Sequence[UUID], failed: Sequence[tuple[UUID, float]]) -> bool:
        """Removes those that were sent and puts the failed ones off. Whether more are due."""
        row = await self._database.row(
            "settle_messages", sent, [id_ for id_, _ in failed], [wait for _, wait in failed]
        )
        return row is not None and bool(row["more"])


class SqlSweep:
    """A `Sweep`. `batch` and `fold_batch` bound the rows of one statement."""

    def __init__(self, database: Database, *, batch: int, fold_batch: int, reorder_after: timedelta) -> None:
        self._database = database
        self._batch = batch
        self._fold_batch = fold_batch
        self._reorder_after = reorder_after.total_seconds()

    async def images(self) -> int:
        """Gives due orders; returns how many."""
        return len(await self._database.fetch("sweep_images", self._batch, self._reorder_after))

    async def leases(self) -> int:
        """Forgets request leases of the past; returns how many."""
        return len(await self._database.fetch("sweep_leases", self._batch))

    async def usage(self) -> int:
        """Folds appended usage; returns how many tenants it touched."""
        return len(await self._database.fetch("fold_usage", self._fold_batch))


class SqlPrune:
    """A `Prune`. `batch` bounds the rows of one statement."""

    def __init__(self, database: Database, *, batch: int, request_life: timedelta) -> None:
        self._database = database
        self._batch = batch
        self._request_life = request_life.total_seconds()

    async def tombstones(self) -> int:
        """Deleted images whose time as tombstones is over."""
        return len(await self._database.fetch("prune_tombstones", self._batch))

    async def requests(self) -> int:
        """Idempotency keys past their life."""
        return len(await self._database.fetch("prune_requests", self._batch, self._request_life))
