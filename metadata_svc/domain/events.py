"""What is told to the queue and to the world, in forms that others rely on: they only ever grow."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from metadata_svc.domain.image import Image, State

PROCESS: Final = "darkroom.process/1"
CHECK_UPLOAD: Final = "darkroom.check_upload/1"
REMOVE_ORIGINAL: Final = "darkroom.remove_original/1"
PURGE: Final = "darkroom.purge/1"
COMMANDS: Final = frozenset({PROCESS, CHECK_UPLOAD, REMOVE_ORIGINAL, PURGE})

EVENTS: Final[Mapping[State, str]] = {
    State.READY: "image.ready",
    State.REJECTED: "image.rejected",
    State.FAILED: "image.failed",
    State.DELETED: "image.deleted",
}


@dataclass(frozen=True, slots=True)
class Message:
    """Something for the outbox: a command (`data` is None) or an event."""

    kind: str
    data: Mapping[str, Any] | None = None


def event_of(image: Image) -> Message:
    """The event of the state that the image has just reached. It carries no URL and no secret."""
    data: dict[str, Any] = {
        "id": str(image.id),
        "tenant_id": str(image.tenant_id),
        "state": image.state.name,
        "etag": image.etag,
        "updated_at": rfc3339(image.updated_at),
    }
    if image.state is State.DELETED:
        return Message(EVENTS[image.state], data | {"receipt": str(image.receipt)})
    data |= {
        "filename": image.filename,
        "content_type": image.content_type,
        "size": image.size,
        "sha256": image.sha256.hex() or None,
        "tags": dict(image.tags),
        "created_at": rfc3339(image.created_at),
    }
    if image.facts is not None and image.state is State.READY:
        data |= {
            "format": image.facts.format,
            "width": image.facts.width,
            "height": image.facts.height,
            "animated": image.facts.frames > 1,
            "placeholder": {
                "thumbhash": base64.b64encode(image.facts.thumbhash).decode(),
                "color": image.facts.color,
            },
            "perceptual_hash": f"{image.facts.perceptual_hash:016x}",
            "variants": [
                {"name": v.name, "content_type": v.content_type, "width": v.width, "height": v.height, "size": v.size}
                for v in image.variants
            ],
        }
    if image.problem is not None:
        data["problem"] = {
            "type": image.problem.type,
            "title": image.problem.title,
            "detail": image.problem.detail,
        }
    return Message(EVENTS[image.state], data)


def rfc3339(moment: datetime) -> str:
    """The time in UTC, to the microsecond, as `2026-05-01T12:00:00.000000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
