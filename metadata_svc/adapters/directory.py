"""Tenants and API keys in PostgreSQL, for the admin command."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from metadata_svc.adapters.database import Database
from metadata_svc.domain.api_key import KeyKind, NewKey


@dataclass(frozen=True, slots=True)
class TenantOptions:
    """A new tenant's limits, and what happens to its originals: kept for ever (None), or so many days (0: none)."""

    max_image_bytes: int
    max_images: int
    max_bytes: int
    requests_per_second: int
    keep_originals_days: int | None


class Directory:
    """Makes, finds and revokes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_tenant(self, name: str, options: TenantOptions) -> dict[str, Any]:
        """The new tenant's row."""
        days = options.keep_originals_days
        policy = "keep" if days is None else "keep_days" if days else "delete"
        (row,) = await self._database.fetch(
            "create_tenant",
            uuid.uuid4(),
            name,
            policy,
            days or None,
            options.max_image_bytes,
            options.max_images,
            options.max_bytes,
            options.requests_per_second,
        )
        return dict(row)

    async def tenants(self, id_or_name: str | None = None) -> list[dict[str, Any]]:
        """Rows of the tenants of that id or name, or of all."""
        return [dict(row) for row in await self._database.fetch("find_tenants", id_or_name)]

    async def create_key(self, key: NewKey, tenant_id: UUID, kind: KeyKind, scopes: Sequence[str]) -> None:
        """Keeps a key's hash."""
        await self._database.fetch("create_key", key.id, tenant_id, kind, scopes, key.secret_sha256)

    async def attach_key(self, key_id: str, gateway_key_id: str | None) -> None:
        """Notes the id that API Gateway gave to a key."""
        await self._database.fetch("attach_key", key_id, gateway_key_id)

    async def revoke_key(self, key_id: str) -> dict[str, Any] | None:
        """Revokes a key: its row, or None if there is none."""
        row = await self._database.row("revoke_key", key_id)
        return None if row is None else dict(row)

    async def keys(self, tenant_id: UUID | None) -> list[dict[str, Any]]:
        """Rows of a tenant's keys, or of all."""
        return [dict(row) for row in await self._database.fetch("list_keys", tenant_id)]
