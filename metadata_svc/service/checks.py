"""Forms that callers must keep to. The request path asks only once the database has refused a batch: good items, and
that is nearly all, pay nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from darkroom.metadata.v1 import metadata_pb2 as pb

from metadata_svc.domain.image import State
from runtime.errors import DarkroomError, Kind

_UUID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KEY_ID: Final = re.compile("[a-z0-9]{16}")
_INT64: Final = 1 << 63
_MAX_TAGS: Final = 20  # as gateway/openapi.yaml says
_MAX_TAG: Final = 128


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in its canonical form."""
    return _UUID.fullmatch(text) is not None


def is_key_id(text: str) -> bool:
    """Whether a text can be the public part of an API key."""
    return _KEY_ID.fullmatch(text) is not None


def is_text(text: str) -> bool:
    """Whether PostgreSQL can store it: it knows no NUL."""
    return "\x00" not in text


def tags_error(tags: Mapping[str, str]) -> DarkroomError | None:
    """What is wrong with tags."""
    if len(tags) > _MAX_TAGS:
        return DarkroomError(Kind.UNPROCESSABLE, f"at most {_MAX_TAGS} tags", pointer="/tags")
    for key, value in tags.items():
        if not key or len(key) > _MAX_TAG or len(value) > _MAX_TAG or not is_text(key) or not is_text(value):
            return DarkroomError(
                Kind.UNPROCESSABLE,
                f"a tag has a key of 1 to {_MAX_TAG} characters and a value of at most as many, without NUL",
                pointer="/tags",
            )
    return None


def state_of(number: int) -> State | None:
    """The state to list by; None where none is named. Raises MALFORMED for one that we do not know."""
    if number == pb.Image.STATE_UNSPECIFIED:
        return None
    try:
        return State(number)
    except ValueError:
        raise DarkroomError(Kind.MALFORMED, "no such state", pointer="/state") from None


def create_error(item: pb.CreateImageRequest) -> DarkroomError | None:
    """What is wrong with an image to register, so that the database refuses it."""
    pointer = ""
    if not is_uuid(item.tenant_id):
        pointer = "/tenant_id"
    elif not is_uuid(item.image_id):
        pointer = "/image_id"
    elif not is_text(item.request_id) or (item.request_id and len(item.request_sha256) != 32):
        pointer = "/request_id"
    elif not item.filename or not is_text(item.filename):
        pointer = "/filename"
    elif not is_text(item.content_type):
        pointer = "/content_type"
    elif not 0 <= item.size < _INT64:
        pointer = "/size"
    elif len(item.sha256) not in (0, 32):
        pointer = "/sha256"
    elif item.upload_method not in (0, 1, 2):
        pointer = "/upload_method"
    elif not all(name and "," not in name and is_text(name) for name in item.presets):
        pointer = "/presets"
    elif not is_text(item.traceparent):
        pointer = "/traceparent"
    if pointer:
        return DarkroomError(Kind.MALFORMED, "out of form", pointer=pointer)
    return tags_error(item.tags)
