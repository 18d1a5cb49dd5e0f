"""API keys: `drk_<id>_<secret>`. The secret is shown once; only its hash is kept."""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

SCOPES: Final = ("images:write", "images:read", "originals:read", "admin")
_ID_LENGTH: Final = 16
_ID_ALPHABET: Final = string.ascii_lowercase + string.digits
_SECRET_BYTES: Final = 32  # 43 characters of base64url


class KeyKind(IntEnum):
    """Kinds of key; numbers as in the proto."""

    SECRET = 1
    PUBLISHABLE = 2


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `text` is what its holder gets; it is nowhere else."""

    id: str
    text: str = field(repr=False)
    secret_sha256: bytes = field(repr=False)


def make() -> NewKey:
    """A key with 256 random bits: enough that its hash needs neither salt nor stretching."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return NewKey(key_id, f"drk_{key_id}_{secret}", hashlib.sha256(secret.encode()).digest())


def scopes_of(kind: KeyKind, scopes: list[str]) -> list[str]:
    """The scopes of a new key, each once. Raises ValueError for an unknown one, or any on a publishable key."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise ValueError(f"unknown scope {', '.join(unknown)}; there are {', '.join(SCOPES)}")
    if kind is KeyKind.PUBLISHABLE and scopes:
        raise ValueError("a publishable key carries no scopes: the token that comes with it does")
    if kind is KeyKind.SECRET and not scopes:
        raise ValueError("a secret key needs at least one scope")
    return [scope for scope in SCOPES if scope in scopes]
