"""Images in PostgreSQL: read one, write one decided change."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import msgspec

from metadata_svc.adapters.database import Database
from metadata_svc.domain.decision import Change
from metadata_svc.domain.image import Image
from metadata_svc.ports import Reading
from metadata_svc.rows import changes, image_of, policy_of

_encoder: Final = msgspec.json.Encoder()


class SqlImageStore:
    """An `ImageStore`. `read` and `write` name its two statements; `wake` is called after a message was written."""

    def __init__(self, database: Database, *, read: str, write: str, wake: Callable[[], None]) -> None:
        self._database = database
        self._read = read
        self._write = write
        self._wake = wake

    async def read(self, tenant_id: UUID, image_id: UUID, timeout: float | None) -> Reading:
        """The image as it stands now."""
        row: Any = await self._database.row(self._read, tenant_id, image_id, timeout=timeout)
        return Reading(None if row["id"] is None else image_of(row), row["now"], policy_of(row))

    async def write(self, before: Image, change: Change, timeout: float | None) -> bool:
        """Writes a change and all that follows from it, at once. False if the image changed since it was read."""
        messages = [{"id": uuid.uuid4(), "kind": m.kind, "data": m.data} for m in change.messages]
        done = await self._database.row(
            self._write,
            before.tenant_id,
            before.id,
            before.version,
            changes(before, change.image),
            None if change.tags is None else _encoder.encode(change.tags).decode(),
            _encoder.encode(messages).decode(),
            change.images,
            change.bytes,
            timeout=timeout,
        )
        if done is not None and messages:
            self._wake()
        return done is not None


def own_images(database: Database, wake: Callable[[], None]) -> SqlImageStore:
    """The store of the request path: a call sees the given tenant's images alone."""
    return SqlImageStore(database, read="get_own_image", write="change_own_image", wake=wake)


def all_images(database: Database, wake: Callable[[], None]) -> SqlImageStore:
    """The store of the worker-facing calls."""
    return SqlImageStore(database, read="get_image", write="change_image", wake=wake)
