"""An `ImageStore` without a database. The state machine's tests hold it and the real one to the same behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from metadata_svc.domain.decision import Change
from metadata_svc.domain.image import Image, OriginalPolicy
from metadata_svc.ports import Reading


@dataclass
class FakeImageStore:
    """Rows in a dictionary, usage as a pair of sums, messages in a list, a clock that stands still."""

    now: datetime = datetime(2026, 5, 1, tzinfo=UTC)
    policy: OriginalPolicy = field(default_factory=lambda: OriginalPolicy(None))
    rows: dict[tuple[UUID, UUID], Image] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    images: int = 0
    bytes: int = 0
    # So many writes are lost to somebody who was faster: the row changes under the writer's feet.
    races: int = 0

    def add(self, image: Image) -> None:
        """Registers an image, as `create_images` does."""
        self.rows[image.tenant_id, image.id] = image
        self.images += 1
        self.bytes += image.size

    def advance(self, length: timedelta) -> None:
        """Moves the clock."""
        self.now += length

    async def read(self, tenant_id: UUID, image_id: UUID, timeout: float | None) -> Reading:
        """The image as it stands now."""
        return Reading(self.rows.get((tenant_id, image_id)), self.now, self.policy)

    async def write(self, before: Image, change: Change, timeout: float | None) -> bool:
        """Writes a change, unless the row is another one by now."""
        key = before.tenant_id, before.id
        if self.races:
            self.races -= 1
            self.rows[key] = replace(self.rows[key], version=self.rows[key].version + 1)
        if self.rows[key].version != before.version:
            return False
        self.rows[key] = change.image
        self.kinds += [message.kind for message in change.messages]
        self.images += change.images
        self.bytes += change.bytes
        return True
