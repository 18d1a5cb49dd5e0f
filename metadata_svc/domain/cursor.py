"""Page tokens: where a list goes on. Opaque to clients, bound to the list they came from, checked when they return.

A token guards nothing (row-level security and the tenant in the query do), so a checksum suffices: it tells a token
that was changed, or belongs to another list, from a good one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from runtime.errors import DarkroomError, Kind

_FORM: Final = struct.Struct(">Bb16s8s")  # version, distance (-1: none), id, check
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Position:
    """The last image of a page; `distance` in lists by likeness."""

    image_id: UUID
    distance: int | None = None


def encode(position: Position, question: bytes) -> str:
    """The token of a position in the list that `question` describes."""
    distance = -1 if position.distance is None else position.distance
    raw = _FORM.pack(_VERSION, distance, position.image_id.bytes, _check(position.image_id, distance, question))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(token: str, question: bytes) -> Position:
    """The position of a token. Raises MALFORMED if it is none of ours, or another list's."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, distance, id_bytes, check = _FORM.unpack(raw)
    except (ValueError, binascii.Error, struct.error):
        raise _malformed() from None
    image_id = UUID(bytes=id_bytes)
    if version != _VERSION or check != _check(image_id, distance, question):
        raise _malformed()
    return Position(image_id, None if distance < 0 else distance)


def _check(image_id: UUID, distance: int, question: bytes) -> bytes:
    return hashlib.blake2b(
        image_id.bytes + distance.to_bytes(1, "big", signed=True) + question, digest_size=8, person=b"page"
    ).digest()


def _malformed() -> DarkroomError:
    return DarkroomError(
        Kind.MALFORMED,
        "page_token is not one that this list gave out; start again without it",
        pointer="/page_token",
    )
