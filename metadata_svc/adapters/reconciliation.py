"""Rows for the comparison with the buckets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from metadata_svc.adapters.database import Database
from metadata_svc.domain.image import State
from metadata_svc.domain.reconciliation import Standing
from metadata_svc.ports import Standings


class SqlReconciliation:
    """A `Reconciliation`, over the role that sees every tenant's rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stretch(
        self, after: tuple[UUID, UUID], until: tuple[UUID, UUID], most: int, timeout: float | None
    ) -> Standings:
        """Images beyond `after` up to and with `until`, in the order of their keys."""
        return _standings(await self._database.fetch("reconcile_stretch", *after, *until, most, timeout=timeout))

    async def named(self, images: Sequence[tuple[UUID, UUID]], timeout: float | None) -> Standings:
        """Those of the images that there are."""
        tenants = [tenant_id for tenant_id, _ in images]
        ids = [image_id for _, image_id in images]
        return _standings(await self._database.fetch("reconcile_named", tenants, ids, timeout=timeout))


def _standings(rows: Sequence[Any]) -> Standings:
    found = [
        Standing(
            tenant_id=row["tenant_id"],
            id=row["id"],
            state=State(row["state"]),
            updated_at=row["updated_at"],
            upload_expires_at=row["upload_expires_at"],
            original_removed_at=row["original_removed_at"],
            variants=frozenset(row["keys"]),
        )
        for row in rows
        if row["id"] is not None
    ]
    return Standings(found, rows[0]["now"])
