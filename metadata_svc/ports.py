"""What domain and service need of the world. Adapters implement these; so do the fakes of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from metadata_svc.domain.decision import Change
from metadata_svc.domain.image import Image, OriginalPolicy


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


class Outbox(Protocol):
    """Messages that wait to be sent."""

    async def claim(self) -> Sequence[Outgoing]:
        """Takes some that are due; nobody else gets them for a while."""
        ...

    async def settle(self, sent: Sequence[UUID], failed: Sequence[tuple[UUID, float]]) -> None:
        """Removes those that were sent and puts the failed ones off by so many seconds."""
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

    async def tombstones(self) -> int:
        """Forgets old tombstones; returns how many."""
        ...

    async def requests(self) -> int:
        """Forgets old idempotency keys; returns how many."""
        ...

    async def leases(self) -> int:
        """Forgets request leases of the past; returns how many."""
        ...

    async def usage(self) -> int:
        """Folds appended usage; returns how many tenants it touched."""
        ...


class Keys(Protocol):
    """API keys as they are stored."""

    async def find(self, ids: Sequence[str], timeout: float | None) -> Sequence[Any]:
        """The keys of these ids that there are: rows of `get_keys.sql`."""
        ...
