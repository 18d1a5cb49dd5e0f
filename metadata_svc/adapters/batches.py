"""The request path's statements: whole batches of mixed tenants, and lists of one tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from metadata_svc.adapters.database import Database
from metadata_svc.domain.cursor import Position
from metadata_svc.ports import NewImages, OutOfFormError, Query, Row

_OUT_OF_FORM: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class SqlBatches:
    """`Batches` in PostgreSQL. Rows are those of the statements of the same names."""

    def __init__(self, app: Database, maintenance: Database, *, request_life: timedelta, grace: timedelta) -> None:
        self._app = app
        self._maintenance = maintenance
        self._request_life = request_life
        self._grace = grace

    async def create_images(self, batch: NewImages, timeout: float | None) -> Sequence[Row]:
        """Registers a batch. Raises `OutOfFormError` where an item is out of form; then nothing is registered."""
        return await self._checked("create_images", *batch.columns(), self._request_life, self._grace, timeout=timeout)

    async def get_images(self, tenant_ids: list[str], image_ids: list[str], timeout: float | None) -> Sequence[Row]:
        """Reads a batch. Raises `OutOfFormError` where an id is out of form."""
        return await self._checked("get_images", tenant_ids, image_ids, timeout=timeout)

    async def list_images(
        self, tenant_id: UUID, query: Query, after: Position | None, size: int, timeout: float | None
    ) -> Sequence[Row]:
        """A page, newest first."""
        return await self._app.fetch(
            "list_images",
            tenant_id,
            query.states,
            list(query.tags),
            list(query.tags.values()),
            query.sha256,
            after and after.image_id,
            size,
            timeout=timeout,
        )

    async def list_similar(
        self,
        tenant_id: UUID,
        likeness_of: UUID,
        query: Query,
        *,
        distance: int,
        after: Position | None,
        size: int,
        timeout: float | None,
    ) -> Sequence[Row]:
        """A page, nearest first. One row of nulls where that image cannot be compared with."""
        return await self._app.fetch(
            "list_similar",
            tenant_id,
            likeness_of,
            query.states,
            list(query.tags),
            list(query.tags.values()),
            query.sha256,
            distance,
            after and after.distance,
            after and after.image_id,
            size,
            timeout=timeout,
        )

    async def lease_requests(self, wanted: Mapping[str, int], timeout: float | None) -> Sequence[Row]:
        """Shares of the current second, by tenant; none for an unknown one."""
        return await self._app.fetch("lease_requests", list(wanted), list(wanted.values()), timeout=timeout)

    async def get_usage(self, tenant_id: UUID, timeout: float | None) -> Row | None:
        """A tenant's usage and limits."""
        return await self._app.row("get_usage", tenant_id, timeout=timeout)

    async def get_keys(self, ids: Sequence[str], timeout: float | None) -> Sequence[Row]:
        """What is known of API keys."""
        return await self._maintenance.fetch("get_keys", ids, timeout=timeout)

    async def _checked(self, name: str, *arguments: Any, timeout: float | None) -> Sequence[Row]:
        try:
            return await self._app.fetch(name, *arguments, timeout=timeout)
        except _OUT_OF_FORM as error:
            raise OutOfFormError(str(error)) from error
