"""Where an object is, as a client addresses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, urlsplit

# What needs no encoding; nearly every key is so, and this costs a fifth of finding it out by encoding.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~/-]+")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket at an endpoint. `host` is the Host header that clients send; `prefix` starts the path of every key."""

    origin: str
    host: str
    prefix: str

    def path(self, key: str) -> str:
        """The path of an object, percent-encoded as S3 signs it: all but unreserved characters and the slash."""
        return self.prefix + (key if _PLAIN.fullmatch(key) else quote(key, safe="/~"))


def bucket(name: str, *, region: str, endpoint: str | None, style: Literal["virtual", "path"]) -> Bucket:
    """A bucket at S3's regional endpoint, or at the origin `endpoint` (`scheme://host[:port]`) where one is given.

    A client leaves the scheme's own port out of the Host header, hence out of the signature.
    """
    parts = urlsplit(endpoint or f"https://s3.{region}.amazonaws.com")
    label = f"{name}." if style == "virtual" else ""
    host = label + parts.netloc.lower()
    if parts.port == _DEFAULT_PORTS.get(parts.scheme):
        host = host.removesuffix(f":{parts.port}")
    prefix = "/" if style == "virtual" else f"/{name}/"
    return Bucket(origin=f"{parts.scheme}://{label}{parts.netloc}", host=host, prefix=prefix)
