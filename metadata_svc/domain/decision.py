"""What a transition comes to: an answer for the caller, and a change for the database where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from metadata_svc.domain.events import Message
from metadata_svc.domain.image import Image, State

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Change:
    """A new form of the row, with what must be written in the same statement.

    `images` and `bytes` are what it adds to the tenant's usage (negative: takes from it). `tags` replaces all tags
    where it is not None.
    """

    image: Image
    messages: tuple[Message, ...] = ()
    images: int = 0
    bytes: int = 0
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Decision(Generic[_Answer]):
    """What the caller is told, once the change (if any) stands."""

    answer: _Answer
    change: Change | None = None


def changed(image: Image, now: datetime, **fields: Any) -> Image:
    """The image with some fields changed that its tenant can see: the etag changes with them."""
    return replace(image, version=image.version + 1, revision=image.revision + 1, updated_at=now, **fields)


def booked(image: Image, **fields: Any) -> Image:
    """The image with some fields changed that are between workers and us: to its tenant it is the same."""
    return replace(image, version=image.version + 1, **fields)


def bytes_of(image: Image) -> int:
    """What an image takes of its tenant's bytes: the original while it is there, and the variants."""
    if image.state in (State.EXPIRED, State.DELETED):
        return 0
    original = 0 if image.original_removed_at else image.size
    return original + sum(variant.size for variant in image.variants)


def images_of(image: Image) -> int:
    """What an image takes of its tenant's number of images."""
    return 0 if image.state in (State.EXPIRED, State.DELETED) else 1


def change(before: Image, after: Image, *messages: Message, tags: Mapping[str, str] | None = None) -> Change:
    """The change from one form of a row to the next; usage follows from the two."""
    return Change(
        image=after,
        messages=messages,
        images=images_of(after) - images_of(before),
        bytes=bytes_of(after) - bytes_of(before),
        tags=tags,
    )
