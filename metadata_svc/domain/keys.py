"""Where an image's objects lie. Nobody else knows the form of these keys."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ORIGINAL: Final = re.compile(rf"incoming/({_UUID})/({_UUID})")
_MEDIA: Final = re.compile(rf"media/({_UUID})/({_UUID})/.+", re.DOTALL)


def original_key(tenant_id: UUID | str, image_id: UUID | str) -> str:
    """Key of an original in the incoming bucket."""
    return f"incoming/{tenant_id}/{image_id}"


def media_prefix(tenant_id: UUID | str, image_id: UUID | str) -> str:
    """What every key of a variant starts with, in the media bucket."""
    return f"media/{tenant_id}/{image_id}/"


def parse_original_key(key: str) -> tuple[UUID, UUID] | None:
    """Tenant and image of an original's key; None for any other key, also for one in another spelling."""
    match = _ORIGINAL.fullmatch(key)
    return (UUID(match[1]), UUID(match[2])) if match else None


def parse_media_key(key: str) -> tuple[UUID, UUID] | None:
    """Tenant and image of a key under an image's media prefix; None for any other key."""
    match = _MEDIA.fullmatch(key)
    return (UUID(match[1]), UUID(match[2])) if match else None
