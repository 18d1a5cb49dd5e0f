"""Sealed upload tickets: exactly the announced bytes, under one key, once."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Final, NamedTuple

from presign_svc.domain import checks
from presign_svc.domain.place import Bucket
from presign_svc.domain.sigv4 import Credentials, SignedHeaders, Stamp
from runtime.errors import DarkroomError, Kind

_SHA256_BYTES: Final = 32

# `if-none-match: *` is what makes S3 itself take the bytes once; the others say which bytes.
_SEALED: Final = SignedHeaders(("content-length", "content-type", "host", "if-none-match"))
_SEALED_WITH_CHECKSUM: Final = SignedHeaders(
    ("content-length", "content-type", "host", "if-none-match", "x-amz-checksum-sha256")
)


@dataclass(frozen=True, slots=True)
class TicketLimits:
    """Bounds of a ticket: lives in seconds, sizes in bytes. `retry_after` is in seconds, for when none can be made."""

    default_life: int
    shortest_life: int
    longest_life: int
    largest_size: int
    retry_after: float


class Ticket(NamedTuple):
    """What a client needs to send its bytes. `expires_at` is exact, in seconds since the epoch."""

    url: str
    headers: dict[str, str]
    expires_at: int


def expiry(asked: int | None, moment: int, credentials: Credentials, limits: TicketLimits) -> int:
    """When a ticket of `moment` ends, in seconds since the epoch: as asked, but not after its credential.

    `asked` is its life in seconds; None for the default. A ticket is shortened to what the credential has left, down
    to the shortest life. Raises MALFORMED for a life outside the bounds, UNAVAILABLE when too little is left.
    """
    life = limits.default_life if asked is None else asked
    if not limits.shortest_life <= life <= limits.longest_life:
        raise DarkroomError(
            Kind.MALFORMED,
            f"a ticket lives {limits.shortest_life} to {limits.longest_life} seconds",
            pointer="/time_to_live",
        )
    if credentials.expires_at is not None:
        life = min(life, int(credentials.expires_at) - moment)
        if life < limits.shortest_life:
            raise DarkroomError(
                Kind.UNAVAILABLE, "the signing credentials are about to expire", retry_after=limits.retry_after
            )
    return moment + life


def put(
    stamp: Stamp,
    bucket: Bucket,
    limits: TicketLimits,
    *,
    key: str,
    content_type: str,
    size: int,
    sha256: bytes,
    end: int,
) -> Ticket:
    """A ticket for one PUT of `size` bytes, valid until `end` (seconds since the epoch, from `expiry`).

    `sha256` is the digest of the bytes, or empty where it was not announced. Content-Length is signed as well, but
    left out of the ticket's headers: every HTTP client sets it itself, and browsers let nobody else do so.
    """
    path = bucket.path(checks.key(key))
    checks.media_type(content_type, "/content_type")
    if not 1 <= size <= limits.largest_size:
        raise DarkroomError(Kind.UNPROCESSABLE, f"a PUT carries 1 to {limits.largest_size} bytes", pointer="/size")
    life = end - stamp.moment
    headers = {"content-type": content_type, "if-none-match": "*"}
    if not sha256:
        query = stamp.query("PUT", path, _SEALED, (str(size), content_type, bucket.host, "*"), expires=life)
    elif len(sha256) == _SHA256_BYTES:
        checksum = binascii.b2a_base64(sha256, newline=False).decode()
        headers["x-amz-checksum-sha256"] = checksum
        values = (str(size), content_type, bucket.host, "*", checksum)
        query = stamp.query("PUT", path, _SEALED_WITH_CHECKSUM, values, expires=life)
    else:
        raise DarkroomError(Kind.MALFORMED, f"a SHA-256 has {_SHA256_BYTES} bytes", pointer="/sha256")
    return Ticket(f"{bucket.origin}{path}?{query}", headers, end)
