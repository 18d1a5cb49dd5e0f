"""API keys: who asks, and what they may do."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from darkroom.metadata.v1 import metadata_pb2 as pb

from gateway.ports import Metadata
from gateway.problems import Refusal
from runtime.errors import DarkroomError, Kind

# `drk_<id>_<secret>`; the secret is 256 random bits in base64url and may contain `_` and `-`.
_KEY: Final = re.compile(r"drk_([a-z0-9]{16})_([A-Za-z0-9_-]{43})")
_BAD: Final = "The key in the header x-api-key is not valid."
_PUBLISHABLE: Final = (
    "This key is publishable: it needs a token beside it, and tokens are not offered yet. Use a secret key."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a tenant, by a key with scopes."""

    key_id: str
    tenant_id: str
    scopes: frozenset[str]
    limits: pb.Limits
    publishable: bool = False

    def require(self, scope: str) -> None:
        """Raises a 401 for a key that does not stand for itself, a 403 where it lacks the scope."""
        if self.publishable:
            raise Refusal(Kind.UNAUTHENTICATED, _PUBLISHABLE)
        if scope not in self.scopes:
            raise Refusal(Kind.FORBIDDEN, f"The key lacks the scope {scope}.")


class Authenticator:
    """Checks keys with metadata_svc and trusts the answer for a while.

    The while counts from before the question was asked, so that a revoked key is refused within it. Times are seconds.
    """

    def __init__(
        self, metadata: Metadata, *, good: float, bad: float, entries: int, clock: Callable[[], float]
    ) -> None:
        self._metadata = metadata
        self._good = _Recent[Caller](good, entries, clock)
        self._bad = _Recent[None](bad, entries, clock)
        self._clock = clock
        self._asking: dict[bytes, asyncio.Task[Caller]] = {}

    async def __call__(self, header: str | None, timeout: float) -> Caller:
        """The caller behind the value of `x-api-key`. Raises `Refusal` (401) or `DarkroomError`."""
        if header is None:
            raise Refusal(Kind.UNAUTHENTICATED, "Send your key in the header x-api-key.")
        match = _KEY.fullmatch(header)
        if match is None:
            raise Refusal(Kind.UNAUTHENTICATED, _BAD)
        # Not the key itself: what is kept in memory opens nothing.
        digest = hashlib.sha256(header.encode()).digest()
        caller = self._good.get(digest)
        if caller is not None:
            return caller
        if self._bad.has(digest):
            raise Refusal(Kind.UNAUTHENTICATED, _BAD)
        asking = self._asking.get(digest)
        if asking is None:
            secret = hashlib.sha256(match[2].encode()).digest()
            asking = asyncio.create_task(self._ask(digest, match[1], secret, timeout))
            self._asking[digest] = asking
            asking.add_done_callback(lambda _: self._asking.pop(digest, None))
        try:
            # Shielded: one caller that hangs up must not fail the others.
            return await asyncio.shield(asking)
        except DarkroomError as error:
            if error.kind is Kind.UNAUTHENTICATED:
                raise Refusal(Kind.UNAUTHENTICATED, _BAD) from None
            raise

    async def _ask(self, digest: bytes, key_id: str, secret: bytes, timeout: float) -> Caller:
        asked = self._clock()
        try:
            credential = await self._metadata.authenticate(key_id, secret, timeout)
        except DarkroomError as error:
            if error.kind is Kind.UNAUTHENTICATED:
                self._bad.put(digest, None, asked)
            raise
        caller = Caller(
            key_id,
            credential.tenant_id,
            frozenset(credential.scopes),
            credential.limits,
            credential.kind != pb.Credential.SECRET,
        )
        self._good.put(digest, caller, asked)
        return caller


_Value = TypeVar("_Value")


class _Recent(Generic[_Value]):
    """The latest entries, each for some seconds."""

    def __init__(self, seconds: float, entries: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, _Value]] = OrderedDict()

    def get(self, key: bytes) -> _Value | None:
        """The entry, where it is still good."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            del self._kept[key]
            return None
        return found[1]

    def has(self, key: bytes) -> bool:
        """Whether there is a good entry."""
        found = self._kept.get(key)
        return found is not None and found[0] > self._clock()

    def put(self, key: bytes, value: _Value, since: float) -> None:
        """Keeps an entry; the oldest goes where there are too many."""
        self._kept[key] = (since + self._seconds, value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)
