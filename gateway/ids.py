"""Image ids: UUIDv7 (RFC 9562), so that new rows lie together and lists need no second index."""

from __future__ import annotations

import secrets
import time
import uuid

from gateway.problems import Refusal
from runtime.errors import Kind


def new_id() -> str:
    """A new id: 48 bits of milliseconds, 74 random bits from the operating system."""
    random = secrets.randbits(74)
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def known_form(text: str) -> str:
    """The canonical form of an id from a URL. What is no UUID names nothing: 404."""
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        raise Refusal(Kind.NOT_FOUND, "There is no image with this id.") from None
    if str(parsed) != text.lower():
        raise Refusal(Kind.NOT_FOUND, "There is no image with this id.")
    return str(parsed)
