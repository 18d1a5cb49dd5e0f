"""The request path's statements: whole batches of mixed tenants, and lists of one tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from metadata_svc.adapters.database import Database
from metadata_svc.domain.cursor import Position
from metadata_svc.domain.image import State


@dataclass(slots=True)
class NewImages:
    """A batch to register, as parallel columns: the form that one round trip takes. See `create_images` in the
    migrations for what each holds.
    """

    tenant_ids: list[str]
    image_ids: list[str]
    request_ids: list[str | None]
    request_sha256s: list[bytes | None]
    filenames: list[str]
    content_types: list[str]
    sizes: list[int]
    sha256s: list[bytes | None]
    upload_methods: list[int]
    preset_lists: list[str]
    tag_objects: list[str | None]
    times_to_live: list[float]
    traceparents: list[str]

    def columns(self) -> list[list[Any]]:
        """The columns in the order of the statement's parameters."""
        return [getattr(self, column.name) for column in fields(self)]


@dataclass(frozen=True, slots=True)
class Query:
    """What a list shows: `sha256` None for any content, `tags` all of which must be there."""

    states: tuple[State, ...]
    tags: Mapping[str, str]
    sha256: bytes | None


class SqlBatches:
    """Reads and registers for the request path. Rows are those of the statements of the same names."""

    def __init__(self, app: Database, maintenance: Database, *, request_life: timedelta, grace: timedelta) -> None:
        self._app = app
        self._maintenance = maintenance
        self._request_life = request_life
        self._grace = grace

    async def create_images(self, batch: NewImages, timeout: float | None) -> Sequence[asyncpg.Record]:
        """Registers a batch. Raises `asyncpg.DataError` and the like where an item is out of form."""
        return await self._app.fetch(
            "create_images", *batch.columns(), self._request_life, self._grace, timeout=timeout
        )

    async def get_images(
        self, tenant_ids: list[str], image_ids: list[str], timeout: float | None
    ) -> Sequence[asyncpg.Record]:
        """Reads a batch."""
        return await self._app.fetch("get_images", tenant_ids, image_ids, timeout=timeout)

    async def list_images(
        self, tenant_id: UUID, query: Query, after: Position | None, size: int, timeout: float | None
    ) -> Sequence[asyncpg.Record]:
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
    ) -> Sequence[asyncpg.Record]:
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

    async def lease_requests(self, wanted: Mapping[str, int], timeout: float | None) -> Sequence[asyncpg.Record]:
        """Shares of the current second, by tenant; none for an unknown one."""
        return await self._app.fetch("lease_requests", list(wanted), list(wanted.values()), timeout=timeout)

    async def get_usage(self, tenant_id: UUID, timeout: float | None) -> asyncpg.Record | None:
        """A tenant's usage and limits."""
        return await self._app.row("get_usage", tenant_id, timeout=timeout)

    async def get_keys(self, ids: Sequence[str], timeout: float | None) -> Sequence[asyncpg.Record]:
        """What is known of API keys."""
        return await self._maintenance.fetch("get_keys", ids, timeout=timeout)
