"""The forms that S3 and HTTP give to what is signed. Each check raises `DarkroomError` for the item it is in."""

from __future__ import annotations

import re
from typing import Final

from runtime.errors import DarkroomError, Kind

_KEY_BYTES: Final = 1024  # S3's own limit
_HEADER_CHARACTERS: Final = 1024
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# RFC 6838 section 4.2; parameters have no use in what an image is announced as.
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
# What an HTTP header can carry without any encoding, and no space at its ends.
_HEADER: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


# Passes every check below at once: what the system's own keys look like.
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_/-]{1,1024}")


def key(value: str) -> str:
    """A key that S3 takes and that no HTTP client changes on the way: dot segments are resolved by all of them."""
    if _PLAIN_KEY.fullmatch(value):
        return value
    if not value or (len(value) * 4 > _KEY_BYTES and len(value.encode()) > _KEY_BYTES):
        raise DarkroomError(Kind.MALFORMED, f"a key has 1 to {_KEY_BYTES} bytes", pointer="/key")
    if _CONTROL.search(value):
        raise DarkroomError(Kind.MALFORMED, "a key has no control characters", pointer="/key")
    if "." in value and not {".", ".."}.isdisjoint(value.split("/")):
        raise DarkroomError(Kind.MALFORMED, "a key has no segment '.' or '..'", pointer="/key")
    return value


def media_type(value: str, pointer: str) -> str:
    """A media type without parameters."""
    if not _MEDIA_TYPE.fullmatch(value):
        raise DarkroomError(Kind.MALFORMED, "a media type looks like image/jpeg", pointer=pointer)
    return value


def header(value: str, pointer: str) -> str:
    """A value for an HTTP header."""
    if len(value) > _HEADER_CHARACTERS or not _HEADER.fullmatch(value):
        raise DarkroomError(
            Kind.MALFORMED, f"a header holds at most {_HEADER_CHARACTERS} printable ASCII characters", pointer=pointer
        )
    return value
