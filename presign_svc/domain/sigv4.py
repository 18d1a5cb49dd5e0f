"""AWS Signature Version 4 in query parameters, for S3.

The algorithm is AWS's: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html. The URLs are
byte for byte those of botocore's `S3SigV4QueryAuth` (the tests compare), at a tenth of its price: the signing key is
kept per day and credential, and nothing else of botocore's request machinery runs.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_KEPT_DAYS: Final = 2  # around midnight UTC a download window of yesterday is signed beside tickets of today


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs. `expires_at` is in seconds since the epoch; None for a key that does not expire."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class SignedHeaders:
    """The names of the headers that a signature covers: lower case, sorted, `host` among them."""

    names: tuple[str, ...]
    joined: str = field(init=False)
    quoted: str = field(init=False)
    form: str = field(init=False)

    def __post_init__(self) -> None:
        if list(self.names) != sorted(self.names):
            raise ValueError("a signature lists its headers in order")
        object.__setattr__(self, "joined", ";".join(self.names))
        object.__setattr__(self, "quoted", "%3B".join(self.names))
        object.__setattr__(self, "form", "".join(f"{name}:%s\n" for name in self.names))


class Signer:
    """Signs with one credential in one region."""

    def __init__(self, credentials: Credentials, region: str) -> None:
        self.credentials = credentials
        self._region = region
        self._keys: dict[str, bytes] = {}

    def at(self, moment: int) -> Stamp:
        """The signer at a moment, in whole seconds since the epoch: what all signatures of a batch share."""
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
        day = timestamp[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        credential = quote(f"{self.credentials.access_key}/{scope}", safe="")
        token = self.credentials.token
        return Stamp(
            moment=moment,
            key=self._key(day),
            to_sign=f"{_ALGORITHM}\n{timestamp}\n{scope}\n",
            start=f"X-Amz-Algorithm={_ALGORITHM}&X-Amz-Credential={credential}&X-Amz-Date={timestamp}&X-Amz-Expires=",
            token="" if token is None else f"&X-Amz-Security-Token={quote(token, safe='')}",
        )

    def _key(self, day: str) -> bytes:
        key = self._keys.get(day)
        if key is None:
            key = f"AWS4{self.credentials.secret_key}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            if len(self._keys) == _KEPT_DAYS:
                del self._keys[min(self._keys)]
            self._keys[day] = key
        return key


@dataclass(frozen=True, slots=True)
class Stamp:
    """A credential at a moment. Made by `Signer.at`."""

    moment: int
    key: bytes = field(repr=False)
    to_sign: str
    start: str
    token: str = field(repr=False)

    def query(
        self, method: str, path: str, names: SignedHeaders, values: tuple[str, ...], *, expires: int, own: str = ""
    ) -> str:
        """The query string that signs a request for `expires` seconds.

        `path` is percent-encoded and starts with a slash. `values` are the headers' values, in the order of `names`
        and without space at the ends or doubled inside. `own` are the operation's parameters, percent-encoded, sorted
        and all of them after `X-Amz-` in byte order (S3's `response-*` are).
        """
        start = f"{self.start}{expires}"
        signed = f"&X-Amz-SignedHeaders={names.quoted}"
        # In the canonical form the parameters are sorted; in the URL they come in botocore's order.
        canonical = f"{start}{self.token}{signed}&{own}" if own else f"{start}{self.token}{signed}"
        request = f"{method}\n{path}\n{canonical}\n{names.form % values}\n{names.joined}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = hmac.digest(self.key, f"{self.to_sign}{digest}".encode(), "sha256").hex()
        front = f"{own}&" if own else ""
        return f"{front}{start}{signed}{self.token}&X-Amz-Signature={signature}"
