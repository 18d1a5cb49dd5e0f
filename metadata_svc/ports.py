"""What domain and service need of the world. Adapters implement these; so do the fakes of the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from metadata_svc.domain.cursor import Position
from metadata_svc.domain.decision import Change
from metadata_svc.domain.image import Image, OriginalPolicy, State
from metadata_svc.domain.reconciliation import Standing


@dataclass(frozen=True, slots=True)
class Reading:
    """An image as it stands (None: there is none), and the database's clock: the only one that decisions use."""

    image: Image | None
    now: datetime
    policy: OriginalPolicy


class ImageStore(Protocol):
    """Reads an image and writes one decided change to it. One store sees all tenants, another just the given one's."""

    async def read(self, tenant_id: UUID, image_id: UUID, timeout: float | None) -> Reading:
        """The image as it stands now."""
        ...

    async def write(self, before: Image, change: Change, timeout: float | None) -> bool:
        """Writes a change and all that follows from it, at once. False if the image changed since it was read."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message of the outbox, taken by this process for a while. `data` is the JSON of an event."""

    id: UUID
    kind: str
    tenant_id: UUID
    image_id: UUID
    data: str | None
    traceparent: str
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Standings:
    """Rows for the comparison with the buckets, and the database's clock."""

    rows: Sequence[Standing]
    now: datetime


class Reconciliation(Protocol):
    """Reads rows for the comparison with the buckets."""

    async def stretch(
        self, after: tuple[UUID, UUID], until: tuple[UUID, UUID], most: int, timeout: float | None
    ) -> Standings:
        """Images beyond `after` (tenant, image) up to and with `until`, in the order of their keys."""
        ...

    async def named(self, images: Sequence[tuple[UUID, UUID]], timeout: float | None) -> Standings:
        """Those of the images that there are."""
        ...


class Outbox(Protocol):
    """Messages that wait to be sent."""

    async def claim(self) -> Sequence[Outgoing]:
        """Takes some that are due; nobody else gets them for a while."""
        ...

    async def settle(self, sent: Sequence[UUID], failed: Sequence[tuple[UUID, float]]) -> bool:
        """Removes those that were sent and puts the failed ones off by so many seconds. Whether more are due now."""
        ...


class Publisher(Protocol):
    """Sends messages."""

    async def publish(self, messages: Sequence[Outgoing]) -> set[UUID]:
        """Sends what it can, in the given order; returns the ids of what was taken. It does not raise."""
        ...


class Sweep(Protocol):
    """Work that is due by time alone."""

    async def images(self) -> int:
        """Gives due orders; returns how many."""
        ...

    async def leases(self) -> int:
        """Forgets request leases of the past; returns how many."""
        ...

    async def usage(self) -> int:
        """Folds appended usage; returns how many tenants it touched."""
        ...


class Prune(Protocol):
    """Rows whose time is over. Each call deletes a batch at most, and returns how many there were."""

    async def tombstones(self) -> int:
        """Deleted images whose time as tombstones is over."""
        ...

    async def requests(self) -> int:
        """Idempotency keys past their life."""
        ...


# A row of a statement, by the names of its columns.
Row = Mapping[str, Any]


class OutOfFormError(Exception):
    """The database refused a batch because of an item in it, and stored nothing."""


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


class Batches(Protocol):
    """The request path's statements: whole batches of mixed tenants, and lists of one tenant."""

    async def create_images(self, batch: NewImages, timeout: float | None) -> Sequence[Row]:
        """Registers a batch. Raises `OutOfFormError` where an item is out of form; then nothing is registered."""
        ...

    async def get_images(self, tenant_ids: list[str], image_ids: list[str], timeout: float | None) -> Sequence[Row]:
        """Reads a batch. Raises `OutOfFormError` where an id is out of form."""
        ...

    async def list_images(
        self, tenant_id: UUID, query: Query, after: Position | None, size: int, timeout: float | None
    ) -> Sequence[Row]:
        """A page, newest first."""
        ...

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
        ...

    async def lease_requests(self, wanted: Mapping[str, int], timeout: float | None) -> Sequence[Row]:
        """Shares of the current second, by tenant; none for an unknown one."""
        ...

    async def get_usage(self, tenant_id: UUID, timeout: float | None) -> Row | None:
        """A tenant's usage and limits."""
        ...

    async def get_keys(self, ids: Sequence[str], timeout: float | None) -> Sequence[Row]:
        """What is known of API keys."""
        ...
