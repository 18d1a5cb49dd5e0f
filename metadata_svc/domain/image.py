"""An image as the database holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final
from uuid import UUID

import msgspec


class State(IntEnum):
    """The stages of an image's life. The numbers are those of the proto, and are what the database stores."""

    AWAITING_UPLOAD = 1
    PROCESSING = 2
    READY = 3
    REJECTED = 4
    FAILED = 5
    EXPIRED = 6
    DELETED = 7


TERMINAL: Final = frozenset({State.READY, State.REJECTED, State.FAILED, State.EXPIRED, State.DELETED})
# The verdict is there and the original may still be: what the tenant's policy for originals is about.
SETTLED: Final = frozenset({State.READY, State.REJECTED, State.FAILED})


class UploadMethod(IntEnum):
    """How the bytes reach S3; numbers as in the proto."""

    PUT = 1
    MULTIPART = 2


class Variant(msgspec.Struct, frozen=True):
    """One derivative. `size` is in bytes."""

    name: str
    key: str
    content_type: str
    width: int
    height: int
    size: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decoder saw. `sha256` is empty where it was not measured; `perceptual_hash` is unsigned, 64 bits."""

    format: str
    width: int
    height: int
    frames: int
    thumbhash: bytes
    color: str
    perceptual_hash: int
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an image is REJECTED or FAILED."""

    type: str
    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class Image:
    """A row. Times are in UTC; `sha256` is the announced content, and once READY the measured one; empty: not known."""

    tenant_id: UUID
    id: UUID
    state: State
    # `version` counts writes, so that none is lost; `revision` counts those that a client can see.
    version: int
    revision: int
    filename: str
    content_type: str
    size: int
    sha256: bytes
    upload_method: UploadMethod
    presets: tuple[str, ...]
    traceparent: str
    upload_expires_at: datetime
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None = None
    # The number of the last attempt is the fencing token; `counted` is how many attempts count against the limit.
    attempt: int = 0
    counted: int = 0
    running: bool = False
    # End of the running attempt's lease, or of the wait before the next attempt.
    held_until: datetime | None = None
    facts: Facts | None = None
    variants: tuple[Variant, ...] = ()
    problem: Problem | None = None
    original_removed_at: datetime | None = None
    deleted_at: datetime | None = None
    receipt: UUID | None = None
    # When its owner last asked for the processing anew.
    ordered_at: datetime | None = None
    # Until when a rendering on demand may write an object.
    render_until: datetime | None = None
    # Until when objects of a deleted image can still come into being.
    purge_after: datetime | None = None
    purged_at: datetime | None = None
    # When the sweeper shall look at the row.
    due_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes whenever the image does; opaque to clients."""
        return etag(self.revision)


def etag(revision: int) -> str:
    """The etag of a revision."""
    return f"v{revision:x}"


@dataclass(frozen=True, slots=True)
class OriginalPolicy:
    """What happens to a tenant's originals once their images are settled: kept for ever where `keep` is None."""

    keep: timedelta | None

    def due(self, settled_at: datetime, not_before: datetime) -> datetime | None:
        """When an original is to be removed, if ever; never before its ticket can no longer bring it back."""
        return None if self.keep is None else max(settled_at + self.keep, not_before)
